//! A fault of ours: translation that panics. It costs the update it happens in, and nothing else.

use crate::handmade::{SOON, seat};
use crate::harness::addresses::Subnet;
use crate::harness::echo::Echo;
use crate::harness::envoy::{Envoy, Setup, Wire};
use crate::harness::load::Load;
use crate::harness::scene::NAMESPACE;
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline};
use chancery::model::audience::Subject;
use chancery::model::tracked::Tracked;
use chancery::model::world::{State, World};
use chancery::publish::run::{Observer, Sinks, run};
use chancery::publish::{Engine, Outcome as Step, Translator};
use chancery::source::directory::catalog::{Catalog, Update};
use chancery::telemetry::Metrics;
use chancery::telemetry::readiness::Readiness;
use chancery::translate::select;
use chancery::translate::unit::{Selection, Unit};
use chancery::xds::admission::Admission;
use chancery::xds::limits::Options;
use chancery::xds::registry::Registry;
use chancery::xds::server::serve;
use chancery::xds::shares::Shares;
use chancery::xds::shelf::Shelf;
use chancery::xds::stream::XdsContext;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Whether translation panics at the endpoints of the service `bad`.
static BROKEN: AtomicBool = AtomicBool::new(false);

fn select_or_panic(world: &Tracked, subject: &Subject, unit: &Unit) -> Selection {
    // After the look-ups, as any fault that depends on what is there: a change of that is tried again.
    let selection = select(world, subject, unit);
    let bad = matches!(unit, Unit::Endpoints(key) if key.name.as_str() == "bad");
    assert!(!(bad && BROKEN.load(Ordering::SeqCst)), "a fault that is meant");
    selection
}

/// Counts faults.
#[derive(Default)]
struct Faults(AtomicUsize);

impl Observer for Faults {
    fn advanced(&self, step: &Step, _: f64) {
        self.0.fetch_add(step.faults.len(), Ordering::SeqCst);
    }
}

/// Everything but the folder: the publisher with that translator, the server, an Envoy, two applications.
struct Stage {
    _envoy: Envoy,
    subnet: Subnet,
    echoes: [Echo; 2],
    context: Arc<XdsContext>,
    faults: Arc<Faults>,
    catalog: Catalog,
    world: World,
    states: watch::Sender<Option<State>>,
    _tasks: JoinSet<()>,
    _files: tempfile::TempDir,
}

const SERVICES: [(&str, u16); 2] = [("bad", 8001), ("good", 8002)];

/// The pod, and two services whose endpoints are both that address.
fn manifests(subnet: &Subnet, endpoint: SocketAddr) -> String {
    let mut text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: client, namespace: {NAMESPACE}}},
          status: {{podIPs: [{{ip: {}}}]}}}}\n",
        subnet.ip(10)
    );
    for (name, port) in SERVICES {
        let meta = format!("name: {name}, namespace: {NAMESPACE}");
        text += &format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{{meta}}},
              spec: {{clusterIP: 10.96.0.1, ports: [{{name: http, port: {port}}}]}}}}
---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{{meta}, labels: {{kubernetes.io/service-name: {name}}}}},
              addressType: IPv4, ports: [{{name: http, port: {}}}], endpoints: [{{addresses: [{}]}}]}}\n",
            endpoint.port(),
            endpoint.ip()
        );
    }
    text
}

impl Stage {
    async fn open(setup: Setup) -> Outcome<Self> {
        let subnet = Subnet::take()?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let echoes = [Echo::start("v1", loopback, 0, 0).await?, Echo::start("v2", loopback, 0, 0).await?];
        let (metrics, options, faults) = (Metrics::new(), Options::default(), Arc::<Faults>::default());
        let context = Arc::new(XdsContext {
            board: Arc::default(),
            registry: Registry::default(),
            readiness: Readiness::default(),
            admission: Admission::new(options.admission, options.turn, metrics.admission.clone()),
            shares: Shares::new(options.max_request),
            metrics,
            shelf: Shelf::default(),
            options,
        });
        let (states, state) = watch::channel(None);
        let sinks = Sinks {
            board: context.board.clone(),
            published: watch::channel(None).0,
            problems: watch::channel(Arc::default()).0,
            observer: faults.clone(),
        };
        let engine = Engine::new(Translator { select: select_or_panic, ..Translator::default() });
        let listener = TcpListener::bind(subnet.free(1)?).await?;
        let (xds, served) = (listener.local_addr()?, serve(listener, context.clone(), CancellationToken::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(run(engine, state, sinks));
        tasks.spawn(async { drop(served.await) });
        let mut seat = seat(&subnet)?;
        seat.metadata.push(format!("OUTBOUND_BIND={}", subnet.ip(110)));
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let (mut catalog, mut world) = (Catalog::default(), World::default());
        states.send_replace(Some(state_of(&mut catalog, &mut world, &manifests(&subnet, echoes[0].http))));
        let _envoy = Envoy::start(&seat, xds, setup, files.path()).await?;
        let (_tasks, _files) = (tasks, files);
        Ok(Self { _envoy, subnet, echoes, context, faults, catalog, world, states, _tasks, _files })
    }

    /// Both services lead to that application from now on.
    fn lead_to(&mut self, echo: usize) {
        let text = manifests(&self.subnet, self.echoes[echo].http);
        self.states.send_replace(Some(state_of(&mut self.catalog, &mut self.world, &text)));
    }

    /// Waits until a service is answered by that version, always.
    async fn answers(&self, service: usize, version: &str) -> Outcome<()> {
        let (name, port) = SERVICES[service];
        let address = SocketAddr::new(self.subnet.ip(110), port);
        let only = async || {
            let tally = Load::closed(address, name, 20).run().await.ok()?;
            (tally.clean().is_ok() && tally.of(version) == 20).then_some(())
        };
        deadline::until(&format!("{name} is answered by {version}"), SOON, only).await
    }
}

fn state_of(catalog: &mut Catalog, world: &mut World, text: &str) -> State {
    world.apply(catalog.apply([(Path::new("all.yaml").into(), Update::Bytes(text.into()))]));
    State { world: world.clone(), since: Some(Instant::now()) }
}

/// One change moves two services; translation of one of them panics. The other moves, that one stays as it was, the stream
/// lives. The control: once nothing panics any more, the next change moves both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_keeps_what_was_there() -> Outcome<()> {
    let mut stage = Stage::open(Setup::new(Wire::Delta, Release::Newest)).await?;
    stage.answers(0, "v1").await?;
    stage.answers(1, "v1").await?;
    let streams = || stage.context.registry.proxies().iter().map(|proxy| proxy.connected_at).collect::<Vec<_>>();
    let before = streams();
    BROKEN.store(true, Ordering::SeqCst);
    stage.lead_to(1);
    stage.answers(1, "v2").await?;
    stage.answers(0, "v1").await?;
    if stage.faults.0.load(Ordering::SeqCst) == 0 {
        return Err(Failure::new("nothing has panicked"));
    }
    BROKEN.store(false, Ordering::SeqCst);
    stage.lead_to(0);
    stage.answers(1, "v1").await?;
    stage.lead_to(1);
    stage.answers(0, "v2").await?;
    stage.answers(1, "v2").await?;
    let after: Vec<_> = stage.context.registry.proxies().iter().map(|proxy| proxy.connected_at).collect();
    if before.len() == 1 && before == after { Ok(()) } else { Err(Failure::new("the stream has ended")) }
}
