//! What an Envoy waits for, and what must not wait for it: secrets that follow their cluster, a cluster that never warms, a
//! stream that left an Envoy warming, a listener that moves.

use crate::handmade::{Handmade, SOON};
use crate::harness::client::Client;
use crate::harness::envoy::Setup;
use crate::harness::{Failure, Outcome, deadline};
use crate::resources::{SECRET, cluster, endpoints, http, listener, routes, secret, trusting};
use chancery::snapshot::kind::Kind;
use chancery::xds::gate;
use chancery::xds::limits::Options;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How long a control watches that nothing happens.
pub const WATCHED: Duration = Duration::from_secs(2);
/// How long routes may wait for a cluster that is not accepted, and a little more.
const OVERDUE: Duration = Duration::from_secs(20);
/// How long a proxy may ask for endpoints and not for clusters.
const STRANDED: Duration = Duration::from_secs(4);
/// Nobody listens there, and nobody has to.
pub const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

/// A cluster changes and refers to its secret as before: it needs nothing. It refers to it in another way: it waits for the
/// secret, which comes unasked. The control: without the secret it goes on waiting.
pub async fn a_secret_follows_its_cluster(setup: Setup) -> Outcome<()> {
    let resources = vec![trusting("a", 1, 0), endpoints("a", NOWHERE), secret()];
    let mut hand = Handmade::start(setup, resources).await?;
    hand.in_service("a", "1s", SOON).await?;
    hand.relay.withhold(Kind::Secret);
    hand.post(vec![trusting("a", 2, 0)], &[]);
    hand.in_service("a", "2s", SOON).await?;
    let swallowed = async || (hand.relay.swallowed() > 0).then_some(());
    deadline::until("the secret was sent again", SOON, swallowed).await?;
    hand.relay.pass(Kind::Secret);
    // What was swallowed is never answered; the next comes a second later.
    hand.post(vec![trusting("a", 3, 20)], &[]);
    hand.in_service("a", "3s", SOON).await?;
    hand.relay.withhold(Kind::Secret);
    hand.post(vec![trusting("a", 4, 30)], &[]);
    let warms = async || (hand.warming().await? == 1).then_some(());
    deadline::until("the cluster warms", SOON, warms).await?;
    let still = async || hand.warming().await == Some(1) && hand.timeout("a").await.as_deref() == Some("3s");
    deadline::throughout("without its secret the cluster stays warming", WATCHED, still).await?;
    hand.judge()
}

/// Nothing is ever sent for want of a secret, least of all in plain text. A cluster whose secret is missing is not in service.
/// One that doesn't wait for it any longer is, and fails each connection without a byte. One whose secret is gone here keeps the one
/// it has. The control: with the secret there are handshakes.
pub async fn without_its_secret_nothing_is_sent(setup: Setup) -> Outcome<()> {
    let upstream = Overheard::start().await?;
    let mut hand = Handmade::start(setup, Vec::new()).await?;
    let address = hand.subnet.free(20)?;
    let ends = |wait| vec![trusting("a", 1, wait), endpoints("a", upstream.address)];
    hand.post([ends(0), vec![http("l", address, "r"), routes("r", "a")]].concat(), &[]);
    let status = async || Some(Client::default().get(address, "/", &[("host", "a")]).await.ok()?.status.as_u16());
    let fails = async || (status().await? == 503).then_some(());
    deadline::until("the listener answers", OVERDUE, fails).await?;
    let missing = async || hand.timeout("a").await.is_none() && status().await == Some(503);
    deadline::throughout("without its secret the cluster is not in service", WATCHED, missing).await?;

    hand.post(vec![trusting("a", 2, 1)], &[]);
    hand.in_service("a", "2s", SOON).await?;
    deadline::throughout("what timed out is in service, and fails", WATCHED, async || status().await == Some(503))
        .await?;
    if !upstream.heard().is_empty() {
        return Err(hand.failure(&format!("without a secret this was sent: {:?}", upstream.heard())));
    }

    hand.post(vec![secret()], &[]);
    let shakes = async || {
        status().await;
        (upstream.heard() == [HANDSHAKE]).then_some(())
    };
    deadline::until("the control: with its secret there are handshakes", SOON, shakes).await?;
    hand.relay.withhold(Kind::Secret);
    let before = hand.relay.swallowed();
    hand.post(Vec::new(), &[(Kind::Secret, SECRET)]);
    upstream.forget();
    deadline::until("with the secret it had there are handshakes", SOON, shakes).await?;
    let same = async || hand.relay.swallowed() == before && hand.timeout("a").await.as_deref() == Some("2s");
    deadline::throughout("nothing is said of a secret that is gone", WATCHED, same).await?;
    hand.judge()
}

