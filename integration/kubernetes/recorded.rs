//! A log of what an API server said of each kind, and a server that says it again, event by event, to whoever watches.

use crate::harness::cluster::Cluster;
use crate::harness::{Failure, Outcome, deadline};
use crate::stage::SOON;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use kube::{Client, Config};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// What is recorded: the path of the group and version, and the resource.
const KINDS: [(&str, &str); 7] = [
    ("/api/v1", "namespaces"),
    ("/api/v1", "services"),
    ("/apis/discovery.k8s.io/v1", "endpointslices"),
    ("/api/v1", "pods"),
    ("/api/v1", "nodes"),
    ("/apis/networking.istio.io/v1", "virtualservices"),
    ("/apis/networking.istio.io/v1", "destinationrules"),
];

/// One event: of which kind, of which object, and its line.
#[derive(Clone, Debug)]
pub struct Event {
    kind: usize,
    object: String,
    line: String,
}

/// Everything that was said, kind by kind, in the order in which it was.
pub struct Log(Vec<Event>);

impl Log {
    /// What there is now, and what the API server says of it while something is done.
    pub async fn record(cluster: &Cluster, done: impl Future<Output = Outcome<()>>) -> Outcome<Self> {
        let (mut all, mut since) = (Vec::new(), Vec::new());
        for (kind, (group, plural)) in KINDS.into_iter().enumerate() {
            let list: Value = serde_json::from_str(&said(cluster, &format!("{group}/{plural}")).await?)?;
            since
                .push(list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_owned());
            let items = list["items"].as_array().into_iter().flatten();
            all.extend(items.map(|item| Event::new(kind, &json!({"type": "ADDED", "object": item}))));
        }
        done.await?;
        for (kind, ((group, plural), since)) in KINDS.into_iter().zip(since).enumerate() {
            let path = format!("{group}/{plural}?watch=1&resourceVersion={since}&timeoutSeconds=1");
            for line in said(cluster, &path).await?.lines() {
                all.push(Event::new(kind, &serde_json::from_str(line)?));
            }
        }
        Ok(Self(all))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In another order, in which each object's own events still follow each other; some come twice, and now and then all that
    /// was said of an object is said again.
    pub fn shuffled(&self, seed: u64) -> Vec<Event> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut waiting: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        for event in self.0.iter().rev() {
            waiting.entry(&event.object).or_default().push(event);
        }
        let (mut said, mut order) = (BTreeMap::<&str, Vec<&Event>>::new(), Vec::new());
        while !waiting.is_empty() {
            let at = random.usize(..waiting.len());
            let object = *waiting.keys().nth(at).expect("it is within");
            let events = waiting.get_mut(object).expect("it is there");
            let next = events.pop();
            if events.is_empty() {
                waiting.remove(object);
            }
            let before = said.entry(object).or_default();
            before.extend(next);
            match random.u8(..10) {
                0 => order.extend(before.iter().copied().cloned()),
                1..=3 => order.extend([next, next].into_iter().flatten().cloned()),
                _ => order.extend(next.cloned()),
            }
        }
        order
    }

    /// As it was, but that the last event of an object of that name comes first of all that are about it.
    pub fn with_the_last_before_the_first(&self, name: &str) -> Vec<Event> {
        let mut order = self.0.clone();
        let is_meant = |event: &Event| event.object.ends_with(&format!("/{name}"));
        let (first, last) = (order.iter().position(is_meant), order.iter().rposition(is_meant));
        if let (Some(first), Some(last)) = (first, last) {
            let event = order.remove(last);
            order.insert(first, event);
        }
        order
    }
}

impl Event {
    fn new(kind: usize, event: &Value) -> Self {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let object = format!("{kind} {}/{}", text("/object/metadata/namespace"), text("/object/metadata/name"));
        Self { kind, object, line: format!("{event}\n") }
    }
}

async fn said(cluster: &Cluster, path: &str) -> Outcome<String> {
    cluster.kubectl(&["get", "--raw", path]).await
}

/// Where the watch of each kind is told; none before there is one.
type Watches = Arc<Mutex<[Option<mpsc::UnboundedSender<Bytes>>; KINDS.len()]>>;

/// A server that has nothing, and says what it is told to.
pub struct Server {
    port: u16,
    watches: Watches,
    serving: JoinHandle<()>,
}

impl Server {
    pub async fn start() -> Outcome<Self> {
        let watches = Watches::default();
        let router = Router::new().fallback(answer).with_state(watches.clone());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { port, watches, serving })
    }

    pub fn client(&self) -> Outcome<Client> {
        let uri = format!("http://127.0.0.1:{}", self.port).parse()?;
        Client::try_from(Config::new(uri)).map_err(|error| Failure::new(error.to_string()))
    }

    /// Says events as soon as everything is watched.
    pub async fn tell(&self, order: &[Event]) {
        let all =
            async || self.watches.lock().expect("nobody panics with it").iter().all(Option::is_some).then_some(());
        deadline::until("everything is watched", SOON, all).await.expect("it is asked for at once");
        for event in order {
            let watches = self.watches.lock().expect("nobody panics with it");
            let watch = watches[event.kind].as_ref().expect("it was there");
            watch.send(event.line.clone().into()).ok();
        }
    }

    /// Ends once nobody watches any more.
    pub async fn until_abandoned(self) {
        loop {
            let watches = self.watches.lock().expect("nobody panics with it").clone();
            if watches.iter().flatten().all(mpsc::UnboundedSender::is_closed) {
                return self.serving.abort();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn answer(State(watches): State<Watches>, request: Request) -> Response {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    if KINDS.iter().any(|(group, _)| *group == path) {
        let known = KINDS.iter().filter(|(group, _)| *group == path);
        let resources: Vec<_> = known.map(|(_, plural)| json!({"name": plural})).collect();
        return json_of(&json!({"kind": "APIResourceList", "resources": resources}));
    }
    let asked = KINDS.iter().position(|(group, plural)| path == format!("{group}/{plural}"));
    let Some(kind) = asked else {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound",
            "message": "not found", "code": 404});
        return (axum::http::StatusCode::NOT_FOUND, json_of(&status)).into_response();
    };
    if !query.contains("watch=true") {
        return json_of(&json!({"metadata": {"resourceVersion": "1"}, "items": []}));
    }
    let (events, told) = mpsc::unbounded_channel();
    watches.lock().expect("nobody panics with it")[kind] = Some(events);
    Response::new(Body::from_stream(UnboundedReceiverStream::new(told).map(Ok::<_, Infallible>)))
}

fn json_of(value: &Value) -> Response {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
