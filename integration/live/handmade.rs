//! Real Envoys against the xDS server in this process, with resources made by hand: for what no manifest says, such as a
//! secret that is missing or a cluster that never warms.

use crate::harness::addresses::{self, Subnet};
use crate::harness::client::Client;
use crate::harness::envoy::{Envoy, Seat, Setup};
use crate::harness::relay::Relay;
use crate::harness::scene::NAMESPACE;
use crate::harness::spawner::Place;
use crate::harness::{Failure, Outcome, deadline};
use crate::recorder::Recorder;
use crate::trace::{self, What};
use chancery::model::audience::{Audience, Placement, Subject, Workload};
use chancery::snapshot::board::{Board, Posted};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::Resource;
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::telemetry::Metrics;
use chancery::telemetry::readiness::Readiness;
use chancery::xds::admission::Admission;
use chancery::xds::limits::Options;
use chancery::xds::registry::{Proxy, Registry};
use chancery::xds::server::serve;
use chancery::xds::shares::Shares;
use chancery::xds::shelf::Shelf;
use chancery::xds::stream::XdsContext;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::xxh3_128;

/// How long what is not held up may take.
pub const SOON: Duration = Duration::from_secs(5);
/// The last byte of the server's address, and of the pod's.
const SERVER: u8 = 1;
const POD: u8 = 10;

/// What a proxy of these resources is meant to hold, by the hashes of the bytes on the wire: the version of what is made of fragments
/// is another.
fn world(layer: &Layer) -> trace::World {
    let snapshot = Snapshot { outbound: Arc::new(layer.clone()), ..Snapshot::default() };
    let mut world = trace::world(&snapshot);
    for resource in Kind::ALL.into_iter().flat_map(|kind| snapshot.iter(kind)) {
        let entry = world.get_mut(&(resource.kind(), resource.name().to_string()));
        entry.into_iter().for_each(|entry| entry.hash = xxh3_128(&resource.body()));
    }
    world
}

/// A server without a folder, a relay, an Envoy.
pub struct Handmade {
    pub envoy: Envoy,
    pub relay: Relay,
    pub subnet: Subnet,
    address: SocketAddr,
    options: Options,
    server: Server,
    layer: Layer,
    recorder: Arc<Recorder>,
    _files: TempDir,
}

/// The xDS server; it ends when dropped.
struct Server {
    context: Arc<XdsContext>,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
    placing: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
        self.placing.abort();
    }
}

impl Server {
    async fn start(address: SocketAddr, options: Options) -> Outcome<Self> {
        let (board, registry, metrics) = (Arc::<Board>::default(), Registry::default(), Metrics::new());
        let (readiness, shelf) = (Readiness::default(), Shelf::default());
        let admission = Admission::new(options.admission, options.turn, metrics.admission.clone());
        let shares = Shares::new(options.max_request);
        let context =
            XdsContext { board: board.clone(), registry, metrics, readiness, admission, shares, shelf, options };
        let (context, shutdown) = (Arc::new(context), CancellationToken::new());
        let listener = TcpListener::bind(address).await?;
        let served = serve(listener, context.clone(), shutdown.clone());
        let serving = tokio::spawn(async { drop(served.await) });
        let placing = tokio::spawn(async move {
            loop {
                board.joined().await;
                board.news(Instant::now()).joined.iter().for_each(|facts| board.place(facts, Some(placement())));
            }
        });
        Ok(Self { context, shutdown, serving, placing })
    }

    fn post(&self, layer: &Layer) {
        let Placement { audience, workload } = placement();
        let layer = Arc::new(layer.clone());
        self.context.board.post(&Subject::Audience(audience), Posted { layer, since: Some(Instant::now()) });
        self.context.board.post(&Subject::Workload(workload), Posted::default());
    }
}

fn placement() -> Placement {
    let audience = Audience::of_everyone_in(NAMESPACE.into());
    Placement { audience, workload: Workload::plain(NAMESPACE.into()) }
}

impl Handmade {
    /// Starts everything on these resources and waits until Envoy is live.
    pub async fn start(setup: Setup, resources: Vec<Resource>) -> Outcome<Self> {
        Self::with(setup, resources, Options::default()).await
    }

    /// The same with other limits of the server.
    pub async fn with(setup: Setup, resources: Vec<Resource>, options: Options) -> Outcome<Self> {
        let subnet = Subnet::take()?;
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let address = subnet.free(SERVER)?;
        let server = Server::start(address, options).await?;
        let mut layer = Layer::default();
        resources.into_iter().for_each(|resource| layer.insert(Arc::new(resource)));
        server.post(&layer);
        let recorder = Arc::new(Recorder::new());
        recorder.post(world(&layer));
        let relay = Relay::watched(subnet.free(SERVER)?, address, recorder.clone()).await?;
        let envoy = Envoy::start(&seat(&subnet)?, relay.address, setup, files.path()).await?;
        Ok(Self { envoy, relay, subnet, address, options, server, layer, recorder, _files: files })
    }

