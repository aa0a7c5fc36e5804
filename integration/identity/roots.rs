//! What is trusted is written into every namespace, and an API server that refuses it is not asked all the time.

use crate::authority::{NOW, material};
use chancery::app::security::roots::{self, Sources};
use chancery::ca::authority::Authority;
use chancery::status::account::{Leadership, Standing};
use http::{Request, Response};
use http_body_util::Full;
use kube::Client;
use kube::client::Body;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// An API server that takes what is written into one namespace, and into others if it is let.
#[derive(Clone, Default)]
struct Server {
    takes: Arc<AtomicBool>,
    /// How often it was asked, by namespace.
    asked: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Server {
    fn asked(&self) -> BTreeMap<String, usize> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

impl tower_service::Service<Request<Body>> for Server {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let namespace = request.uri().path().split('/').nth(4).unwrap_or_default().to_owned();
        let takes = namespace == "good" || self.takes.load(Ordering::SeqCst);
        *self.asked.lock().expect("nobody panics with it").entry(namespace).or_default() += 1;
        let (code, body) = match takes {
            true => (200, r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}"#),
            false => (403, r#"{"kind":"Status","status":"Failure","message":"no","reason":"Forbidden","code":403}"#),
        };
        ready(Ok(Response::builder().status(code).body(Full::from(body)).expect("a response")))
    }
}

/// Time flies here.
#[tokio::test(start_paused = true)]
async fn namespaces_that_take_nothing_are_asked_ever_more_rarely() {
    let (server, authority) = (Server::default(), Authority::new(&material(), NOW).expect("an authority"));
    let until = Instant::now() + Duration::from_secs(24 * 3600);
    let leadership = Leadership { standing: Standing::Leading(until), ..Leadership::default() };
    let within: BTreeSet<String> = (0..50).map(|number| format!("bad-{number}")).chain(["good".to_owned()]).collect();
    let (_authorities, authorities) = watch::channel(Some(Arc::new(authority)));
    let (_states, states) = watch::channel(None);
    let (_leads, leadership) = watch::channel(leadership);
    let sources = Sources { authorities, states, within: within.clone(), bundle: None, kept_in: None, leadership };
    tokio::spawn(roots::run(Client::new(server.clone(), "default"), sources));

    tokio::time::sleep(Duration::from_secs(300)).await;
    let asked = server.asked();
    assert_eq!(asked["good"], 1, "the control: what is written is not written again");
    let often: Vec<usize> = within.iter().filter(|name| *name != "good").map(|name| asked[name]).collect();
    assert!(often.iter().all(|times| (8..=20).contains(times)), "{often:?}");
    assert!(often.iter().any(|times| *times != often[0]), "they should not all be tried again together: {often:?}");

    server.takes.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(62)).await;
    let then = server.asked();
    assert!(within.iter().filter(|name| *name != "good").all(|name| then[name] == asked[name] + 1), "{then:?}");
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(server.asked(), then, "each is written once");
}
