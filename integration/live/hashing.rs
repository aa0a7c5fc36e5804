//! Consistent hashing: who asks decides which endpoint answers, on a ring and in a table, also while endpoints come
//! and go. A pick is the set of versions that answered one and the same caller.

use crate::harness::client::{Answer, Client};
use crate::harness::echo::{Echo, VERSION};
use crate::harness::envoy::{Envoy, Setup};
use crate::harness::load::{Load, Running};
use crate::harness::scene::{HOST, SOON, Scene, TRAFFIC};
use crate::harness::tools::{FORGETS, Release};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The cluster of the whole service.
const CLUSTER: &str = "outbound|8080||echo.first-light.svc.cluster.local";
/// How the example balances.
const PLAIN: &str = "loadBalancer: {simple: ROUND_ROBIN}";
/// The keys of the policy under test.
const HEADER: &str = "httpHeaderName: x-key, ringHash: {minimumRingSize: 1024}";
const TABLE: &str = "httpHeaderName: x-key, maglev: {tableSize: 65537}";
const QUERY: &str = "httpQueryParameterName: key";
const ADDRESS: &str = "useSourceIp: true";
const COOKIE: &str = "httpCookie: {name: seat, path: /, ttl: 60s}";

/// How many callers there are, and how often each asks.
const CALLERS: u8 = 120;
const TIMES: usize = 3;
/// Of that many callers each of two endpoints gets at least this many: a share of a fifth, where half is expected.
const LEAST: usize = 24;

/// How many threads an Envoy has whose ring is watched: one alone always follows. And what is waited for.
const THREADS: u8 = 4;
const SHARE: &str = "the third endpoint has its share";
/// How often a forgetful Envoy may rebuild its rings after all.
const CHANCES: usize = 10;

/// How often the third endpoint comes and goes, how many callers keep asking meanwhile, and its last byte.
const CHANGES: usize = 10;
const REGULARS: usize = 8;
const THIRD: u8 = 4;

/// The versions that answered, by caller.
type Picks = BTreeMap<String, BTreeSet<String>>;

/// Each value of a header has one endpoint, and both endpoints have values.
pub async fn hashing_by_header_sticks_on_a_ring(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        hashed(scene, HEADER).await?;
        stuck(&by_header(scene).await?)
    })
    .await
}

/// The same with a Maglev table.
pub async fn hashing_by_header_sticks_in_a_table(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        hashed(scene, TABLE).await?;
        stuck(&by_header(scene).await?)
    })
    .await
}

/// The control: the same requests without a hash, and every value meets both endpoints.
pub async fn without_hashing_nothing_sticks(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        balanced(scene, PLAIN).await?;
        let picks = by_header(scene).await?;
        let spread = picks.values().all(|versions| versions.len() == 2);
        if spread && stuck(&picks).is_err() { Ok(()) } else { Err(Failure::new(format!("it sticks: {picks:?}"))) }
    })
    .await
}

/// Each value of a query parameter has one endpoint; another parameter does not count.
pub async fn hashing_by_query_parameter_sticks(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        hashed(scene, QUERY).await?;
        let client = Client::default();
        let (mut picks, mut others) = (Picks::new(), BTreeSet::new());
        for (caller, time) in rounds() {
            let answer = get(scene, &client, &format!("/?time={time}&key={caller}"), &[]).await?;
            picks.entry(caller.to_string()).or_default().insert(version(&answer)?);
            others.insert(version(&get(scene, &client, &format!("/?other={caller}"), &[]).await?)?);
        }
        stuck(&picks)?;
        if others.len() == 2 { Ok(()) } else { Err(Failure::new("requests without the parameter stick too")) }
    })
    .await
}

/// Each address of a client has one endpoint, whatever its connection.
pub async fn hashing_by_address_sticks(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        hashed(scene, ADDRESS).await?;
        let mut picks = Picks::new();
        for (caller, _) in rounds() {
            let address = IpAddr::V4(Ipv4Addr::new(127, 1, 1, caller + 1));
            let answer = get(scene, &Client::from(address), "/", &[]).await?;
            picks.entry(address.to_string()).or_default().insert(version(&answer)?);
        }
        stuck(&picks)
    })
    .await
}

/// Envoy gives every newcomer a cookie that lives as long as the rule says; who sends it back meets the same endpoint,
/// on whatever connection, and gets no other cookie.
pub async fn hashing_by_cookie_sticks(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        hashed(scene, COOKIE).await?;
        let mut picks = Picks::new();
        for _ in 0..CALLERS {
            let first = get(scene, &Client::default(), "/", &[]).await?;
            let cookie = given(&first)?;
            let versions = picks.entry(cookie.clone()).or_default();
            versions.insert(version(&first)?);
            for _ in 1..TIMES {
                let answer = get(scene, &Client::default(), "/", &[("cookie", &cookie)]).await?;
                if answer.headers.contains_key("set-cookie") {
                    return Err(Failure::new("a caller with a cookie was given another"));
                }
                versions.insert(version(&answer)?);
            }
        }
        stuck(&picks)
    })
    .await
}