    /// Puts resources in place of those of their names, takes others away, and posts all at once.
    pub fn post(&mut self, resources: Vec<Resource>, gone: &[(Kind, &str)]) {
        resources.into_iter().for_each(|resource| self.layer.insert(Arc::new(resource)));
        gone.iter().for_each(|(kind, name)| self.layer.remove(*kind, name));
        self.recorder.post(world(&self.layer));
        self.server.post(&self.layer);
    }

    /// Waits until Envoy has accepted everything and nothing more is to come, and judges all that has passed until then.
    pub async fn judge_at_rest(&self) -> Outcome<()> {
        let rests = async || {
            let mut all = self.proxy()?.status().into_iter();
            all.all(|status| {
                let accepted = status.acked.is_some_and(|(version, _)| version == status.desired);
                accepted && status.in_flight_since.is_none() && status.waiting == 0 && status.lingering.is_empty()
            })
            .then_some(())
        };
        let rests = deadline::until("everything is accepted", SOON * 3, rests).await;
        rests.map_err(|failure| failure.with(&format!("{:?}", self.proxy().map(|proxy| proxy.status()))))?;
        self.recorder.rest();
        self.judge()
    }

    /// Judges all that has passed between Envoy and the server.
    pub fn judge(&self) -> Outcome<()> {
        self.judge_but_for("")
    }

    /// The same without one of the oracles, by its name.
    pub fn judge_but_for(&self, oracle: &str) -> Outcome<()> {
        self.recorder.with(|trace| {
            let sent = trace.events.iter().filter(|event| matches!(event.what, What::Sent(_))).count();
            let others = format!("{oracle}: ");
            let wrong: Vec<_> = trace.violations().into_iter().filter(|text| !text.starts_with(&others)).collect();
            if sent > 0 && wrong.is_empty() {
                return Ok(());
            }
            Err(Failure::new(format!("of {sent} responses:\n{}", wrong.join("\n"))).with(&trace.to_string()))
        })
    }

    /// Ends the server and starts another one on the same resources.
    pub async fn restart(&mut self) -> Outcome<()> {
        self.server.shutdown.cancel();
        let ended = async || self.server.serving.is_finished().then_some(());
        deadline::until("the server has ended", SOON, ended).await?;
        self.server = Server::start(self.address, self.options).await?;
        self.server.post(&self.layer);
        Ok(())
    }

    /// The proxy as the server sees it; none while it is not connected.
    pub fn proxy(&self) -> Option<Arc<Proxy>> {
        self.server.context.registry.proxies().pop()
    }

    /// What the server's metrics say.
    pub fn metrics(&self) -> String {
        self.server.context.metrics.render()
    }

    /// Waits until Envoy has accepted everything of a type.
    pub async fn accepted(&self, kind: Kind) -> Outcome<()> {
        let accepted = async || {
            let status = self.proxy()?.status().into_iter().find(|status| status.kind == kind)?;
            (status.acked?.0 == status.desired && status.in_flight_since.is_none()).then_some(())
        };
        let all = deadline::until(&format!("all {kind} are accepted"), SOON, accepted).await;
        all.map_err(|failure| failure.with(&format!("{:?}", self.proxy().map(|proxy| proxy.status()))))
    }

    /// How many clusters are warming.
    pub async fn warming(&self) -> Option<u64> {
        self.envoy.stat("cluster_manager.warming_clusters").await.ok()?
    }

    /// Waits until a cluster is in service with that connect timeout, as Envoy prints it.
    pub async fn in_service(&self, name: &str, timeout: &str, limit: Duration) -> Outcome<()> {
        let what = format!("cluster {name} in service with a timeout of {timeout}");
        deadline::until(&what, limit, async || (self.timeout(name).await? == timeout).then_some(())).await
    }

    /// The connect timeout of a cluster in service.
    pub async fn timeout(&self, name: &str) -> Option<String> {
        let clusters = self.envoy.dump("dynamic_active_clusters").await.ok()?;
        let cluster =
            clusters.iter().filter_map(|entry| entry.get("cluster")).find(|cluster| cluster["name"] == name)?;
        Some(cluster.get("connect_timeout")?.as_str()?.to_owned())
    }

    /// Fails with these words and what the server knows.
    pub fn failure(&self, text: &str) -> Failure {
        Failure::new(text).with(&format!("{:?}", self.proxy().map(|proxy| proxy.status()))).with(&self.envoy.tail())
    }
}

/// The client's pod.
pub fn seat(subnet: &Subnet) -> Outcome<Seat> {
    let ip = subnet.ip(POD);
    let ports = addresses::ports(ip)?;
    let (place, client) = (Place::default(), Client::default());
    let metadata = vec!["INTERCEPTION_MODE=NONE".to_owned()];
    Ok(Seat { pod: "client".into(), namespace: NAMESPACE.into(), ip, metadata, ports, credential: None, place, client })
}
