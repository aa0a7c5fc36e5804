//! What Envoy rejects is held back, and nothing else: the rest of the response arrives, and the rejected bytes are not sent
//! again. What is bad here is refused by Envoy alone: no manifest leads to it.

use crate::handmade::{Handmade, SOON};
use crate::harness::envoy::Setup;
use crate::harness::{Outcome, deadline};
use crate::resources::{
    SECRET, cluster, endpoints, http, nowhere, routes, secret, table, trusting, unbalanced, unreadable,
};
use chancery::snapshot::kind::Kind;
use std::net::SocketAddr;
use std::time::Duration;

/// Where nobody is.
const NOWHERE: [SocketAddr; 2] = [
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9),
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 10),
];
/// How long Envoy is watched for what must not happen.
const WATCHED: Duration = Duration::from_millis(500);

/// Of two new clusters Envoy refuses one. The other is in service, later changes are accepted, as a counter of Envoy shows,
/// and a better version of the first is in service at once.
pub async fn a_bad_cluster_holds_back_no_other(setup: Setup) -> Outcome<()> {
    let mut hand = Handmade::start(setup, vec![cluster("a", 1), endpoints("a", NOWHERE[0])]).await?;
    hand.in_service("a", "1s", SOON).await?;
    hand.accepted(Kind::Cluster).await?;
    hand.post(vec![unbalanced("bad"), cluster("b", 1), endpoints("b", NOWHERE[0])], &[]);
    hand.in_service("b", "1s", SOON).await?;
    held(&hand, Kind::Cluster, &["bad"]).await?;
    // The control: it was rejected.
    let rejected = hand.envoy.stat("cluster_manager.cds.update_rejected").await?.unwrap_or_default();
    if rejected == 0 {
        return Err(hand.failure("Envoy accepts what it should refuse"));
    }
    for (timeout, shown) in [(2, "2s"), (3, "3s")] {
        hand.post(vec![cluster("a", timeout)], &[]);
        hand.in_service("a", shown, SOON).await?;
    }
    let still = async || hand.envoy.stat("cluster_manager.cds.update_rejected").await.ok().flatten() == Some(rejected);
    deadline::throughout("what was rejected is not sent again", WATCHED, still).await?;
    hand.post(vec![cluster("bad", 4), endpoints("bad", NOWHERE[0])], &[]);
    hand.in_service("bad", "4s", SOON).await?;
    held(&hand, Kind::Cluster, &[]).await?;
    hand.judge_at_rest().await
}

/// The endpoints of three clusters change, and those of one are malformed: Envoy refuses all together and does not say who
/// it is. The others arrive, that one keeps what it had, and it is found.
pub async fn one_bad_endpoint_holds_back_no_other(setup: Setup) -> Outcome<()> {
    let names = ["a", "b", "c"];
    let mut resources: Vec<_> = names.iter().map(|name| cluster(name, 1)).collect();
    resources.extend(names.iter().map(|name| endpoints(name, NOWHERE[0])));
    let mut hand = Handmade::start(setup, resources).await?;
    for name in names {
        hand.in_service(name, "1s", SOON).await?;
    }
    hand.accepted(Kind::Endpoint).await?;
    hand.post(vec![endpoints("a", NOWHERE[1]), nowhere("b"), endpoints("c", NOWHERE[1])], &[]);
    for (name, address) in [("a", NOWHERE[1]), ("c", NOWHERE[1]), ("b", NOWHERE[0])] {
        let there = async || (hand.envoy.endpoints(name).await.ok()? == [address]).then_some(());
        deadline::until(&format!("{name} has the endpoint {address}"), SOON, there).await?;
    }
    held(&hand, Kind::Endpoint, &["b"]).await?;
    hand.post(vec![endpoints("b", NOWHERE[1])], &[]);
    let there = async || (hand.envoy.endpoints("b").await.ok()? == [NOWHERE[1]]).then_some(());
    deadline::until("a better version arrives", SOON, there).await?;
    held(&hand, Kind::Endpoint, &[]).await?;
    hand.judge_at_rest().await
}

