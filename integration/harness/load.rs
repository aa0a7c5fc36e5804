//! Load: requests from a few workers, bounded in number and time, and a tally of what came back and from whom.

use super::client::Client;
use super::echo::VERSION;
use super::{Failure, Outcome};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// What to send, and when to stop; whatever limit is reached first ends it.
#[derive(Clone)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// Headers of every request.
    pub headers: Vec<(&'static str, String)>,
    /// Who sends them; none: each worker for itself.
    pub client: Option<Client>,
    /// How many requests are under way at once.
    pub workers: usize,
    /// Requests a second of each worker; none sends the next when the last is answered.
    pub rate: Option<f64>,
    /// The number of requests.
    pub count: u64,
    /// The time.
    pub time: Duration,
}

/// What came back.
#[derive(Default, Debug)]
pub struct Tally {
    /// Answers by the version that gave them, whatever their status.
    pub versions: BTreeMap<String, u64>,
    /// Answers by status code.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer: the first few reasons, and the number of all.
    pub errors: Vec<String>,
    /// How many requests had no answer.
    pub failed: u64,
}

impl Load {
    /// As many requests as there are, one after the other in each of a few workers.
    pub fn closed(address: SocketAddr, host: &str, count: u64) -> Self {
        let headers = vec![("host", host.to_owned())];
        Self { address, headers, client: None, workers: 4, rate: None, count, time: Duration::from_secs(10) }
    }

    /// A steady trickle for a time, or until stopped.
    pub fn steady(address: SocketAddr, host: &str, time: Duration) -> Self {
        Self { rate: Some(50.0), count: u64::MAX, time, ..Self::closed(address, host, 0) }
    }

    /// The same with one more header on every request.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same, sent by somebody else.
    pub fn by(self, client: Client) -> Self {
        Self { client: Some(client), ..self }
    }

    /// Sends everything and returns the tally.
    pub async fn run(self) -> Outcome<Tally> {
        self.start().finished().await
    }

    /// Begins to send in the background.
    pub fn start(self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            workers.spawn(worker(self.clone(), stop.clone(), sent.clone()));
        }
        Running { workers, stop }
    }
}

/// Load under way; it ends when dropped.
pub struct Running {
    workers: JoinSet<Tally>,
    stop: Arc<AtomicBool>,
}

impl Running {
    /// Waits for its own end.
    pub async fn finished(mut self) -> Outcome<Tally> {
        let mut total = Tally::default();
        while let Some(part) = self.workers.join_next().await {
            total.add(part?);
        }
        Ok(total)
    }

    /// Ends it now.
    pub async fn stopped(self) -> Outcome<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.finished().await
    }
}

async fn worker(load: Load, stop: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> Tally {
    let client = load.client.clone().unwrap_or_default();
    let headers: Vec<(&str, &str)> = load.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut ticks = load.rate.map(|rate| interval(Duration::from_secs_f64(1.0 / rate)));
    if let Some(ticks) = &mut ticks {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let end = Instant::now() + load.time;
    let mut tally = Tally::default();
    while Instant::now() < end && !stop.load(Ordering::Relaxed) && sent.fetch_add(1, Ordering::Relaxed) < load.count {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        match client.get(load.address, "/", &headers).await {
            Ok(answer) => {
                *tally.statuses.entry(answer.status.as_u16()).or_default() += 1;
                let version = answer.headers.get(VERSION).and_then(|value| value.to_str().ok()).unwrap_or("nobody");
                *tally.versions.entry(version.to_owned()).or_default() += 1;
            }
            Err(failure) => tally.fail(failure),
        }
    }
    tally
}

impl Tally {
    /// The number of answers.
    pub fn answers(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// The number of answers of a version.
    pub fn of(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or(0)
    }

    /// Fails unless there were answers and every one was a 200.
    pub fn clean(&self) -> Outcome<()> {
        let good = self.statuses.get(&200).copied().unwrap_or(0);
        if self.failed == 0 && good > 0 && good == self.answers() {
            return Ok(());
        }
        Err(Failure::new(format!("not every request was answered 200: {self:?}")))
    }

    fn fail(&mut self, failure: Failure) {
        self.failed += 1;
        if self.errors.len() < 5 {
            self.errors.push(failure.0);
        }
    }

    fn add(&mut self, other: Tally) {
        for (version, count) in other.versions {
            *self.versions.entry(version).or_default() += count;
        }
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.failed += other.failed;
        self.errors.extend(other.errors);
        self.errors.truncate(5);
    }
}
