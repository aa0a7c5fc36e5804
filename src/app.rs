//! The composition root of `serve`: every task, every channel, and the order in which they end.
//!
//! Only the command line uses it. When a task ends before it should, the process ends with its reason.

pub mod expiry;
mod facts;
mod memory;
mod problem_log;
pub mod progress;
pub mod security;
mod sources;

use crate::admin::guard::{Guard, Operators};
use crate::admin::{self, AdminContext};
use crate::clock::Clock;
use crate::keeper;
use crate::model::reach::Standing;
use crate::model::world::State;
use crate::peers::{self, Asker, Own, PeersError, Talk};
use crate::publish::run::{self as publisher, Observer, Sinks};
use crate::publish::{Engine, Outcome};
use crate::snapshot::board::Board;
use crate::source::directory::DirectoryError;
use crate::source::kubernetes;
use crate::source::kubernetes::access::KubernetesError;
use crate::status::account::{Leadership, Writing};
use crate::status::clerk::Facts;
use crate::status::{self, lease};
use crate::telemetry::Metrics;
use crate::telemetry::publish::{PublishMetrics, Step};
use crate::telemetry::readiness::{Readiness, Token};
use crate::xds::admission::Admission;
use crate::xds::limits;
use crate::xds::registry::Registry;
use crate::xds::server::{self, ServeError};
use crate::xds::shares::Shares;
use crate::xds::shelf::Shelf;
use crate::xds::stream::XdsContext;
use crate::xds::trust::Examiner;
use expiry::Problems;
use kube::Client;
use security::authority::SecurityError;
use security::{Office, Told};
use sources::{Source, kinds_awaited};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// How many batches may wait for the keeper; a source waits when they do.
const BATCHES: usize = 64;
/// How many connections may wait to be taken; the system allows as many as `net.core.somaxconn` says.
const BACKLOG: u32 = 8192;
/// How long the servers may take to end, and then the admin port, which says meanwhile that the process is not ready.
const GRACE: Duration = Duration::from_secs(11);
const LAST: Duration = Duration::from_secs(1);
/// What is waited for from then on that the process was told to end.
const ENDING: &str = "the end of the process";

/// What `serve` needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where objects come from.
    pub source: SourceOptions,
    /// Where proxies connect over TLS, and how they prove who they are.
    pub secure: Option<(SocketAddr, security::Options)>,
    /// Where proxies connect in plain text; they prove nothing.
    pub plaintext: Option<SocketAddr>,
    /// Where operators and Prometheus ask.
    pub admin: AdminOptions,
    /// The limits of the xDS server.
    pub xds: limits::Options,
    /// How replicas talk with each other, and where this one listens for that; none: this one is alone.
    pub peers: Option<(SocketAddr, peers::Options)>,
    /// How status is written, where there is an API server; none: it is not.
    pub status: Option<StatusOptions>,
}

/// Where operators and Prometheus ask, and who may see what.
#[derive(Clone, Debug)]
pub struct AdminOptions {
    /// Where.
    pub address: SocketAddr,
    /// Whether whoever asks sees everything.
    pub open: bool,
    /// Who sees everything where it is asked who somebody is.
    pub operators: Operators,
}

impl AdminOptions {
    /// Who may see what, where it is looked at in that way who somebody is.
    fn guard(self, examiner: Option<Examiner>) -> Guard {
        match self {
            Self { open: true, .. } => Guard::Open,
            Self { operators, .. } => Guard::Asking { examiner, operators },
        }
    }
}

/// How status is written.
#[derive(Clone, Debug)]
pub struct StatusOptions {
    /// The name of the Lease, in our own namespace.
    pub lease: String,
    /// How long it lasts.
    pub lasts: Duration,
    /// What this process is called where it runs.
    pub host: String,
}

/// Where objects come from.
#[derive(Clone, Debug)]
pub enum SourceOptions {
    /// A folder of manifests.
    Folder {
        /// The folder.
        config: PathBuf,
        /// Settings of the mesh, if they are not in the folder.
        mesh_config: Option<PathBuf>,
    },
    /// An API server.
    Kubernetes(kubernetes::Options),
}