/// An endpoint comes and goes again and again under load: nobody sees an error, callers whose endpoint stays stay with
/// it, and in the end the picks are those of an Envoy that has seen none of it.
pub async fn ring_hashing_follows_endpoints(setup: Setup) -> Outcome<()> {
    let setup = Setup { threads: THREADS, ..setup };
    on(Scene::open(setup).await?, async |scene| {
        hashed(scene, HEADER).await?;
        let two = by_header(scene).await?;
        let _third = Echo::start("third", scene.subnet.ip(THIRD), 8080, 9000).await?;
        let three = follows(scene, &two).await?;
        let regulars = regulars(scene);
        for step in 0..CHANGES {
            // Odd steps add it, so it is there at the end.
            let there = step % 2 == 1;
            change(scene, there).await?;
            picked(scene, if there { &three } else { &two }).await?;
        }
        for (caller, load) in regulars {
            let tally = load.stopped().await?;
            tally.clean()?;
            let (seen, key) = (tally.versions.into_keys().collect::<BTreeSet<_>>(), caller.to_string());
            let owners: BTreeSet<_> = two[&key].union(&three[&key]).cloned().collect();
            if seen != owners {
                return Err(Failure::new(format!("{caller} belongs to {owners:?} and met {seen:?}")));
            }
        }
        let last = by_header(scene).await?;
        anew(scene, setup).await?;
        let fresh = by_header(scene).await?;
        if last == fresh { Ok(()) } else { Err(Failure::new(format!("{last:?}\nand of a new Envoy\n{fresh:?}"))) }
    })
    .await
}

/// The control: an Envoy some of whose threads go on with the endpoints of before is found out. It loses a rebuilding only
/// when changes and threads meet badly, so it gets several chances.
pub async fn a_ring_that_is_not_rebuilt_is_found(setup: Setup) -> Outcome<()> {
    let setup = Setup { release: Release::Forgetful, threads: THREADS, flag: Some(FORGETS), ..setup };
    on(Scene::open(setup).await?, async |scene| {
        hashed(scene, HEADER).await?;
        let two = by_header(scene).await?;
        let _third = Echo::start("third", scene.subnet.ip(THIRD), 8080, 9000).await?;
        for _ in 0..CHANCES {
            match follows(scene, &two).await {
                Err(failure) if failure.0.contains(SHARE) => return Ok(()),
                Err(failure) => return Err(failure),
                Ok(_) => change(scene, false).await?,
            }
            if picked(scene, &two).await.is_err() {
                return Ok(());
            }
        }
        Err(Failure::new(format!("it was rebuilt {CHANCES} times")))
    })
    .await
}

/// Adds the third endpoint and waits until each thread gives it its share and leaves the others theirs.
async fn follows(scene: &Scene, two: &Picks) -> Outcome<Picks> {
    change(scene, true).await?;
    deadline::until(SHARE, SOON, async || {
        let three = by_header(scene).await.ok()?;
        kept(two, &three).ok().map(|()| three)
    })
    .await
}

/// Adds the third endpoint or takes it away.
async fn change(scene: &Scene, there: bool) -> Outcome<()> {
    let address = scene.pod(THIRD);
    if there {
        scene.folder.replace("third.yaml", &slice(address))?;
    } else {
        scene.folder.remove("third.yaml")?;
    }
    let what = format!("the third endpoint is {}", if there { "listed" } else { "gone" });
    let listed = async || {
        let endpoints = scene.client().endpoints(CLUSTER).await.ok()?;
        (endpoints.contains(&address) == there).then_some(())
    };
    deadline::until(&what, SOON, listed).await
}

/// Waits until the picks are the `expected` ones.
async fn picked(scene: &Scene, expected: &Picks) -> Outcome<()> {
    let picked = async || (by_header_once(scene).await.ok()? == *expected).then_some(());
    deadline::until("the ring follows the endpoints", SOON, picked).await
}

/// Fails unless the third endpoint has its share and the others have kept most of theirs. A ring has as many places as
/// before, so a few callers move between the first two as well.
fn kept(two: &Picks, three: &Picks) -> Outcome<()> {
    stuck(two)?;
    let stays = two.iter().filter(|(caller, versions)| three[*caller] == **versions).count();
    let third = three.values().filter(|versions| versions.contains("third")).count();
    let single = three.values().all(|versions| versions.len() == 1);
    // A third of them would stay if all were dealt anew.
    if single && third >= LEAST / 2 && stays * 5 >= two.len() * 2 {
        return Ok(());
    }
    Err(Failure::new(format!("{stays} of {} stay, the third has {third}: {three:?}", two.len())))
}