/// The first byte of a handshake.
const HANDSHAKE: u8 = 22;

/// Somebody who never answers, and notes with what connections begin.
struct Overheard {
    address: SocketAddr,
    heard: Arc<Mutex<BTreeSet<u8>>>,
    listening: JoinHandle<()>,
}

impl Drop for Overheard {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Overheard {
    async fn start() -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, heard) = (listener.local_addr()?, Arc::<Mutex<BTreeSet<u8>>>::default());
        let notes = heard.clone();
        let listening = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let first = tokio::time::timeout(WATCHED, stream.read_u8()).await;
                if let Ok(Ok(first)) = first {
                    notes.lock().expect("nobody panics").insert(first);
                }
            }
        });
        Ok(Self { address, heard, listening })
    }

    fn heard(&self) -> Vec<u8> {
        self.heard.lock().expect("nobody panics").iter().copied().collect()
    }

    fn forget(&self) {
        self.heard.lock().expect("nobody panics").clear();
    }
}

/// A cluster waits for a secret that does not exist. Envoy acknowledges no clusters meanwhile; what changes arrives all the
/// same, and once the cluster is gone everything is acknowledged.
pub async fn a_cluster_that_never_warms_holds_nothing_back(setup: Setup) -> Outcome<()> {
    let mut hand = Handmade::start(setup, vec![cluster("a", 1), endpoints("a", NOWHERE)]).await?;
    hand.in_service("a", "1s", SOON).await?;
    hand.accepted(Kind::Cluster).await?;
    hand.post(vec![trusting("stuck", 1, 0), endpoints("stuck", NOWHERE)], &[]);
    let warms = async || (hand.warming().await? == 1).then_some(());
    deadline::until("the cluster warms", SOON, warms).await?;
    for (timeout, shown) in [(2, "2s"), (3, "3s")] {
        hand.post(vec![cluster("a", timeout)], &[]);
        hand.in_service("a", shown, SOON).await?;
    }
    // The control: it was not by ACKs that they came.
    let proxy = hand.proxy().ok_or_else(|| hand.failure("the proxy is gone"))?;
    let clusters = proxy.status().into_iter().find(|status| status.kind == Kind::Cluster);
    if clusters.is_none_or(|status| status.acked.is_some_and(|(version, _)| version == status.desired)) {
        return Err(hand.failure("Envoy acknowledges clusters while one warms"));
    }
    hand.post(Vec::new(), &[(Kind::Cluster, "stuck"), (Kind::Endpoint, "stuck")]);
    hand.accepted(Kind::Cluster).await?;
    hand.judge()
}

/// An Envoy that an earlier stream left warming asks for endpoints and not for clusters, and loses the answer. Everything it
/// asked for is sent again when its time is over; before that, nothing is: the control.
pub async fn what_is_left_warming_is_found(setup: Setup) -> Outcome<()> {
    let gate = gate::Options { left_warming: STRANDED, ..gate::Options::default() };
    let there = vec![cluster("a", 1), endpoints("a", NOWHERE)];
    let mut hand = Handmade::with(setup, there, Options { gate, ..Options::default() }).await?;
    hand.in_service("a", "1s", SOON).await?;
    hand.accepted(Kind::Cluster).await?;
    hand.relay.withhold(Kind::Endpoint);
    hand.post(vec![cluster("a", 2)], &[]);
    let warms = async || (hand.warming().await? == 1 && hand.relay.swallowed() == 1).then_some(());
    deadline::until("the cluster warms", SOON, warms).await?;
    let before = hand.relay.first_asked().len();
    hand.restart().await?;
    let lost = async || (hand.relay.swallowed() == 2).then_some(());
    deadline::until("the answer on the new stream is lost", SOON * 2, lost).await?;
    hand.relay.pass(Kind::Endpoint);
    let asked = hand.relay.first_asked().split_off(before);
    if asked.iter().any(|asked| asked == Kind::Cluster.type_url()) {
        return Err(Failure::new(format!("Envoy asked for clusters: {asked:?}")));
    }
    let waits = async || hand.warming().await == Some(1);
    deadline::throughout("Envoy waits for what it lost", WATCHED, waits).await?;
    hand.in_service("a", "2s", STRANDED * 3).await?;
    hand.accepted(Kind::Cluster).await?;
    if !hand.metrics().contains("chancery_xds_left_warming_total 1") {
        return Err(Failure::new("it is not counted").with(&hand.metrics()));
    }
    // The rules know of half a minute.
    hand.judge_but_for("rules")
}

