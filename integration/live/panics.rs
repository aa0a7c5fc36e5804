//! A fault of ours: something that panics. It costs what it happens at, or the update it happens in, and nothing else.

use crate::handmade::{SOON, seat};
use crate::harness::addresses::Subnet;
use crate::harness::echo::Echo;
use crate::harness::envoy::{Envoy, Setup, Wire};
use crate::harness::load::Load;
use crate::harness::scene::NAMESPACE;
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline};
use chancery::app::Watcher;
use chancery::model::audience::Subject;
use chancery::model::tracked::Tracked;
use chancery::model::world::{State, World};
use chancery::publish::run::{Sinks, run};
use chancery::publish::{Engine, Translator};
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::lint::refusals;
use chancery::snapshot::resource::Resource;
use chancery::source::directory::catalog::{Catalog, Update};
use chancery::telemetry::Metrics;
use chancery::telemetry::readiness::Readiness;
use chancery::translate::unit::{Selection, Table, Unit};
use chancery::translate::{assemble, select};
use chancery::xds::admission::Admission;
use chancery::xds::limits::Options;
use chancery::xds::registry::Registry;
use chancery::xds::server::serve;
use chancery::xds::shares::Shares;
use chancery::xds::shelf::Shelf;
use chancery::xds::stream::XdsContext;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Where something of ours panics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum At {
    /// When the endpoints of a service are selected.
    Select,
    /// When lint looks at them.
    Lint,
    /// When a route configuration is assembled that has the service: in the midst of an update.
    Assemble,
}

/// What panics, and at which service.
static BROKEN: Mutex<BTreeSet<(At, String)>> = Mutex::new(BTreeSet::new());

fn panic_if(at: At, is_of: impl Fn(&str) -> bool) {
    let broken = BROKEN.lock().expect("nobody panics with it").iter().any(|(other, name)| *other == at && is_of(name));
    assert!(!broken, "a fault that is meant");
}

fn select_or_panic(world: &Tracked, subject: &Subject, unit: &Unit) -> Selection {
    // After the look-ups, as any fault that depends on what is there: a change of that is tried again.
    let selection = select(world, subject, unit);
    panic_if(At::Select, |name| matches!(unit, Unit::Endpoints(key) if key.name.as_str() == name));
    selection
}

fn refusals_or_panic(resource: &Resource) -> Vec<String> {
    let part = |name: &str| format!("|{name}.");
    panic_if(At::Lint, |name| resource.kind() == Kind::Endpoint && resource.name().contains(&part(name)));
    refusals(resource)
}

fn assemble_or_panic(table: &Table, fragments: Fragments) -> Resource {
    let part = |name: &str| format!("{name}.");
    panic_if(At::Assemble, |name| fragments.iter().any(|host| host.name().starts_with(&part(name))));
    assemble(table, fragments)
}

/// Everything but the folder: the publisher with that translator, the server, an Envoy, two applications.
struct Stage {
    _envoy: Envoy,
    subnet: Subnet,
    echoes: [Echo; 2],
    context: Arc<XdsContext>,
    /// The name of the service at which something panics: one for each test, for they run side by side.
    bad: &'static str,
    catalog: Catalog,
    world: World,
    states: watch::Sender<Option<State>>,
    _tasks: JoinSet<()>,
    _files: tempfile::TempDir,
}

/// The pod, services whose endpoints are all that address, and perhaps one without any, which is news for the routes of the first.
fn manifests(subnet: &Subnet, services: [(&str, u16); 2], endpoint: SocketAddr, is_one_more: bool) -> String {
    let mut text = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: client, namespace: {NAMESPACE}}},
          status: {{podIPs: [{{ip: {}}}]}}}}\n",
        subnet.ip(10)
    );
    if is_one_more {
        text += &format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: more, namespace: {NAMESPACE}}},
              spec: {{clusterIP: 10.96.0.2, ports: [{{name: http, port: {}}}]}}}}\n",
            services[0].1
        );
    }
    for (name, port) in services {
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

/// The services and their ports, of which the first is the bad one.
fn services(bad: &'static str) -> [(&'static str, u16); 2] {
    [(bad, 8001), ("good", 8002)]
}