/// A steady load of some callers.
fn regulars(scene: &Scene) -> Vec<(usize, Running)> {
    let load = |caller: usize| Load { workers: 1, ..scene.traffic().header("x-key", &caller.to_string()) };
    (0..REGULARS).map(|caller| (caller, load(caller).start())).collect()
}

/// Puts a new Envoy in the place of the client's.
async fn anew(scene: &mut Scene, setup: Setup) -> Outcome<()> {
    drop(scene.envoys.remove(0));
    let envoy = scene.launched(setup)?;
    scene.envoys.insert(0, envoy);
    deadline::until("the new Envoy is ready", SOON, async || scene.client().is_ready().await?.then_some(())).await?;
    scene.settled().await
}

/// Sends everybody to the whole service, balanced by this hash.
async fn hashed(scene: &Scene, hash: &str) -> Outcome<()> {
    balanced(scene, &format!("loadBalancer: {{consistentHash: {{{hash}}}}}")).await
}

async fn balanced(scene: &Scene, balancer: &str) -> Outcome<()> {
    let text = scene.folder.read(TRAFFIC)?.replace(", subset: v1}", "}").replace(", subset: v2}", "}");
    scene.reroute(&text.replace(PLAIN, balancer)).await?;
    scene.settled().await?;
    let envoy: &Envoy = scene.client();
    let active = async || (envoy.stat("cluster_manager.warming_clusters").await.ok()? == Some(0)).then_some(());
    deadline::until("the changed clusters are in service", SOON, active).await
}

/// What each value of the header meets.
async fn by_header(scene: &Scene) -> Outcome<Picks> {
    headers(scene, rounds()).await
}

async fn by_header_once(scene: &Scene) -> Outcome<Picks> {
    headers(scene, rounds().filter(|(_, time)| *time == 0)).await
}

async fn headers(scene: &Scene, rounds: impl Iterator<Item = (u8, usize)>) -> Outcome<Picks> {
    let mut picks = Picks::new();
    for (caller, _) in rounds {
        let key = caller.to_string();
        // A connection is one thread's for as long as it lives.
        let answer = get(scene, &Client::default(), "/", &[("x-key", &key)]).await?;
        picks.entry(key).or_default().insert(version(&answer)?);
    }
    Ok(picks)
}

/// Every caller, as often as it asks.
fn rounds() -> impl Iterator<Item = (u8, usize)> {
    (0..CALLERS).flat_map(|caller| (0..TIMES).map(move |time| (caller, time)))
}

async fn get(scene: &Scene, client: &Client, path: &str, headers: &[(&str, &str)]) -> Outcome<Answer> {
    let headers: Vec<(&str, &str)> = [("host", HOST)].iter().chain(headers).copied().collect();
    client.get(scene.http(), path, &headers).await
}

/// Who answered; fails unless it was a 200.
fn version(answer: &Answer) -> Outcome<String> {
    let version = answer.headers.get(VERSION).and_then(|version| version.to_str().ok());
    match version {
        Some(version) if answer.status == 200 => Ok(version.to_owned()),
        _ => Err(Failure::new(format!("{} of {version:?}", answer.status))),
    }
}

/// The cookie an answer sets, as it is sent back.
fn given(answer: &Answer) -> Outcome<String> {
    let header = answer.headers.get("set-cookie").and_then(|header| header.to_str().ok()).unwrap_or_default();
    match header.split_once(';') {
        Some((cookie, rest)) if cookie.starts_with("seat=") && rest.contains("Max-Age=60") => Ok(cookie.to_owned()),
        _ => Err(Failure::new(format!("the cookie given is {header:?}"))),
    }
}

/// Fails unless every caller met one version only, and both versions have callers.
fn stuck(picks: &Picks) -> Outcome<()> {
    let share = |name: &str| picks.values().filter(|versions| versions.len() == 1 && versions.contains(name)).count();
    let (first, second) = (share("v1"), share("v2"));
    if first + second == picks.len() && picks.len() == usize::from(CALLERS) && first.min(second) >= LEAST {
        return Ok(());
    }
    Err(Failure::new(format!("{first} stick to v1 and {second} to v2 of {}: {picks:?}", picks.len())))
}

/// The third endpoint, in a slice of its own; it has no proxy.
fn slice(address: SocketAddr) -> String {
    let ip = address.ip();
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo-2, namespace: first-light, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}, {{name: tcp, port: 9000}}]
endpoints: [{{addresses: [{ip}], conditions: {{ready: true}}}}]
"
    )
}