/// A listener whose routes are lost on the way is accepted, and its port is not open: it does not count as live. The control:
/// with routes it answers, and counts.
pub async fn a_listener_without_its_routes_is_not_live(setup: Setup) -> Outcome<()> {
    let mut hand = Handmade::start(setup, vec![cluster("a", 1), endpoints("a", NOWHERE)]).await?;
    hand.in_service("a", "1s", SOON).await?;
    let address = hand.subnet.free(20)?;
    hand.relay.withhold(Kind::Route);
    hand.post(vec![http("l", address, "r"), routes("r", "a")], &[]);
    let lost = async || (hand.relay.swallowed() > 0).then_some(());
    deadline::until("the routes are lost", SOON, lost).await?;
    hand.accepted(Kind::Listener).await?;
    let status = async || Some(Client::default().get(address, "/", &[("host", "a")]).await.ok()?.status.as_u16());
    let closed = async || status().await.is_none() && not_live(&hand).is_some_and(|names| names == ["l"]);
    deadline::throughout("without its routes the listener is not live", WATCHED, closed).await?;
    hand.relay.pass(Kind::Route);
    hand.post(vec![cluster("b", 1), endpoints("b", NOWHERE), routes("r", "b")], &[]);
    let live = async || (status().await? == 503 && not_live(&hand)?.is_empty()).then_some(());
    deadline::until("the control: with routes it answers and is live", SOON, live).await?;
    hand.judge()
}

/// The listeners that Envoy has accepted and that do not count as live.
fn not_live(hand: &Handmade) -> Option<Vec<String>> {
    let listeners = hand.proxy()?.status().into_iter().find(|status| status.kind == Kind::Listener)?;
    Some(listeners.warming.iter().map(|name| name.to_string()).collect())
}

/// A listener moves to another address under its name: at every moment somebody answers, and the old address is closed in
/// the end. The control: taken away first and added then, there is a gap.
pub async fn a_listener_moves_without_a_gap(setup: Setup) -> Outcome<()> {
    let mut hand = Handmade::start(setup, Vec::new()).await?;
    let [one, two] = [hand.subnet.free(20)?, hand.subnet.free(21)?];
    hand.post(vec![listener("l", one, "one")], &[]);
    deadline::until("the listener answers", SOON, async || heard(one, "one").await.then_some(())).await?;
    hand.accepted(Kind::Listener).await?;
    hand.post(vec![listener("l", two, "two")], &[]);
    let mut gaps = 0;
    let moved = async || {
        let moved = heard(two, "two").await;
        gaps += u32::from(!moved && !heard(one, "one").await && !heard(two, "two").await);
        moved.then_some(())
    };
    deadline::until("the new address answers", SOON, moved).await?;
    if gaps > 0 {
        return Err(Failure::new(format!("nobody answered {gaps} times")));
    }
    let closed = async || (!heard(one, "one").await).then_some(());
    deadline::until("the old address is closed", SOON, closed).await?;
    hand.accepted(Kind::Listener).await?;
    hand.post(Vec::new(), &[(Kind::Listener, "l")]);
    let gap = async || (!heard(one, "one").await && !heard(two, "two").await).then_some(());
    deadline::until("there is a gap", SOON, gap).await?;
    hand.judge()
}

/// Whether whoever listens there says that.
async fn heard(address: SocketAddr, text: &str) -> bool {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await.ok()?;
        Some(said)
    };
    let said = tokio::time::timeout(Duration::from_secs(1), exchange).await.ok().flatten();
    said.is_some_and(|said| said.trim_end() == text)
}
