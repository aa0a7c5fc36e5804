//! What goes wrong around the control plane: a storm of changes, an Envoy that is frozen, no descriptors left. Each fault
//! is injected and healed; in between, whoever has no part in it notices nothing.

use crate::floods::Footprint;
use crate::harness::envoy::Setup;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{NAMESPACE, RECONNECT, SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use crate::watched::Watched;
use rustix::process::{Resource as Limit, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

/// The least time between two updates of a thousand endpoints, were they 26 bytes each; they are more.
const INTERVAL: Duration = Duration::from_millis(50);
/// The fewest changes a second that make a storm, on a machine with other things to do.
const LEAST: f64 = 200.0;
/// How much memory a storm may take, in MiB: buffers of those it is sent to.
const TAKEN_MIB: u64 = 32;
/// The file of the one endpoint that changes, and the cluster it is in.
const RESTLESS: &str = "restless.yaml";
const CLUSTER: &str = "outbound|7000||storm.first-light.svc.cluster.local";

/// How long a storm goes on: five seconds, or as long as `CHANCERY_SOAK` says.
fn time() -> Duration {
    let seconds = std::env::var("CHANCERY_SOAK").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(5))
}

fn slice(name: &str, addresses: impl Iterator<Item = String>) -> String {
    let endpoints: Vec<String> = addresses.map(|address| format!("{{addresses: [{address}]}}")).collect();
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {name}, namespace: {NAMESPACE},
        labels: {{kubernetes.io/service-name: storm}}}}, addressType: IPv4, ports: [{{name: tcp, port: 7000}}],
        endpoints: [{}]}}\n",
        endpoints.join(", ")
    )
}

/// Another endpoint in place of the one that changes.
fn change(scene: &Scene, number: usize) -> Outcome<SocketAddr> {
    let address = format!("10.9.{}.{}", number / 250 % 250, number % 250 + 1);
    scene.folder.replace(RESTLESS, &slice("restless", [address.clone()].into_iter()))?;
    Ok(SocketAddr::new(address.parse()?, 7000))
}

async fn sent(scene: &Scene) -> Outcome<u64> {
    Ok(scene.pushes().await?.get("eds").copied().unwrap_or_default())
}

/// One of a thousand endpoints is replaced as often as a thousand times a second: what is sent is bounded by what Envoys
/// can take, requests go on, the last change arrives, and memory is what it was. The controls: so many changes are a storm; changes one by
/// one are sent each.
pub async fn a_storm_of_changes_is_gathered(setup: Setup) -> Outcome<()> {
    let (scene, watched) = Watched::open(setup).await?;
    on(scene, async |scene| {
        let service = format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: storm, namespace: {NAMESPACE}}},
            spec: {{clusterIP: 10.96.9.9, ports: [{{name: tcp, port: 7000}}]}}}}\n"
        );
        let many = (0..1000).map(|number| format!("10.8.{}.{}", number / 250, number % 250 + 1));
        scene.folder.replace("storm.yaml", &(slice("many", many) + &service))?;
        arrived(scene, change(scene, 0)?).await?;
        let load = scene.traffic().start();
        let pid = scene.chancery.pid().ok_or_else(|| Failure::new("chancery isn't running"))?;
        let calm = Footprint::of(pid)?;
        let (before, began) = (sent(scene).await?, Instant::now());
        let mut pace = interval(Duration::from_millis(1));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut changes, mut last) = (0, change(scene, 1)?);
        while began.elapsed() < time() {
            pace.tick().await;
            changes += 1;
            last = change(scene, changes)?;
        }
        arrived(scene, last).await?;
        let (after, took) = (sent(scene).await?, began.elapsed());
        let envoys = scene.envoys.len() as u64;
        // What is on credit, and what is on its way at either end.
        let bound = envoys * (took.as_millis() / INTERVAL.as_millis() + 7) as u64;
        let sent_meanwhile = after - before;
        if sent_meanwhile > bound || envoys * (changes as u64) < 2 * sent_meanwhile {
            return Err(Failure::new(format!("{changes} changes, sent {sent_meanwhile} times, {bound} at most")));
        }
        let rate = changes as f64 / took.as_secs_f64();
        if rate < LEAST {
            return Err(Failure::new(format!("{rate:.0} changes a second are no storm")));
        }
        let taken = Footprint::of(pid)?.mib.saturating_sub(calm.mib);
        if taken > TAKEN_MIB {
            return Err(Failure::new(format!("{changes} changes took {taken} MiB")));
        }
        load.stopped().await?.clean()?;
        for number in 1..4 {
            let before = sent(scene).await?;
            arrived(scene, change(scene, changes + number)?).await?;
            let more = sent(scene).await? - before;
            if more != envoys {
                return Err(Failure::new(format!("a lone change was sent {more} times to {envoys} Envoys")));
            }
        }
        watched.judge()
    })
    .await
}

