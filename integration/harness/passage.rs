//! A passage of TCP between two programs, as a network between them would be: narrow, cut, or leading elsewhere. What passes is
//! not looked at, so that it may be encrypted.

use super::Outcome;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// How much is passed on at once.
const PIECE: usize = 8 << 10;

/// How it is with the passage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct State {
    /// Where it leads.
    to: SocketAddr,
    /// Whether nothing passes; connections stay open, and new ones are taken.
    silent: bool,
    /// Counts how often all connections were ended.
    ended: u64,
}

/// A running passage; it ends, with its connections, when dropped.
pub struct Passage {
    /// Where it is entered.
    pub address: SocketAddr,
    state: watch::Sender<State>,
    pace: Arc<Pace>,
    serving: JoinHandle<()>,
}

/// How many bytes a second pass, in both directions and on all connections together.
#[derive(Debug)]
struct Pace {
    bytes: AtomicU64,
    next: Mutex<Instant>,
    passed: AtomicU64,
}

impl Passage {
    /// One that is entered at `address` and leads to `to`, as wide as the machine allows.
    pub async fn start(address: SocketAddr, to: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let state = watch::Sender::new(State { to, silent: false, ended: 0 });
        let pace =
            Pace { bytes: AtomicU64::new(u64::MAX), next: Mutex::new(Instant::now()), passed: AtomicU64::new(0) };
        let pace = Arc::new(pace);
        let serving = tokio::spawn(serve(listener, state.subscribe(), pace.clone()));
        Ok(Self { address, state, pace, serving })
    }

    /// From now on so many bytes a second pass.
    pub fn narrow(&self, bytes: u64) {
        self.pace.bytes.store(bytes, Ordering::SeqCst);
    }

    /// How many bytes have passed.
    pub fn passed(&self) -> u64 {
        self.pace.passed.load(Ordering::SeqCst)
    }

    /// Nothing passes any more, and nobody is told.
    pub fn silence(&self) {
        self.state.send_modify(|state| state.silent = true);
    }

    /// It is open again; what was held up passes.
    pub fn open(&self) {
        self.state.send_modify(|state| state.silent = false);
    }

    /// It leads elsewhere; connections that there are end.
    pub fn turn(&self, to: SocketAddr) {
        self.state.send_modify(|state| (state.to, state.ended) = (to, state.ended + 1));
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, state: watch::Receiver<State>, pace: Arc<Pace>) {
    // Connections end with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(connection(stream, state.clone(), pace.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, state: watch::Receiver<State>, pace: Arc<Pace>) {
    let (ended, mut watched) = (state.borrow().ended, state.clone());
    let opened = async {
        state.clone().wait_for(|state| !state.silent).await.ok()?;
        let to = state.borrow().to;
        TcpStream::connect(to).await.ok()
    };
    let passing = async {
        let Some(other) = opened.await else { return };
        let ((from_one, to_one), (from_other, to_other)) = (stream.into_split(), other.into_split());
        tokio::join!(pass(from_one, to_other, state.clone(), &pace), pass(from_other, to_one, state.clone(), &pace));
    };
    tokio::select! {
        () = passing => {}
        _ = watched.wait_for(|state| state.ended != ended) => {}
    }
}

/// Passes on what comes until there is no more.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: watch::Receiver<State>,
    pace: &Pace,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(length) = from.read(&mut piece).await {
        if length == 0 || state.clone().wait_for(|state| !state.silent).await.is_err() {
            break;
        }
        pace.wait(length).await;
        if to.write_all(&piece[..length]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
}

impl Pace {
    async fn wait(&self, length: usize) {
        self.passed.fetch_add(length as u64, Ordering::SeqCst);
        let bytes = self.bytes.load(Ordering::SeqCst);
        if bytes == u64::MAX {
            return;
        }
        let mut next = self.next.lock().await;
        let now = Instant::now();
        let at = (*next).max(now);
        *next = at + Duration::from_secs_f64(length as f64 / bytes as f64);
        drop(next);
        sleep_until(at).await;
    }
}
