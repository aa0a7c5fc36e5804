//! The limit of memory: near it chancery takes no new streams and keeps those it has. Killed, and started again among many who come
//! back at once, it stays within it.

use crate::harness::api::Api;
use crate::harness::envoy::{Setup, Wire};
use crate::harness::scene::{RECONNECT, SOON, Scene, TRAFFIC};
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline};
use crate::{on, replicas};
use chancery::snapshot::kind::Kind;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Client;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// How many clients come back, and how soon one after the other: Envoys spread their attempts over seconds.
pub const FLEET: u32 = 400;
const APART: Duration = Duration::from_millis(10);
/// How long everybody may take to be taken or refused.
const LONG: Duration = Duration::from_secs(60);
/// For how long nothing may be given.
const ALONE: Duration = Duration::from_secs(2);
pub const MIB: f64 = 1024.0 * 1024.0;

pub async fn metric(api: &Api, name: &str) -> Outcome<f64> {
    Ok(api.metrics().await?.sum(name, &[]))
}

/// Below what it has anyway, an Envoy is refused; the control is a limit above it, where it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_the_limit_new_proxies_are_refused() -> Outcome<()> {
    on(Scene::prepared().await?, async |scene| {
        scene.chancery.kill()?;
        scene.chancery.flags = vec!["--memory-limit-mib=1".to_owned()];
        scene.chancery.restart().await?;
        let api = scene.chancery.api();
        let short = async || (metric(&api, "chancery_memory_short").await.ok()? == 1.0).then_some(());
        deadline::until("there is too little memory", SOON, short).await?;
        scene.envoys = vec![scene.launched(Setup::new(Wire::Delta, Release::Newest))?];
        deadline::until("it is refused", RECONNECT, async || {
            let refused = api.metrics().await.ok()?.sum("chancery_xds_refusals_total", &[("reason", "memory")]);
            (refused > 0.0).then_some(())
        })
        .await?;
        let envoy = scene.client();
        deadline::throughout("it is given nothing", ALONE, async || envoy.is_ready().await != Some(true)).await?;
        scene.chancery.kill()?;
        scene.chancery.flags = vec!["--memory-limit-mib=4096".to_owned()];
        scene.chancery.restart().await?;
        let envoy = scene.client();
        let ready = async || (envoy.is_ready().await == Some(true)).then_some(());
        deadline::until("it is taken", RECONNECT, ready).await
    })
    .await
}

/// Clients that come back again and again until they are taken, and then stay.
pub struct Fleet {
    _clients: JoinSet<()>,
    /// How many have been taken.
    pub taken: Arc<AtomicU64>,
    /// How many have heard of a change since they were taken.
    heard: Arc<AtomicU64>,
}

impl Fleet {
    fn start(address: SocketAddr, node: &Node) -> Self {
        let (taken, heard, mut clients) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), JoinSet::new());
        for number in 0..FLEET {
            let (node, taken, heard) = (node.clone(), taken.clone(), heard.clone());
            clients.spawn(async move {
                tokio::time::sleep(APART * number).await;
                while stay(address, &node, (&taken, &heard)).await.is_err() {
                    tokio::time::sleep(APART * FLEET).await;
                }
            });
        }
        Self { _clients: clients, taken, heard }
    }
}

/// One stream that asks for clusters, accepts what it gets, and counts.
async fn stay(address: SocketAddr, node: &Node, (taken, heard): (&AtomicU64, &AtomicU64)) -> Result<(), Status> {
    let (requests, sent) = mpsc::channel(8);
    let connected = Client::connect(format!("http://{address}")).await;
    let mut client = connected.map_err(|error| Status::unavailable(error.to_string()))?;
    let (node, type_url) = (Some(node.clone()), Kind::Cluster.type_url().to_owned());
    _ = requests.send(DeltaDiscoveryRequest { node, type_url, ..Default::default() }).await;
    let mut answers = client.delta_aggregated_resources(ReceiverStream::new(sent)).await?.into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await? {
        let (type_url, response_nonce) = (answer.type_url, answer.nonce);
        _ = requests.send(DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }).await;
        count += 1;
        match count {
            1 => _ = taken.fetch_add(1, Ordering::Relaxed),
            2 => _ = heard.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
    }
    Err(Status::unavailable("it has ended"))
}

/// The limit by a flag.
fn limited(mib: u64) -> Vec<String> {
    vec![format!("--memory-limit-mib={mib}")]
}

/// Starts chancery with these flags and lets everybody come; what it has at most until all of them have been taken or refused.
pub async fn rush(scene: &mut Scene, flags: Vec<String>) -> Outcome<(Fleet, f64)> {
    scene.chancery.flags = flags;
    scene.chancery.restart().await?;
    let api = scene.chancery.api();
    let fleet = Fleet::start(scene.chancery.xds, &replicas::node(scene));
    let (began, mut most) = (Instant::now(), 0f64);
    deadline::until("everybody has been taken or refused", LONG, async || {
        most = most.max(metric(&api, "chancery_memory_resident_bytes").await.ok()? / MIB);
        let refused = api.metrics().await.ok()?.sum("chancery_xds_refusals_total", &[("reason", "memory")]);
        let all = fleet.taken.load(Ordering::Relaxed) + refused as u64 >= u64::from(FLEET);
        (all && began.elapsed() > APART * FLEET).then_some(())
    })
    .await?;
    Ok((fleet, most))
}

/// Everybody comes back at once after a crash. Without a limit, the control, all are taken, and that takes more than what the limit is then;
/// with it some are, it holds, and who was taken hears of what changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_among_many_stays_within_the_limit() -> Outcome<()> {
    on(Scene::prepared().await?, async |scene| {
        let least = metric(&scene.chancery.api(), "chancery_memory_resident_bytes").await? / MIB;
        scene.chancery.kill()?;
        let (fleet, most) = rush(scene, limited(0)).await?;
        let all = fleet.taken.load(Ordering::Relaxed);
        if all != u64::from(FLEET) {
            return Err(Failure::new(format!("without a limit {all} of {FLEET} are taken")));
        }
        scene.chancery.kill()?;
        drop(fleet);
        // New streams are refused from 85 % on: in the middle between nobody and everybody.
        let limit = (f64::midpoint(least, most) / 0.85).ceil();
        let (fleet, held) = rush(scene, limited(limit as u64)).await?;
        let taken = fleet.taken.load(Ordering::Relaxed);
        println!("{least:.0} MiB alone, {most:.0} with {FLEET}; limit {limit:.0}: {held:.0} MiB with {taken}");
        if held > limit || taken == 0 || taken >= u64::from(FLEET) {
            return Err(Failure::new(format!("{least} MiB alone, {most} with all; {limit}: {held} with {taken}")));
        }
        let text = scene.folder.read(TRAFFIC)?;
        scene.folder.replace(TRAFFIC, &text.replace("connectTimeout: 2s", "connectTimeout: 3s"))?;
        let all = async || (fleet.heard.load(Ordering::Relaxed) >= taken).then_some(());
        deadline::until("everybody who was taken hears of a change", LONG, all).await
    })
    .await
}
