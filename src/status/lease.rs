//! Keeps a Lease, or looks until it can be had. Says until when this process may act as the one that has it.

use super::account::{Leadership, Standing};
use super::clerk::Facts;
use super::election::{Election, Record, Step, Terms};
use crate::telemetry::logging::{shown, words};
use crate::telemetry::status::StatusMetrics;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, Client, Error};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Which Lease, and for how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The namespace it is in.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// A name of ours that no other process has.
    pub identity: String,
    /// How long it lasts.
    pub terms: Terms,
}

/// The annotation that says how many proxies the holder knows of, for whoever holds it next.
const PROXIES: &str = "chancery/proxies";
/// How long proxies may take to come back after a change of the holder: Envoy's longest pause before it connects again.
const RETURN: Duration = Duration::from_secs(30);

/// Until when this process may act as the one that has the Lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Counts how often it was taken from somebody else, or from nobody.
    pub term: u64,
    /// Until when; none while somebody else may have it.
    pub until: Option<Instant>,
    /// The proxies that the last holder knew of, and until when those of them that are missing are waited for.
    pub awaited: Option<(usize, Instant)>,
}

impl Held {
    /// Whether it is held now.
    pub fn is_valid(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether proxies that the last holder knew of are still to come, of which `proxies` are here.
    pub fn awaits(&self, proxies: usize, now: Instant) -> bool {
        self.awaited.is_some_and(|(known, until)| proxies < known && now < until)
    }
}

/// How long to wait where we may not.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long an answer may take, at most.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the Lease could not be read or written.
#[derive(thiserror::Error, Debug)]
enum Failure {
    #[error("another state of it is stored")]
    Conflict,
    #[error("{0}")]
    Missing(String),
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Other(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) if status.code == 409 => Failure::Conflict,
            Error::Api(status) if status.code == 404 => Failure::Missing(shown(status.message.trim())),
            Error::Api(status) if status.code == 403 => Failure::Denied(shown(status.message.trim())),
            Error::Auth(_) => Failure::Other("the credentials that the kubeconfig names can't be had".to_owned()),
            error => Failure::Other(words(&error)),
        }
    }
}

/// What a keeper tells, and what it is told.
pub struct Told {
    /// Until when this process may act.
    pub held: watch::Sender<Held>,
    /// Who leads.
    pub leadership: watch::Sender<Leadership>,
    /// What is known, of which the holder says how many proxies there are.
    pub facts: watch::Receiver<Facts>,
}

/// Keeps one Lease.
pub struct Keeper {
    api: Api<Lease>,
    options: Options,
    election: Election,
    held: watch::Sender<Held>,
    leadership: watch::Sender<Leadership>,
    metrics: StatusMetrics,
    transitions: i32,
    acquired: Option<MicroTime>,
    facts: watch::Receiver<Facts>,
    awaited: Option<(usize, Instant)>,
    /// How many proxies it was last said to be: at the end there are none any more.
    said: usize,
}

impl Keeper {
    /// A keeper that says what comes of it.
    pub fn new(client: Client, options: Options, told: Told, metrics: StatusMetrics) -> Self {
        let api = Api::namespaced(client, &options.namespace);
        let election = Election::new(options.identity.clone(), options.terms);
        let Told { held, leadership, facts } = told;
        let (transitions, acquired, awaited) = (0, None, None);
        Self { api, options, election, held, leadership, metrics, transitions, acquired, facts, awaited, said: 0 }
    }

    /// How many proxies there are, those included that are still to come.
    fn proxies(&self) -> usize {
        let here = self.facts.borrow().standing.proxies;
        match self.awaited {
            Some((known, until)) if Instant::now() < until => here.max(known),
            _ => here,
        }
    }

