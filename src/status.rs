//! What is known of objects, written to them: conditions by server-side apply, and Events for what proxies reject and for what is
//! broken.
//!
//! In reading order: [`shape`] is a status as it is stored; [`verdict`] what is to be said of one object; [`desk`] what waits
//! and when it may be written; [`rivals`] whether somebody else writes as well;
//! [`clerk`] puts these together. All of that is pure. [`election`] is who leads, as a value;
//! [`lease`] keeps it; [`writer`] and [`events`] write. Whoever doesn't lead writes nothing. Serving depends on none of it.

pub mod account;
pub mod clerk;
pub mod desk;
pub mod election;
pub mod events;
pub mod later;
pub mod lease;
pub mod rivals;
pub mod shape;
pub mod verdict;
pub mod writer;

use crate::source::kubernetes::inventory::Which;
use crate::telemetry::status::StatusMetrics;
use account::{Leadership, Writing};
use clerk::{Clerk, Draft, Facts};
use kube::Client;
use lease::{Held, Keeper, Told};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use writer::Answer;

/// How many writes may be on their way.
const AT_ONCE: usize = 4;
/// How long an answer to a write may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of how many objects it is remembered that their status is not taken.
const REMEMBERED: usize = 4096;
/// How long to wait at most before looking what there is to do.
const IDLE: Duration = Duration::from_secs(1);

/// What comes in, and where it is told how it goes.
pub struct Channels {
    /// Everything that is known of objects.
    pub facts: watch::Receiver<Facts>,
    /// Who leads.
    pub leadership: watch::Sender<Leadership>,
    /// How the writing goes.
    pub writing: watch::Sender<Writing>,
    /// Counters.
    pub metrics: StatusMetrics,
}

/// Writes while this process leads, until `shutdown`. Gives the Lease back then.
pub async fn run(client: Client, options: lease::Options, channels: Channels, shutdown: CancellationToken) {
    let Channels { facts, leadership, writing, metrics } = channels;
    let (holds, held) = watch::channel(Held::default());
    let (complaints, complained) = mpsc::channel(events::QUEUED);
    let identity = options.identity.clone();
    let told = Told { held: holds, leadership, facts: facts.clone() };
    let keeper = Keeper::new(client.clone(), options, told, metrics.clone());
    let telling = events::run(client.clone(), identity, complained, held.clone(), metrics.clone());
    let office = Office {
        client,
        facts,
        held,
        complaints,
        writing,
        metrics,
        clerk: Clerk::new(Instant::now()),
        term: 0,
        news: false,
        coming: false,
        writes: JoinSet::new(),
        denied: BTreeMap::new(),
        refused: BTreeSet::new(),
    };
    let ended = shutdown.clone();
    let working = async {
        // Nothing that ends on shutdown may be under way when the Lease is given back.
        ended.run_until_cancelled(async { tokio::join!(office.run(), telling) }).await;
    };
    tokio::join!(keeper.run(shutdown), working);
}

/// The loop that writes.
struct Office {
    client: Client,
    facts: watch::Receiver<Facts>,
    held: watch::Receiver<Held>,
    complaints: mpsc::Sender<(u64, clerk::Complaint)>,
    writing: watch::Sender<Writing>,
    metrics: StatusMetrics,
    clerk: Clerk,
    term: u64,
    /// Whether there are facts that were not looked at.
    news: bool,
    /// Whether proxies that were connected before were still to come when they were looked at.
    coming: bool,
    writes: JoinSet<(Draft, Answer)>,
    denied: BTreeMap<String, Arc<str>>,
    /// Objects of which it was said that the API server does not take their status.
    refused: BTreeSet<Which>,
}