/// Every Envoy has that endpoint, and a thousand others.
async fn arrived(scene: &Scene, endpoint: SocketAddr) -> Outcome<()> {
    for envoy in &scene.envoys {
        let what = format!("{} has {endpoint}", envoy.node);
        let all = async || {
            let endpoints: BTreeSet<_> = envoy.endpoints(CLUSTER).await.ok()?.into_iter().collect();
            (endpoints.contains(&endpoint) && endpoints.len() == 1001).then_some(())
        };
        deadline::until(&what, SOON * 2, all).await?;
    }
    scene.settled().await
}

/// An Envoy that is frozen answers nothing and closes nothing. Its stream is ended, the others are served meanwhile, and
/// once it is thawed it has everything. The control is a server that is patient: the frozen one stays.
pub async fn a_frozen_envoy_is_let_go_and_comes_back(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        scene.envoys[2].freeze()?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        if !connected(scene, 2).await.unwrap_or(false) {
            return Err(Failure::new("a frozen Envoy was let go before its time"));
        }
        scene.envoys[2].thaw()?;
        let impatient = ["--keepalive-interval", "1s", "--keepalive-timeout", "1s"];
        scene.chancery.flags = impatient.map(str::to_owned).to_vec();
        scene.chancery.kill()?;
        scene.chancery.restart().await?;
        scene.settled_within(RECONNECT).await?;
        scene.envoys[2].freeze()?;
        let gone = async || (!connected(scene, 2).await?).then_some(());
        deadline::until("the frozen Envoy is let go", Duration::from_secs(15), gone).await?;
        let text = scene.folder.read(TRAFFIC)?;
        // The others are still connected, and what they accept is seen.
        scene.reroute(&reweighted(&text, &[("v1", 100), ("v2", 0)])).await?;
        scene.requests(100).run().await?.clean()?;
        scene.envoys[2].thaw()?;
        scene.settled_within(RECONNECT).await?;
        scene.reroute(&reweighted(&text, &[("v1", 0), ("v2", 100)])).await?;
        let tally = scene.requests(100).run().await?;
        tally.clean()?;
        if tally.of("v2") == 100 { Ok(()) } else { Err(Failure::new(format!("not all went to v2: {tally:?}"))) }
    })
    .await
}

/// Whether the server counts that Envoy among its proxies; none where it doesn't say.
async fn connected(scene: &Scene, envoy: usize) -> Option<bool> {
    let proxies = scene.chancery.api().proxies().await.ok()?;
    Some(proxies.iter().any(|proxy| proxy.node == scene.envoys[envoy].node))
}

/// More connections than there are descriptors: they wait, nothing spins, and once there are some again everybody is
/// served.
pub async fn without_descriptors_connections_wait(setup: Setup) -> Outcome<()> {
    waits(setup, Scene::prepared().await?).await?;
    waits(setup, Scene::secured().await?).await
}

async fn waits(setup: Setup, scene: Scene) -> Outcome<()> {
    scene.chancery.limit_descriptors(256)?;
    let limit = getrlimit(Limit::Nofile);
    setrlimit(Limit::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let (mut open, began) = (Vec::new(), Instant::now());
    for _ in 0..1000 {
        open.push(TcpStream::connect(scene.chancery.xds).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(open);
    let api = scene.chancery.api();
    let metrics = deadline::until("chancery answers again", SOON * 2, async || api.metrics().await.ok()).await?;
    let pauses = metrics.sum("chancery_xds_accept_pauses_total", &[]) as u128;
    let bound = began.elapsed().as_millis() / 200 + 2;
    if !(1..=bound).contains(&pauses) {
        return Err(Failure::new(format!("{pauses} pauses, {bound} at most")).with(&scene.chancery.tail()));
    }
    on(scene.with_envoys(setup, false).await?, async |scene| scene.requests(100).run().await?.clean()).await
}