impl Stage {
    async fn open(setup: Setup, bad: &'static str) -> Outcome<Self> {
        let subnet = Subnet::take()?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let echoes = [Echo::start("v1", loopback, 0, 0).await?, Echo::start("v2", loopback, 0, 0).await?];
        let (metrics, options) = (Metrics::new(), Options::default());
        let observer = Arc::new(Watcher(metrics.publish.clone()));
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
            observer,
        };
        let engine = Engine::new(Translator {
            select: select_or_panic,
            refusals: refusals_or_panic,
            assemble: assemble_or_panic,
            ..Translator::default()
        });
        let listener = TcpListener::bind(subnet.free(1)?).await?;
        let (xds, served) = (listener.local_addr()?, serve(listener, context.clone(), CancellationToken::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(run(engine, state, sinks));
        tasks.spawn(async { drop(served.await) });
        let mut seat = seat(&subnet)?;
        seat.metadata.push(format!("OUTBOUND_BIND={}", subnet.ip(110)));
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let (mut catalog, mut world) = (Catalog::default(), World::default());
        // Before the Envoy, which is live only with a first configuration.
        let text = manifests(&subnet, services(bad), echoes[0].http, false);
        states.send_replace(Some(state_of(&mut catalog, &mut world, &text)));
        let _envoy = Envoy::start(&seat, xds, setup, files.path()).await?;
        let (_tasks, _files) = (tasks, files);
        let stage = Self { _envoy, subnet, echoes, context, bad, catalog, world, states, _tasks, _files };
        stage.both_answer("v1").await?;
        Ok(stage)
    }

    /// Both services lead to that application from now on, and perhaps there is one more.
    fn lead_to(&mut self, echo: usize, is_one_more: bool) {
        let text = manifests(&self.subnet, services(self.bad), self.echoes[echo].http, is_one_more);
        self.states.send_replace(Some(state_of(&mut self.catalog, &mut self.world, &text)));
    }

    fn breaks(&self, at: At) {
        BROKEN.lock().expect("nobody panics with it").insert((at, self.bad.to_owned()));
    }

    /// Nothing panics any more: the next changes move both.
    async fn mend(&mut self, at: At) -> Outcome<()> {
        BROKEN.lock().expect("nobody panics with it").remove(&(at, self.bad.to_owned()));
        self.lead_to(0, false);
        self.both_answer("v1").await?;
        self.lead_to(1, false);
        self.both_answer("v2").await?;
        self.lead_to(0, false);
        self.both_answer("v1").await
    }

    fn faults(&self) -> u64 {
        let text = self.context.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix("chancery_publish_faults_total "));
        value.and_then(|value| value.parse().ok()).expect("a counter that is always there")
    }

    /// Waits until more has failed.
    async fn fails(&self, before: u64) -> Outcome<()> {
        let more = async || (self.faults() > before).then_some(());
        deadline::until("a fault is counted", SOON, more).await
    }

    async fn both_answer(&self, version: &str) -> Outcome<()> {
        self.answers(0, version).await?;
        self.answers(1, version).await
    }

    /// Waits until a service is answered by that version, always.
    async fn answers(&self, service: usize, version: &str) -> Outcome<()> {
        let (name, port) = services(self.bad)[service];
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

/// One change moves two services, and something panics at one of them. Translation and lint: the other moves, that one stays as it
/// was. In the midst of an update: both stay as they were. Each time it is counted, and the stream lives. The control: once nothing
/// panics any more, the next changes move both.
async fn a_panic_keeps_what_was_there(wire: Wire, bad: &'static str) -> Outcome<()> {
    let mut stage = Stage::open(Setup::new(wire, Release::Newest), bad).await?;
    let connected =
        |stage: &Stage| -> Vec<_> { stage.context.registry.proxies().iter().map(|proxy| proxy.connected_at).collect() };
    let before = connected(&stage);
    for at in [At::Select, At::Lint] {
        let faults = stage.faults();
        stage.breaks(at);
        stage.lead_to(1, false);
        stage.answers(1, "v2").await?;
        stage.fails(faults).await?;
        stage.answers(0, "v1").await?;
        stage.mend(at).await?;
    }
    let faults = stage.faults();
    stage.breaks(At::Assemble);
    stage.lead_to(1, true);
    stage.fails(faults).await?;
    stage.both_answer("v1").await?;
    stage.mend(At::Assemble).await?;
    let after = connected(&stage);
    if before.len() == 1 && before == after { Ok(()) } else { Err(Failure::new("the stream has ended")) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_keeps_what_was_there_delta() -> Outcome<()> {
    a_panic_keeps_what_was_there(Wire::Delta, "bad-delta").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_keeps_what_was_there_sotw() -> Outcome<()> {
    a_panic_keeps_what_was_there(Wire::Sotw, "bad-sotw").await
}