/// Why `serve` ended.
#[derive(Debug, Error)]
pub enum AppError {
    /// An address can't be bound.
    #[error("cannot listen on {address} for {purpose}")]
    Bind {
        /// What the address is for.
        purpose: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder can't be read.
    #[error(transparent)]
    Source(#[from] DirectoryError),
    /// It can't be told which cluster, or how to reach it.
    #[error(transparent)]
    Cluster(#[from] KubernetesError),
    /// There can't be any talk among replicas.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The secure door can't be opened.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The xDS server failed.
    #[error(transparent)]
    Xds(#[from] ServeError),
    /// Signals can't be received, or the admin server failed.
    #[error("the system refused something needed")]
    System(#[from] std::io::Error),
    /// A task ended that never should.
    #[error("the {0} ended unexpectedly")]
    Ended(&'static str),
}

/// Serves until SIGTERM or SIGINT, or until something fails.
pub async fn run(options: Options) -> Result<(), AppError> {
    let metrics = Metrics::new();
    let plain = match options.plaintext {
        Some(address) => Some(bind("xDS in plain text", address).await?),
        None => None,
    };
    let admin = (bind("the admin port", options.admin.address).await?, options.admin);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let source = Source::of(options.source).await?;
    let peers = match (options.peers, source.client()) {
        (Some((address, options)), Some(client)) => Some((options, client, bind("other replicas", address).await?)),
        _ => None,
    };
    let secure = match options.secure {
        Some((address, options)) => {
            let office = Office::open(options, source.home(), metrics.security.clone()).await?;
            Some((bind("xDS", address).await?, office))
        }
        None => None,
    };
    let office = options.status.and_then(|options| source.status(options));
    let doors = Doors { secure, plain, admin };
    let mut house = House::build(source, options.xds, (peers, office), doors, metrics)?;
    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = house.tasks.join_next() => reason(ended),
        ended = house.servers.join_next() => reason(ended),
        ended = house.last.join_next() => reason(ended),
    };
    tracing::info!("stopping");
    house.end().await;
    result
}

async fn bind(purpose: &'static str, address: SocketAddr) -> Result<TcpListener, AppError> {
    let bound = listen(address).map_err(|source| AppError::Bind { purpose, address, source })?;
    tracing::info!(%purpose, address = %bound.local_addr()?, "listening");
    Ok(bound)
}

/// Listens with room for a fleet that connects at once.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What the talk among replicas needs.
type Talking = (peers::Options, Client, TcpListener);

/// What the writing of status needs.
type Desk = (Client, lease::Options);

/// Where others come in.
struct Doors {
    /// Proxies that prove who they are.
    secure: Option<(TcpListener, Office)>,
    /// Proxies that don't.
    plain: Option<TcpListener>,
    /// Operators.
    admin: (TcpListener, AdminOptions),
}

/// How a task ended: which, and why.
type Ended = (&'static str, Result<(), AppError>);

/// Everything that runs.
#[derive(Default)]
struct House {
    /// What never ends by itself.
    tasks: JoinSet<Ended>,
    /// What ends on shutdown.
    servers: JoinSet<Ended>,
    shutdown: CancellationToken,
    /// What says until the end how it stands.
    last: JoinSet<Ended>,
    closing: CancellationToken,
    readiness: Readiness,
}

impl House {
    fn build(
        source: Source,
        options: limits::Options,
        (peers, office): (Option<Talking>, Option<Desk>),
        Doors { secure, plain, admin: (listener, visiting) }: Doors,
        metrics: Metrics,
    ) -> Result<Self, AppError> {
        let mut house = Self::default();
        let (readiness, registry) = (house.readiness.clone(), Registry::default());
        let board = Arc::new(Board::default());
        let (batches, received) = mpsc::channel(BATCHES);
        let (reports, report) = watch::channel(Arc::default());
        let (states, state) = watch::channel(None);
        let (problems, problem) = house.problems(state.clone());
        let loading = readiness.block(source.awaited());
        let (kinds, kind) = watch::channel(source.kinds());
        let observer = Arc::new(Watcher(metrics.publish.clone()));
        let (published, publication) = watch::channel(None);
        let (standings, own) = watch::channel(Arc::default());
        let sinks = Sinks { board: board.clone(), published, problems, observer };
        let watched = state.clone();
        let waiting = kinds_awaited(kind.clone(), readiness.clone());
        let (inventories, inventory) = watch::channel(Default::default());
        let (counters, again) = (metrics.kubernetes.clone(), watch::Sender::new(0));
        let sinks_of_source =
            kubernetes::Sinks { batches, reports, inventory: inventories, kinds, metrics: counters, again };
        house.task("source", source.run(sinks_of_source));
        house.task("readiness of kinds", ending(waiting));
        house.task("keeper", ending(keeper::run(received, states)));
        house.task("publisher", ending(publisher::run(Engine::default(), watched, sinks)));
        house.task("readiness watch", loaded(state.clone(), loading));
        let following = progress::run(publication, board.clone(), registry.clone(), standings);
        house.task("progress of policies", ending(following));
        let (standing, others) = house.talk(peers, own, registry.clone())?;
        let (reports, problems, states) = (report.clone(), problem.clone(), state.clone());
        let facts = facts::Sources { inventory, reports, problems, standing: standing.clone(), states };
        let (leadership, writing) = house.writing(office, facts, &metrics);
        house.task("problem log", ending(problem_log::run(report.clone(), problem.clone())));
        let admission = house.admission(&options, &metrics);
        let context = XdsContext {
            board,
            registry: registry.clone(),
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            admission,
            shares: Shares::new(options.max_request),
            shelf: Shelf::default(),
            options,
        };
        let told = Told { states: state.clone(), leadership: leadership.clone() };
        let examiner = house.receive(secure, plain, context, told);
        let context = AdminContext {
            guard: visiting.guard(examiner),
            readiness,
            metrics,
            registry,
            reports: report,
            problems: problem,
            kinds: kind,
            standing,
            others,
            leadership,
            writing,
            states: state,
        };
        house.open(listener, context);
        Ok(house)
    }

    /// The door of streams, which is shut while memory is short.
    fn admission(&mut self, options: &limits::Options, metrics: &Metrics) -> Admission {
        let admission = Admission::new(options.admission, options.turn, metrics.admission.clone());
        let watching = memory::run(options.memory_limit, admission.clone(), metrics.memory.clone());
        self.task("memory", ending(watching));
        admission
    }

    /// Opens the admin port, which is the last to end.
    fn open(&mut self, listener: TcpListener, context: AdminContext) {
        let closing = self.closing.clone();
        self.last.spawn(async { ("admin server", admin::serve(listener, context, closing).await.map_err(Into::into)) });
    }

    /// Ends what is to end in order: it is not ready from now on, so that nobody else is sent here; streams end with a reason and connections
    /// with GOAWAY; whoever asks is told so until then. Whatever is left is dropped.
    async fn end(mut self) {
        let _ending = self.readiness.block(ENDING);
        self.shutdown.cancel();
        _ = tokio::time::timeout(GRACE, async { while self.servers.join_next().await.is_some() {} }).await;
        self.closing.cancel();
        _ = tokio::time::timeout(LAST, self.last.join_next()).await;
    }

    /// Where translation tells what is wrong, and where that is found, with what has ended meanwhile.
    fn problems(
        &mut self,
        states: watch::Receiver<Option<State>>,
    ) -> (watch::Sender<Problems>, watch::Receiver<Problems>) {
        let ((problems, found), (told, all)) = (watch::channel(Arc::default()), watch::channel(Arc::default()));
        self.task("ends of certificates", ending(expiry::run(states, found, Clock::system(), told)));
        (problems, all)
    }

    /// What all replicas know of the proxies, and how to ask the others; where there is no talk among them, what this one
    /// does.
    fn talk(
        &mut self,
        peers: Option<Talking>,
        own: watch::Receiver<Arc<Standing>>,
        registry: Registry,
    ) -> Result<(watch::Receiver<Arc<Standing>>, Option<Asker>), AppError> {
        let Some((options, client, listener)) = peers else { return Ok((own, None)) };
        let (all, standing) = watch::channel(own.borrow().clone());
        let (talk, proxies) = (Talk::new()?, Arc::new(move || admin::connected(&registry)));
        let asker = talk.asker();
        let own = Own { standing: own, proxies };
        self.task("talk among replicas", async move { Ok(talk.run(options, client, listener, own, all).await?) });
        Ok((standing, Some(asker)))
    }

    /// Serves proxies at every door; who looks at what visitors present, if anybody does.
    fn receive(
        &mut self,
        secure: Option<(TcpListener, Office)>,
        plain: Option<TcpListener>,
        context: XdsContext,
        told: Told,
    ) -> Option<Examiner> {
        let (context, mut visitors) = (Arc::new(context), None);
        if let Some((listener, office)) = secure {
            let mut tasks = JoinSet::new();
            let (security, examiner) = office.start(told, &context.readiness, &mut tasks);
            visitors = Some(examiner);
            self.task("security", async move {
                tasks.join_next().await;
                Ok(())
            });
            let (context, shutdown) = (context.clone(), self.shutdown.clone());
            let serving = server::serve_securely(security, listener, context, shutdown);
            self.server("xDS server", async { Ok(serving.await?) });
        }
        if let Some(listener) = plain {
            let serving = server::serve(listener, context, self.shutdown.clone());
            self.server("xDS server in plain text", async { Ok(serving.await?) });
        }
        visitors
    }

    /// What writes status, if anything does.
    fn writing(
        &mut self,
        office: Option<Desk>,
        sources: facts::Sources,
        metrics: &Metrics,
    ) -> (watch::Receiver<Leadership>, watch::Receiver<Writing>) {
        let (leaderships, leadership) = watch::channel(Leadership::default());
        let (writings, writing) = watch::channel(Writing::default());
        if let Some((client, options)) = office {
            let (composed, facts) = watch::channel(Facts::default());
            let metrics = metrics.status.clone();
            let channels = status::Channels { facts, leadership: leaderships, writing: writings, metrics };
            let shutdown = self.shutdown.clone();
            self.task("facts of statuses", ending(facts::run(sources, composed)));
            self.server("status", ending(status::run(client, options, channels, shutdown)));
        }
        (leadership, writing)
    }

    fn task(&mut self, name: &'static str, task: impl Future<Output = Result<(), AppError>> + Send + 'static) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    fn server(&mut self, name: &'static str, task: impl Future<Output = Result<(), AppError>> + Send + 'static) {
        self.servers.spawn(async move { (name, task.await) });
    }
}

/// A task that can't fail.
async fn ending(task: impl Future<Output = ()>) -> Result<(), AppError> {
    task.await;
    Ok(())
}

/// Gives the token back when there is a World.
async fn loaded(mut states: watch::Receiver<Option<State>>, token: Token) -> Result<(), AppError> {
    let objects =
        states.wait_for(Option::is_some).await.map(|state| state.as_ref().map_or(0, |state| state.world.len()));
    if let Ok(objects) = objects {
        drop(token);
        match objects {
            0 => tracing::warn!("ready, but there is no object"),
            _ => tracing::info!(objects, "ready"),
        }
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Why a task that should not have ended did.
fn reason(ended: Option<Result<Ended, JoinError>>) -> Result<(), AppError> {
    match ended {
        Some(Ok((name, result))) => result.and(Err(AppError::Ended(name))),
        Some(Err(_)) | None => Err(AppError::Ended("task that panicked")),
    }
}

/// Turns the publisher's steps into metrics.
pub struct Watcher(pub PublishMetrics);

impl Observer for Watcher {
    fn advanced(&self, outcome: &Outcome, seconds: f64) {
        self.0.stepped(Step {
            seconds,
            selected: outcome.recomputed.len(),
            built: outcome.built,
            posted: outcome.posts.len(),
            kept_back: outcome.violations.len(),
            faults: outcome.faults.len(),
            losses: outcome.losses.len(),
        });
    }
}
