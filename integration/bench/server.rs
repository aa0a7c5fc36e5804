//! The server under test: everything `serve` runs from the keeper to the xDS server, and who follows how proxies take it,
//! in a process of its own.
//!
//! Changes enter where a source's do. Limits are those of `serve` by default; only the folder and the admin port are left
//! out.

use super::door;
use super::floor::{Listening, Usage};
use super::role::{answer, memory, now};
use super::world::{Event, Size, Town};
use chancery::app::progress;
use chancery::keeper;
use chancery::publish::run::{self as publisher, Observer, Sinks};
use chancery::publish::{Engine, Outcome};
use chancery::snapshot::board::Board;
use chancery::telemetry::Metrics;
use chancery::telemetry::readiness::Readiness;
use chancery::xds::admission::Admission;
use chancery::xds::limits::Options;
use chancery::xds::registry::Registry;
use chancery::xds::server::serve;
use chancery::xds::shares::Shares;
use chancery::xds::shelf::Shelf;
use chancery::xds::stream::XdsContext;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// What the server can be told.
#[derive(Serialize, Deserialize)]
pub enum Command {
    /// The first load. Answered with [`Usage`] when the World is there.
    Load(Size),
    /// The secure door is opened, with what is in that directory, or is made there. Answered with [`Listening`].
    Secure { folder: PathBuf },
    /// Things that happen at once. Answered with the [`Usage`] of just before.
    Happen(Vec<Event>),
    /// Things that happen one after the other, evenly; answered with [`Happened`] when the last has.
    Storm { events: Vec<Event>, per_second: f64 },
    /// Answered with [`Costs`].
    Costs,
}

/// When each thing happened.
#[derive(Serialize, Deserialize)]
pub struct Happened {
    pub at: Vec<u64>,
}

/// What the server has used and done so far.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub struct Costs {
    pub at: u64,
    pub cpu: u64,
    pub rss_kb: u64,
    pub peak_kb: u64,
    /// What was built and encoded.
    pub built: u64,
    /// How often the engine moved on, and the nanoseconds it took.
    pub steps: u64,
    pub engine: u64,
}

/// Runs until there are no more commands.
pub fn run(commands: Box<dyn BufRead + Send>, mut answers: Box<dyn Write + Send>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (batches, received) = mpsc::channel(64);
    let (states, state) = watch::channel(None);
    let counts = Arc::new(Counts::default());
    let _entered = runtime.enter();
    let context = start(received, states, &state, counts.clone());
    let (port, listener) = listen();
    tokio::spawn(serve(listener, context.clone(), CancellationToken::new()));
    answer(&mut answers, &Listening { port });
    let mut source = Source { batches, state, town: None, counts, context };
    for line in commands.lines().map_while(Result::ok) {
        source.obey(serde_json::from_str(&line).expect("a command"), &mut answers);
    }
    runtime.shutdown_timeout(Duration::from_millis(100));
}

type State = Option<chancery::model::world::State>;

/// Starts keeper and publisher; returns what an xDS server needs.
fn start(
    batches: mpsc::Receiver<chancery::model::world::Batch>,
    states: watch::Sender<State>,
    state: &watch::Receiver<State>,
    observer: Arc<Counts>,
) -> Arc<XdsContext> {
    let (metrics, board, options) = (Metrics::new(), Arc::new(Board::default()), Options::default());
    let (published, publication) = watch::channel(None);
    let (problems, standings) = (watch::channel(Arc::default()).0, watch::channel(Arc::default()).0);
    let registry = Registry::default();
    let sinks = Sinks { board: board.clone(), published, problems, observer };
    tokio::spawn(keeper::run(batches, states));
    tokio::spawn(publisher::run(Engine::default(), state.clone(), sinks));
    tokio::spawn(progress::run(publication, board.clone(), registry.clone(), standings));
    Arc::new(XdsContext {
        board,
        registry,
        admission: Admission::new(options.admission, options.turn, metrics.admission.clone()),
        shares: Shares::new(options.max_request),
        shelf: Shelf::default(),
        metrics,
        readiness: Readiness::default(),
        options,
    })
}

/// A free port, with room for a fleet that connects at once.
fn listen() -> (u16, TcpListener) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(8192).expect("a socket that listens");
    (listener.local_addr().expect("a bound port").port(), listener)
}

/// What the publisher has done.
#[derive(Default)]
struct Counts {
    built: AtomicU64,
    steps: AtomicU64,
    engine: AtomicU64,
}

impl Observer for Counts {
    fn advanced(&self, outcome: &Outcome, seconds: f64) {
        self.built.fetch_add(outcome.built as u64, Ordering::Relaxed);
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.engine.fetch_add((seconds * 1e9) as u64, Ordering::Relaxed);
    }
}

/// Plays the source.
struct Source {
    batches: mpsc::Sender<chancery::model::world::Batch>,
    state: watch::Receiver<State>,
    town: Option<Town>,
    counts: Arc<Counts>,
    context: Arc<XdsContext>,
}

impl Source {
    fn obey(&mut self, command: Command, answers: &mut impl Write) {
        match command {
            Command::Load(size) => {
                let town = Town::new(size);
                self.send(town.first());
                self.town = Some(town);
                while self.state.borrow().is_none() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                answer(answers, &Usage::now());
            }
            Command::Secure { folder } => {
                let (port, listener) = listen();
                Handle::current().block_on(door::open(folder, self.state.clone(), listener, self.context.clone()));
                answer(answers, &Listening { port });
            }
            Command::Happen(events) => {
                let town = self.town.as_mut().expect("a world that was loaded");
                let changes = events.into_iter().flat_map(|event| town.changes(event)).collect();
                let usage = Usage::now();
                self.send(changes);
                answer(answers, &usage);
            }
            Command::Storm { events, per_second } => {
                let begin = Instant::now();
                let mut at = Vec::with_capacity(events.len());
                for (number, event) in events.into_iter().enumerate() {
                    let due = begin + Duration::from_secs_f64(number as f64 / per_second);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let changes = self.town.as_mut().expect("a world that was loaded").changes(event);
                    at.push(now());
                    self.send(changes);
                }
                answer(answers, &Happened { at });
            }
            Command::Costs => {
                let ((rss_kb, peak_kb), usage) = (memory(), Usage::now());
                let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                let (built, steps, engine) =
                    (count(&self.counts.built), count(&self.counts.steps), count(&self.counts.engine));
                answer(answers, &Costs { at: usage.at, cpu: usage.cpu, rss_kb, peak_kb, built, steps, engine });
            }
        }
    }

    fn send(&self, changes: Vec<chancery::model::world::Change>) {
        let batch = chancery::model::world::Batch { changes, at: Instant::now() };
        self.batches.blocking_send(batch).expect("the keeper lives as long as we do");
    }
}