/// A cluster changes together with its endpoints, and Envoy refuses those. It waits for endpoints all the same, and gets the ones
/// that it accepted last: it is in service as it is now, with the endpoints it had. The control: without any it would wait for
/// ever, as [other tests](crate::warming) show, and those that changed were refused.
pub async fn a_changed_cluster_keeps_its_endpoints(setup: Setup) -> Outcome<()> {
    let mut hand = Handmade::start(setup, vec![cluster("a", 1), endpoints("a", NOWHERE[0])]).await?;
    hand.in_service("a", "1s", SOON).await?;
    hand.accepted(Kind::Endpoint).await?;
    hand.post(vec![cluster("a", 2), nowhere("a")], &[]);
    hand.in_service("a", "2s", SOON).await?;
    held(&hand, Kind::Endpoint, &["a"]).await?;
    let there = async || (hand.envoy.endpoints("a").await.ok()? == [NOWHERE[0]]).then_some(());
    deadline::until("the cluster has the endpoint it had", SOON, there).await?;
    hand.accepted(Kind::Cluster).await?;
    hand.post(vec![endpoints("a", NOWHERE[1])], &[]);
    let there = async || (hand.envoy.endpoints("a").await.ok()? == [NOWHERE[1]]).then_some(());
    deadline::until("a better version arrives", SOON, there).await?;
    hand.judge_at_rest().await
}

/// In one change a cluster comes that Envoy refuses, one changes, and one goes. What goes is gone, in a response of its own,
/// which is accepted: the oracles look for one that does both. The control: the other was rejected.
pub async fn a_bad_cluster_keeps_none_that_goes(setup: Setup) -> Outcome<()> {
    let there = ["a", "g"].iter().flat_map(|name| [cluster(name, 1), endpoints(name, NOWHERE[0])]).collect();
    let mut hand = Handmade::start(setup, there).await?;
    for name in ["a", "g"] {
        hand.in_service(name, "1s", SOON).await?;
    }
    hand.accepted(Kind::Cluster).await?;
    hand.post(vec![unbalanced("z"), cluster("a", 2)], &[(Kind::Cluster, "g"), (Kind::Endpoint, "g")]);
    hand.in_service("a", "2s", SOON).await?;
    held(&hand, Kind::Cluster, &["z"]).await?;
    let gone = async || hand.timeout("g").await.is_none().then_some(());
    deadline::until("what goes is gone", SOON, gone).await?;
    let rejected = hand.envoy.stat("cluster_manager.cds.update_rejected").await?.unwrap_or_default();
    if rejected != 1 {
        return Err(hand.failure(&format!("Envoy has rejected {rejected} responses, not one")));
    }
    // Envoy states to hold what it has lost with a response that it rejected.
    hand.restart().await?;
    hand.post(vec![cluster("z", 1), endpoints("z", NOWHERE[0])], &[]);
    hand.in_service("z", "1s", SOON).await?;
    hand.post(vec![cluster("g", 3), endpoints("g", NOWHERE[0])], &[]);
    hand.in_service("g", "3s", SOON).await?;
    hand.judge_at_rest().await
}

/// A secret changes into what Envoy refuses, together with a cluster that comes. The cluster is in service, who has the secret keeps
/// the one it had, and a better version arrives. The control: it was found at fault, which only Envoy's refusal leads to.
pub async fn a_bad_secret_holds_back_nothing(setup: Setup) -> Outcome<()> {
    let there = vec![trusting("a", 1, 0), endpoints("a", NOWHERE[0]), secret()];
    let mut hand = Handmade::start(setup, there).await?;
    hand.in_service("a", "1s", SOON).await?;
    hand.accepted(Kind::Secret).await?;
    hand.post(vec![unreadable(), cluster("b", 1), endpoints("b", NOWHERE[0])], &[]);
    hand.in_service("b", "1s", SOON).await?;
    held(&hand, Kind::Secret, &[SECRET]).await?;
    let still = async || hand.timeout("a").await.as_deref() == Some("1s") && hand.warming().await == Some(0);
    deadline::throughout("who has the secret is in service", WATCHED, still).await?;
    hand.post(vec![secret()], &[]);
    held(&hand, Kind::Secret, &[]).await?;
    hand.post(vec![trusting("a", 2, 0)], &[]);
    hand.in_service("a", "2s", SOON).await?;
    hand.judge_at_rest().await
}

