//! What an Envoy waits for, and what must not wait for it: secrets that follow their cluster, a cluster that never warms, a
//! stream that left an Envoy warming, a listener that moves.

use crate::handmade::{Handmade, SOON};
use crate::harness::envoy::Setup;
use crate::harness::{Failure, Outcome, deadline};
use crate::resources::{cluster, endpoints, listener, secret, trusting};
use chancery::snapshot::kind::Kind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How long a control watches that nothing happens.
const WATCHED: Duration = Duration::from_secs(2);
/// How long a proxy may ask for endpoints and not for clusters, and a little more.
const STRANDED: Duration = Duration::from_secs(35);
/// Nobody listens there, and nobody has to.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

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
    let mut hand = Handmade::start(setup, vec![cluster("a", 1), endpoints("a", NOWHERE)]).await?;
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
    deadline::throughout("Envoy waits for what it lost", WATCHED * 5, waits).await?;
    hand.in_service("a", "2s", STRANDED).await?;
    hand.accepted(Kind::Cluster).await?;
    if !hand.metrics().contains("chancery_xds_left_warming_total 1") {
        return Err(Failure::new("it is not counted").with(&hand.metrics()));
    }
    hand.judge()
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
