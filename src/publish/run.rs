//! The loop around the engine: newest World and newest seats in, posts on the board out.

use super::losses::Loss;
use super::{Engine, Fault, Outcome};
use crate::alarm::Alarm;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::model::world::State;
use crate::snapshot::board::{Board, Posted};
use crate::snapshot::lint::Violation;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// What the loop tells of each step; metrics listen.
pub trait Observer: Send + Sync {
    /// A step that took `seconds` is done.
    fn advanced(&self, outcome: &Outcome, seconds: f64);
}

/// Where the loop's results go.
pub struct Sinks {
    /// Snapshots.
    pub board: Arc<Board>,
    /// What is on the board; none until something is.
    pub published: watch::Sender<Option<Published>>,
    /// Mistakes found by translation, sorted.
    pub problems: watch::Sender<Arc<BTreeSet<Problem>>>,
    /// Who listens.
    pub observer: Arc<dyn Observer>,
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// The state that what is on the board was made of.
    pub state: State,
    /// The policies of which something is not on the board, through a fault of ours.
    pub kept_back: Arc<BTreeSet<ObjectKey>>,
}

/// Publishes until the keeper is gone.
pub async fn run(engine: Engine, mut states: watch::Receiver<Option<State>>, sinks: Sinks) {
    let mut publisher =
        Publisher { engine, begun: false, since: None, kept_back: Arc::default(), told: BTreeSet::new(), sinks };
    let mut alarm = Alarm::default();
    loop {
        let kept = publisher.sinks.board.kept_until().filter(|_| publisher.begun);
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = publisher.sinks.board.joined() => {}
            () = alarm.at(kept.map(Into::into)) => {}
        }
        let state = states.borrow_and_update().clone();
        // Until the first World is there, whoever joins stays news on the board.
        if let Some(state) = state {
            let step = tokio::task::block_in_place(|| publisher.compute(&state));
            // Who computes in place has given its core away: whom it woke now would queue with what comes from outside. Its
            // next turn has one.
            tokio::task::yield_now().await;
            publisher.publish(step, state);
        }
    }
}

/// What is said of an object of which something is kept back.
fn kept(object: &ObjectKey) -> Problem {
    let text = "what follows from it is kept back because of a fault of chancery, whose log says more; proxies keep what \
                they had before";
    let (object, field, text) = (object.clone(), String::new(), text.to_owned());
    Problem { object, field, severity: Severity::Warning, text, cause: Cause::Content }
}

/// What was computed and is to be published.
struct Step {
    outcome: Outcome,
    /// When the change behind it was seen.
    since: Option<Instant>,
    /// The mistakes, if they are others than before.
    problems: Option<BTreeSet<Problem>>,
    seconds: f64,
}

struct Publisher {
    engine: Engine,
    /// Whether a World has been published.
    begun: bool,
    /// The time of the World published last.
    since: Option<Instant>,
    kept_back: Arc<BTreeSet<ObjectKey>>,
    /// What has been said about what is kept back.
    told: BTreeSet<Violation>,
    sinks: Sinks,
}

impl Publisher {
    /// Computes what a state means. Takes as long as it takes, and wakes nobody.
    fn compute(&mut self, state: &State) -> Step {
        let started = Instant::now();
        let outcome = self.engine.advance(&state.world, &self.sinks.board.news(Instant::now()));
        self.begun = true;
        // What is posted only because somebody joined is not late by any change.
        let since = state.since.filter(|since| self.since != Some(*since));
        self.since = state.since;
        let kept_back = self.engine.kept_back();
        let differs = kept_back != *self.kept_back;
        let problems = (outcome.problems_changed || differs).then(|| {
            let mut problems = self.engine.problems();
            problems.extend(kept_back.iter().map(kept));
            problems
        });
        if differs {
            self.kept_back = Arc::new(kept_back);
        }
        Step { outcome, since, problems, seconds: started.elapsed().as_secs_f64() }
    }

    /// Tells everybody.
    fn publish(&mut self, step: Step, state: State) {
        let Step { outcome, since, problems, seconds } = step;
        self.post(&outcome, since);
        if !self.engine.holds_back() {
            self.told.clear();
        }
        for violation in &outcome.violations {
            // It is found again with every change until it is mended.
            if self.told.insert(violation.clone()) {
                let objects: Vec<_> = violation.sources.iter().map(ObjectKey::to_string).collect();
                tracing::error!(%violation, ?objects, "kept back a configuration that Envoy would refuse");
            }
        }
        for Fault { what, text } in &outcome.faults {
            tracing::error!(what, text, "a computation failed; what it gave before is kept");
        }
        for Loss { kind, gone, of } in &outcome.losses {
            tracing::warn!(%kind, gone, of, "many resources of a kind are gone at once");
        }
        if let Some(problems) = problems {
            self.sinks.problems.send_replace(Arc::new(problems));
        }
        let published = Published { state, kept_back: self.kept_back.clone() };
        self.sinks.published.send_replace(Some(published));
        self.sinks.observer.advanced(&outcome, seconds);
    }

    /// Layers come before places: a seat that moves must find its new ones.
    fn post(&self, outcome: &Outcome, since: Option<Instant>) {
        for (subject, layer) in &outcome.posts {
            self.sinks.board.post(subject, Posted { layer: layer.clone(), since });
        }
        for (facts, placement) in &outcome.placed {
            self.sinks.board.place(facts, placement.clone());
        }
        for subject in &outcome.forgotten {
            self.sinks.board.forget(subject);
        }
    }
}