/// Two tables of routes change, and Envoy refuses one. The other leads elsewhere at once, that one leads where it did, and a
/// better version of it arrives.
pub async fn a_bad_table_of_routes_holds_back_no_other(setup: Setup) -> Outcome<()> {
    let there = ["a", "b"].iter().flat_map(|name| [cluster(name, 1), endpoints(name, NOWHERE[0])]).collect();
    let mut hand = Handmade::start(setup, there).await?;
    let [one, two] = [hand.subnet.free(20)?, hand.subnet.free(21)?];
    hand.post(vec![http("one", one, "r"), http("two", two, "s"), routes("r", "a"), routes("s", "a")], &[]);
    for table in ["r", "s"] {
        lead(&hand, table, "everyone", "a").await?;
    }
    hand.accepted(Kind::Route).await?;
    hand.post(vec![routes("r", "b"), table("s", &[("everyone", "", "b")])], &[]);
    lead(&hand, "r", "everyone", "b").await?;
    held(&hand, Kind::Route, &["s"]).await?;
    lead(&hand, "s", "everyone", "a").await?;
    hand.post(vec![routes("s", "b")], &[]);
    lead(&hand, "s", "everyone", "b").await?;
    held(&hand, Kind::Route, &[]).await?;
    hand.judge_at_rest().await
}

/// Of a table two hosts change, and Envoy refuses one. The other leads elsewhere at once, that one leads where it did: what is
/// held back is the host, not its table.
pub async fn a_bad_host_holds_back_no_other_of_its_table(setup: Setup) -> Outcome<()> {
    let there = ["a", "b"].iter().flat_map(|name| [cluster(name, 1), endpoints(name, NOWHERE[0])]).collect();
    let mut hand = Handmade::start(setup, there).await?;
    let address = hand.subnet.free(20)?;
    let hosts = |good, domain, bad| table("r", &[("good", "good", good), ("bad", domain, bad)]);
    hand.post(vec![http("one", address, "r"), hosts("a", "bad", "a")], &[]);
    for host in ["good", "bad"] {
        lead(&hand, "r", host, "a").await?;
    }
    hand.accepted(Kind::Route).await?;
    hand.post(vec![hosts("b", "", "b")], &[]);
    lead(&hand, "r", "good", "b").await?;
    held(&hand, Kind::Route, &["r"]).await?;
    lead(&hand, "r", "bad", "a").await?;
    let status = hand.proxy().map(|proxy| proxy.status()).unwrap_or_default();
    let charges: Vec<_> = status.into_iter().flat_map(|status| status.rejected).collect();
    if charges.iter().any(|charge| charge.unit.part.as_deref() != Some("bad")) {
        return Err(hand.failure(&format!("more than the host is held back: {charges:?}")));
    }
    hand.post(vec![hosts("b", "bad", "b")], &[]);
    lead(&hand, "r", "bad", "b").await?;
    held(&hand, Kind::Route, &[]).await?;
    hand.judge_at_rest().await
}

/// Waits until that host of that table leads to that cluster.
async fn lead(hand: &Handmade, table: &str, host: &str, cluster: &str) -> Outcome<()> {
    let leads = async || {
        let tables = hand.envoy.dump("dynamic_route_configs").await.ok()?;
        let table = tables.iter().filter_map(|entry| entry.get("route_config")).find(|found| found["name"] == table)?;
        let host = table["virtual_hosts"].as_array()?.iter().find(|found| found["name"] == host)?;
        (host["routes"][0]["route"]["cluster"] == cluster).then_some(())
    };
    deadline::until(&format!("{host} of {table} leads to {cluster}"), SOON, leads).await
}

/// Waits until exactly these are found at fault and held back.
async fn held(hand: &Handmade, kind: Kind, names: &[&str]) -> Outcome<()> {
    let found = async || {
        let status = hand.proxy()?.status().into_iter().find(|status| status.kind == kind)?;
        let all: Vec<_> = status.rejected.iter().map(|charge| (&*charge.unit.name, charge.found)).collect();
        let expected: Vec<_> = names.iter().map(|name| (*name, true)).collect();
        (all == expected).then_some(())
    };
    let what = format!("exactly {names:?} of {kind} are held back");
    deadline::until(&what, SOON, found)
        .await
        .map_err(|failure| failure.with(&format!("{:?}", hand.proxy().map(|proxy| proxy.status()))))
}