    /// Keeps it until `shutdown`, and gives it back then.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let round = shutdown.run_until_cancelled(self.round()).await;
            let Some(round) = round else { break };
            self.tell(&round);
            let pause = match round {
                Err(Failure::Denied(_) | Failure::Missing(_)) => LOOK_AGAIN.min(self.options.terms.lasts),
                Err(Failure::Conflict) => Duration::ZERO,
                Ok(()) | Err(Failure::Other(_)) => self.options.terms.pause(),
            };
            let pause = self.before_it_runs_out(pause.mul_f64(fastrand::f64().mul_add(0.2, 0.9)));
            if shutdown.run_until_cancelled(sleep(pause)).await.is_none() {
                break;
            }
        }
        self.give_back().await;
    }

    /// Looks at it, or renews it at once if it is ours.
    async fn round(&mut self) -> Result<(), Failure> {
        let asked = Instant::now();
        let ours = self.election.until().and_then(|_| self.election.known().cloned());
        let (stored, step) = match ours {
            Some(record) => (Some(record), Step::Take),
            None => {
                let lease = self.patiently(self.api.get_opt(&self.options.name)).await?;
                let record = lease.as_ref().map(record);
                self.transitions = lease.as_ref().and_then(|it| it.spec.as_ref()?.lease_transitions).unwrap_or(0);
                (record.clone(), self.election.saw(record, Instant::now()))
            }
        };
        if step == Step::Wait {
            return Ok(());
        }
        let renewed = stored.as_ref().is_some_and(|record| record.holder == self.election.me());
        if !renewed {
            (self.transitions, self.acquired) = (self.transitions + 1, Some(MicroTime(Timestamp::now())));
            self.awaited = stored.as_ref().map(|record| (record.proxies, asked + RETURN));
        }
        let holder = self.election.me().to_owned();
        let taken = self.store(holder, stored.map(|record| record.version)).await;
        if matches!(taken, Err(Failure::Conflict)) {
            self.election.missed();
            self.election.resign();
        }
        self.election.took(taken?, asked);
        Ok(())
    }

    async fn store(&mut self, holder: String, over: Option<String>) -> Result<Record, Failure> {
        if !holder.is_empty() {
            self.said = self.proxies();
        }
        let mut lease = Lease::default();
        lease.metadata.name = Some(self.options.name.clone());
        lease.metadata.resource_version = over.clone();
        lease.metadata.annotations = Some([(PROXIES.to_owned(), self.said.to_string())].into());
        // One that is given back doesn't have to be waited for.
        let lasts = if holder.is_empty() { 1 } else { self.options.terms.lasts.as_secs() };
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(holder),
            lease_duration_seconds: i32::try_from(lasts).ok(),
            lease_transitions: Some(self.transitions),
            acquire_time: self.acquired.clone(),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        });
        let params = PostParams::default();
        let stored = match over {
            None => self.patiently(self.api.create(&params, &lease)).await,
            Some(_) => match self.patiently(self.api.replace(&self.options.name, &params, &lease)).await {
                // Somebody removed it meanwhile.
                Err(Failure::Missing(_)) => Err(Failure::Conflict),
                stored => stored,
            },
        };
        Ok(record(&stored?))
    }

    async fn patiently<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        let patience = self.before_it_runs_out(PATIENCE.min(self.options.terms.valid() / 2));
        let silent = |_| Failure::Other(format!("the API server said nothing for {patience:?}"));
        Ok(timeout(patience, answer).await.map_err(silent)??)
    }

    /// A pause that is over when it runs out. Whoever acts on it compares times; whoever reads of it should know as well.
    fn before_it_runs_out(&self, pause: Duration) -> Duration {
        let left = self.election.until().and_then(|until| until.checked_duration_since(Instant::now()));
        left.map_or(pause, |left| left.min(pause))
    }

    fn tell(&mut self, round: &Result<(), Failure>) {
        let (now, until) = (Instant::now(), self.election.until());
        let before = *self.held.borrow();
        let begins = until.is_some() && before.until.is_none();
        let term = before.term + u64::from(begins);
        self.held.send_replace(Held { term, until, awaited: self.awaited });
        let valid = until.filter(|until| now < *until);
        self.metrics.led(valid.is_some());
        let standing = match (valid, round) {
            (Some(until), _) => Standing::Leading(until),
            (None, Ok(()) | Err(Failure::Conflict)) => Standing::Following,
            (None, Err(Failure::Denied(reason) | Failure::Missing(reason))) => Standing::Denied(reason.as_str().into()),
            (None, Err(Failure::Other(reason))) => Standing::Failing(reason.as_str().into()),
        };
        let holder = self.election.known().map(|record| record.holder.clone()).unwrap_or_default();
        let Options { namespace, name, identity, .. } = &self.options;
        let (lease, identity) = (format!("{namespace}/{name}"), identity.clone());
        let after = Leadership { standing, lease, identity, holder };
        let before = self.leadership.send_replace(after.clone());
        log(&before, &after);
    }

    /// Others may have it at once.
    async fn give_back(mut self) {
        let version = self.election.until().and_then(|_| self.election.known()).map(|record| record.version.clone());
        self.election.resign();
        self.held.send_modify(|held| held.until = None);
        self.metrics.led(false);
        // Where this fails others wait until it has run out.
        if version.is_some() {
            _ = self.store(String::new(), version).await;
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    let proxies = lease.metadata.annotations.as_ref().and_then(|all| all.get(PROXIES)?.parse().ok());
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        lasts: Duration::from_secs(seconds),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        proxies: proxies.unwrap_or_default(),
    }
}

/// What differs, once.
fn log(before: &Leadership, after: &Leadership) {
    let Leadership { standing, lease, holder, .. } = after;
    if before.standing.as_str() == standing.as_str() && before.holder == *holder {
        return;
    }
    match standing {
        Standing::Leading(_) => tracing::info!(lease, "this process writes status and events"),
        Standing::Following => tracing::info!(lease, holder, "another process writes status and events"),
        Standing::Denied(reason) | Standing::Failing(reason) if before.standing.as_str() != standing.as_str() => {
            tracing::warn!(lease, %reason, "no status is written: the Lease can't be had; proxies are served as before");
        }
        _ => {}
    }
}
