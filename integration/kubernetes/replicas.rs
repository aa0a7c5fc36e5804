//! Replicas with the proxies split between them: what each knows of its own, all of them say.

use crate::harness::api::Api;
use crate::harness::chancery::Chancery;
use crate::harness::client::Client;
use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::envoy::Envoy;
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, pod};
use crate::waiting;
use serde::Deserialize;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What `/api/v1/objects` says.
#[derive(Deserialize, PartialEq, Eq, Debug)]
struct Objects {
    partial: bool,
    items: Vec<Object>,
}

#[derive(Deserialize, PartialEq, Eq, Debug)]
#[serde(rename_all = "camelCase")]
struct Object {
    generation: Option<i64>,
    proxies: usize,
    in_effect_at: usize,
}

/// Two replicas, and an Envoy at each.
struct Pair {
    stage: Stage,
    other: Chancery,
    other_envoy: Envoy,
}

impl Pair {
    async fn open(cluster: &Cluster, namespace: &str) -> Outcome<Self> {
        let mut stage = Stage::set(cluster, ADMIN, namespace).await?;
        stage.chancery.flags.extend(stage.talks("one", 1)?);
        stage.chancery.restart().await?;
        stage.connect().await?;
        let mut other = stage.another(cluster, ADMIN, "two", 2)?;
        cluster.apply(&pod(namespace, "second")).await?;
        other.restart().await?;
        let other_envoy = stage.another_envoy(cluster, &other, "second", 11).await?;
        Ok(Self { stage, other, other_envoy })
    }

    /// What a replica says of the rule.
    async fn says(&self, admin: SocketAddr) -> Option<(bool, Object)> {
        let path = "/api/v1/objects?kind=VirtualService&name=slow";
        let path = format!("{path}&namespace={}", self.stage.namespace);
        let mut said = Client::default().json::<Objects>(admin, &path).await.ok()?;
        Some((said.partial, said.items.pop()?))
    }

    /// Waits until both replicas say the same of the rule; how long that took.
    async fn both_say(&self, generation: i64, live: usize) -> Outcome<Duration> {
        let expected = Some((false, Object { generation: Some(generation), proxies: 2, in_effect_at: live }));
        let (began, mut found) = (Instant::now(), [None, None]);
        let same = deadline::until("both replicas say the same", SOON, async || {
            let [one, two] = [self.stage.chancery.admin, self.other.admin];
            found = [self.says(one).await, self.says(two).await];
            found.iter().all(|said| *said == expected).then_some(())
        });
        let same = same.await.map(|()| began.elapsed());
        same.map_err(|failure| {
            failure.with(&format!("{found:?}")).with(&self.stage.chancery.tail()).with(&self.other.tail())
        })
    }
}

#[tokio::test]
async fn each_says_what_all_know() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut pair = Pair::open(&cluster, "replicas").await?;
    cluster.apply(&waiting::timeout("replicas", "7s")).await?;
    pair.both_say(1, 2).await?;

    // Each lists the proxies of both.
    for admin in [pair.stage.chancery.admin, pair.other.admin] {
        let proxies = Api::new(admin).proxies().await?;
        let mut nodes: Vec<_> = proxies.iter().map(|proxy| proxy.node.as_str()).collect();
        nodes.sort_unstable();
        assert_eq!(nodes, [pair.stage.envoy().node.as_str(), pair.other_envoy.node.as_str()]);
    }

    // A proxy of the other replica that takes nothing is missing in what this one says, and is waited for.
    pair.other_envoy.freeze()?;
    cluster.apply(&waiting::timeout("replicas", "8s")).await?;
    pair.both_say(2, 1).await?;
    let arguments = ["vs/slow", "-n", "replicas", "--timeout", "1"];
    let (code, _, errors) = waiting::said(&waiting::wait(&pair.stage, &cluster, &arguments).await?);
    assert!(code == Some(5) && errors.contains("at 1 of 2 proxies"), "{code:?} {errors}");
    pair.other_envoy.thaw()?;
    pair.both_say(2, 2).await?;

    // A replica that is gone without a word leaves what is said incomplete, until nobody counts on it any more.
    pair.other.kill()?;
    let one = pair.stage.chancery.admin;
    let lonely = |partial| (partial, Object { generation: Some(2), proxies: 1, in_effect_at: 1 });
    for partial in [true, false] {
        let what = if partial { "it is incomplete" } else { "it is complete" };
        deadline::until(what, 2 * SOON, async || (pair.says(one).await? == lonely(partial)).then_some(())).await?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_else_hears_what_they_know() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let pair = Pair::open(&cluster, "strangers").await?;
    cluster.apply(&waiting::timeout("strangers", "7s")).await?;
    pair.both_say(1, 2).await?;
    let address = pair.other.flags.last().expect("the address of the talk").parse().expect("an address");
    let answer = greeted(address, b"GET /peer/v1/standing HTTP/1.1\r\nhost: peer\r\n\r\n").await?;
    assert!(!answer.starts_with(b"HTTP"), "plain text is answered");
    let stranger = chancery::peers::identity::Identity::new().expect("a key");
    let leases = cluster.kubectl(&["get", "leases", "-n", "strangers", "-o", "json"]).await?;
    let leases: serde_json::Value = serde_json::from_str(&leases)?;
    let of = |name: &str| {
        let items = leases["items"].as_array().into_iter().flatten();
        let lease = items.into_iter().find(|lease| lease["metadata"]["name"] == format!("chancery-peer-{name}"));
        lease.map(|lease| lease["metadata"]["annotations"]["chancery/peer-certificate"].clone())
    };
    let certificate = of("two").and_then(|pem| Some(pem.as_str()?.to_owned())).expect("its certificate");
    // It is really that replica that is asked, and it doesn't know who asks.
    let config = stranger.client(&certificate).expect("a certificate");
    let stream = TcpStream::connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let answer = async {
        let mut stream = connector.connect(chancery::peers::identity::server_name(), stream).await?;
        stream.write_all(b"GET /peer/v1/standing HTTP/1.1\r\nhost: peer\r\n\r\n").await?;
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let refused = answer.await.expect_err("a stranger is answered").to_string();
    assert!(refused.contains("fatal alert"), "{refused}");
    // All of that was of no consequence.
    assert!(Api::new(pair.other.admin).is_ready().await);
    pair.both_say(1, 2).await?;
    Ok(())
}

/// A port that is taken, where a Sidecar wants a listener: who is to have it rejects it.
pub fn taken(stage: &Stage) -> Outcome<(TcpListener, SocketAddr)> {
    let taken = TcpListener::bind((stage.vacant(), 0))?;
    let address = taken.local_addr()?;
    Ok((taken, address))
}

/// Waits until a chancery leads, or follows.
pub async fn stands(chancery: &Chancery, state: &str) -> Outcome<()> {
    let what = format!("it is {state}");
    let same =
        deadline::until(&what, SOON, async || (chancery.api().status().await.ok()?.state == state).then_some(()));
    same.await.map_err(|failure| failure.with(&chancery.tail()))
}

/// What is answered to a greeting.
async fn greeted(address: SocketAddr, words: &[u8]) -> Outcome<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(words).await?;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
    read.map_err(|_| Failure::new("the connection stays open"))?.or_else(|error| match error.kind() {
        ErrorKind::ConnectionReset => Ok(0),
        _ => Err(error),
    })?;
    Ok(answer)
}