impl Office {
    async fn run(mut self) {
        loop {
            let now = Instant::now();
            let held = *self.held.borrow_and_update();
            if held.is_valid(now) {
                self.work(held, now);
            }
            self.tell();
            let pause = self.clerk.due().map_or(IDLE, |due| due.saturating_duration_since(now).min(IDLE));
            tokio::select! {
                Some(written) = self.writes.join_next(), if !self.writes.is_empty() => {
                    if let Ok((draft, answer)) = written {
                        self.written(&draft, answer);
                    }
                }
                Ok(()) = self.held.changed() => {}
                Ok(()) = self.facts.changed(), if held.is_valid(now) => self.news = true,
                () = tokio::time::sleep(pause.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// Looks at what is new, and begins what may be written now.
    fn work(&mut self, held: Held, now: Instant) {
        let newly = self.term != held.term;
        if newly {
            // Others may have written meanwhile.
            self.writes = JoinSet::new();
            (self.clerk, self.term) = (Clerk::new(now), held.term);
        }
        let coming = held.awaits(self.facts.borrow().standing.proxies, now);
        if newly || std::mem::take(&mut self.news) || coming != self.coming {
            self.coming = coming;
            let facts = self.facts.borrow_and_update().clone();
            self.clerk.learn(Facts { coming, ..facts }, now);
        }
        // Nobody else sends: there is room for as many as there was room for.
        for complaint in self.clerk.complaints(self.complaints.capacity()) {
            self.metrics.dropped(u64::from(self.complaints.try_send((held.term, complaint)).is_err()));
        }
        self.metrics.dropped(self.clerk.dropped());
        while self.writes.len() < AT_ONCE {
            let Some(draft) = self.clerk.next(now) else { return };
            let (client, held) = (self.client.clone(), self.held.clone());
            self.writes.spawn(async move {
                // This process may have been stopped since.
                let now = Instant::now();
                let until = held.borrow().until.unwrap_or(now).min(now + PATIENCE);
                let answer = writer::write(&client, &draft, until.into()).await;
                (draft, answer)
            });
        }
    }

    fn written(&mut self, draft: &Draft, answer: Answer) {
        let now = Instant::now();
        self.metrics.wrote(answer.as_str());
        tracing::debug!(object = %draft.which, result = answer.as_str(), "a status was written, or not");
        let (kind, outcome) = (draft.entry.kind.to_string(), answer.outcome());
        let stored = match answer {
            Answer::Written(entry) => {
                if self.denied.remove(&kind).is_some() {
                    tracing::info!(kind, "status is written again");
                }
                Some(*entry)
            }
            Answer::Denied(reason) => {
                self.clerk.deny(&draft.which, now);
                if self.denied.insert(kind.clone(), reason.clone()).is_none() {
                    tracing::warn!(kind, %reason, "no status is written; proxies are served as before");
                }
                None
            }
            Answer::Refused(reason) => {
                if self.refused.len() >= REMEMBERED {
                    self.refused.clear();
                }
                if self.refused.insert(draft.which.clone()) {
                    tracing::warn!(object = %draft.which, reason, "the API server does not take a status");
                }
                None
            }
            Answer::Failed(reason) => {
                tracing::debug!(object = %draft.which, reason, "a status was not written, and is tried again");
                None
            }
            Answer::Outdated | Answer::Gone => None,
        };
        self.clerk.done(draft, outcome, stored, now);
    }

    fn tell(&self) {
        let denied = self.denied.iter().map(|(kind, reason)| (kind.clone(), reason.clone())).collect();
        let writing = Writing { waiting: self.clerk.waiting(), denied, disputed: self.clerk.disputed().count() };
        self.metrics.waited(writing.waiting);
        if let Some(object) = self.clerk.disputed().next().filter(|_| self.writing.borrow().disputed == 0) {
            let text = "somebody else writes its status as well, again and again; if another installation watches this \
                        cluster, turn its --status off";
            tracing::warn!(%object, "{text}");
        }
        self.writing.send_if_modified(|known| {
            let changed = *known != writing;
            *known = writing;
            changed
        });
    }
}
