//! How soon what a proxy rejects is on its object, where the process that has the proxy is not the one that writes: from the
//! rejection, as it passes between the two, to the condition, as somebody hears of it who watches the object.

use crate::harness::chancery::Chancery;
use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::envoy::Envoy;
use crate::harness::relay::{Relay, Witness};
use crate::harness::{Failure, Outcome, deadline};
use crate::replicas::{stands, taken};
use crate::shared;
use crate::stage::{SOON, Stage, pod};
use crate::told::{Told, rejection, says, wants};
use chancery::source::kubernetes::access::Access;
use chancery::xds::request::{Request, Wire};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use kube::core::params::WatchParams;
use kube::core::{DynamicObject, WatchEvent};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;

const HERE: &str = "through";
/// How often it is measured: what counts is the time in the middle, for others work on this machine, too.
const TIMES: usize = 5;
/// How long it may take.
const PROMPT: Duration = Duration::from_secs(1);

/// When proxies rejected something.
#[derive(Default)]
struct Rejections(Mutex<Vec<Instant>>);

impl Rejections {
    /// The first since then.
    fn since(&self, then: Instant) -> Option<Instant> {
        self.0.lock().expect("nobody panics with it").iter().copied().find(|at| *at >= then)
    }
}

impl Witness for Rejections {
    fn opened(&self, _: Wire) -> usize {
        0
    }
    fn asked(&self, _: usize, request: Request) {
        if request.error.is_some() {
            self.0.lock().expect("nobody panics with it").push(Instant::now());
        }
    }
    fn sotw(&self, _: usize, _: &DiscoveryResponse) {}
    fn delta(&self, _: usize, _: &DeltaDiscoveryResponse) {}
}

/// What was heard of the Sidecar, and when.
type Heard = Arc<Mutex<Vec<(Instant, Told)>>>;

/// Somebody who watches the Sidecar.
struct Watcher {
    heard: Heard,
    watching: JoinHandle<()>,
}

impl Watcher {
    async fn start(cluster: &Cluster) -> Outcome<Self> {
        let access = Access { kubeconfig: Some(cluster.kubeconfig(ADMIN)), ..Access::default() };
        let client = access.client().await?;
        let path = format!("/apis/networking.istio.io/v1/namespaces/{HERE}/sidecars");
        let watch = kube::core::Request::new(path).watch(&WatchParams::default().timeout(290), "0");
        let watch = watch.map_err(|error| Failure::new(error.to_string()))?;
        let events = client.request_events::<DynamicObject>(watch).await?;
        let heard = Heard::default();
        let hears = heard.clone();
        let watching = tokio::spawn(async move {
            let mut events = Box::pin(events);
            while let Some(event) = events.next().await {
                let Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else { continue };
                let told = Told(serde_json::to_value(&object).expect("it was JSON"));
                hears.lock().expect("nobody panics with it").push((Instant::now(), told));
            }
        });
        Ok(Self { heard, watching })
    }

    /// When the newest object was first told to be rejected by who has this address.
    fn told(&self, address: SocketAddr) -> Option<Instant> {
        let heard = self.heard.lock().expect("nobody panics with it");
        let is_meant = |told: &Told| {
            told.says("Programmed") == "False Rejected" && told.message("Programmed").contains(&address.to_string())
        };
        heard.iter().find(|(_, told)| is_meant(told)).map(|(at, _)| *at)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// What a proxy of the one that follows rejects is on the object within a second: the one that leads, which has no
/// proxies, writes it. The control: as long as the two don't talk, it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_reaches_its_object_through_the_leader() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, HERE).await?;
    stage.write_status(15);
    stage.chancery.flags.extend(stage.talks("one", 1)?);
    stage.chancery.restart().await?;
    stands(&stage.chancery, "leading").await?;
    cluster.apply(&pod(HERE, "second")).await?;
    let mut other = stage.another(&cluster, ADMIN, "two", 2)?;
    let talks = other.flags.split_off(6);
    other.flags[5] = "on".to_owned();
    other.restart().await?;
    stands(&other, "following").await?;
    let rejections = Arc::new(Rejections::default());
    let relay = Relay::watched(stage.spare()?, other.xds, rejections.clone()).await?;
    // At another address than the one that is to be taken, which is where the outbound listeners of 11 are.
    let envoy = stage.another_envoy_at(&cluster, relay.address, "second", 12).await?;

    let (first, address) = taken(&stage)?;
    cluster.apply(&wants(HERE, address)).await?;
    rejection(&other, HERE).await?;
    let silent = async || {
        let own = Told::of(&cluster, HERE, "sidecar/own").await;
        own.is_ok_and(|own| !own.says("Programmed").starts_with("False Rejected"))
    };
    deadline::throughout("nobody tells the object", Duration::from_secs(3), silent).await?;

    other.terminate(SOON).await?;
    other.flags.extend(talks);
    other.restart().await?;
    says(&cluster, &stage, "sidecar/own", ("Programmed", "False Rejected")).await?;
    drop(first);
    let watcher = Watcher::start(&cluster).await?;
    let mut times = Vec::new();
    for _ in 0..TIMES {
        times.push(rejected(&cluster, &stage, &envoy, (&rejections, &watcher)).await?);
    }
    times.sort();
    println!("from a rejection at the other to the condition: {times:?}");
    assert!(times[TIMES / 2] < PROMPT, "{times:?}: {}", stage.chancery.tail());
    alone(&stage.chancery, &other).await
}

/// What the proxy has is good, and then it is not: how long the object is not told. It is told before that this is on its way, which must
/// not keep what comes then.
async fn rejected(
    cluster: &Cluster,
    stage: &Stage,
    envoy: &Envoy,
    (rejections, watcher): (&Rejections, &Watcher),
) -> Outcome<Duration> {
    let free = SocketAddr::new(stage.vacant(), TcpListener::bind((stage.vacant(), 0))?.local_addr()?.port());
    cluster.apply(&wants(HERE, free)).await?;
    says(cluster, stage, "sidecar/own", ("Programmed", "True Programmed")).await?;
    let (_taken, address) = taken(stage)?;
    let began = Instant::now();
    envoy.freeze()?;
    cluster.apply(&wants(HERE, address)).await?;
    says(cluster, stage, "sidecar/own", ("Programmed", "False Pending")).await?;
    envoy.thaw()?;
    let both = async || rejections.since(began).zip(watcher.told(address));
    let both = deadline::until("it is rejected, and the object is told", SOON, both).await;
    let (rejected, told) = both.map_err(|failure| failure.with(&stage.chancery.tail()))?;
    Ok(told.saturating_duration_since(rejected))
}

/// The one that writes has no proxies, and still writes.
async fn alone(leader: &Chancery, follower: &Chancery) -> Outcome<()> {
    assert_eq!(leader.api().metrics().await?.sum("chancery_xds_streams", &[]), 0.0);
    stands(leader, "leading").await?;
    stands(follower, "following").await
}
