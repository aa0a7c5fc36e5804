//! The loop around the engine: newest World and newest seats in, posts on the board out.

use super::{Engine, Outcome};
use crate::keeper::State;
use crate::model::problem::Problem;
use crate::snapshot::board::{Board, Posted};
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
    /// Mistakes found by translation, sorted.
    pub problems: watch::Sender<Arc<BTreeSet<Problem>>>,
    /// Who listens.
    pub observer: Arc<dyn Observer>,
}

/// Publishes until the keeper is gone.
pub async fn run(mut states: watch::Receiver<Option<State>>, sinks: Sinks) {
    let mut engine = Engine::default();
    let mut wake = Wake::default();
    loop {
        tokio::select! {
            changed = states.changed() => match changed {
                Ok(()) => wake.world = true,
                Err(_) => return,
            },
            () = sinks.board.joined() => wake.seats = true,
        }
        // Who joined before the first World is remembered until there is one.
        let state = states.borrow_and_update().clone();
        if let Some(state) = state {
            let wake = std::mem::take(&mut wake);
            tokio::task::block_in_place(|| step(&mut engine, &state, wake, &sinks));
        }
    }
}

/// Why the loop woke up.
#[derive(Default)]
struct Wake {
    world: bool,
    seats: bool,
}

fn step(engine: &mut Engine, state: &State, wake: Wake, sinks: &Sinks) {
    let started = Instant::now();
    let seated = wake.seats.then(|| sinks.board.seated());
    // What is posted only because somebody joined is not late by any change.
    let since = state.since.filter(|_| wake.world);
    let outcome = engine.advance(&state.world, seated.as_ref());
    // Places come last: a seat that moves must find its new layers.
    for (subject, layer) in &outcome.posts {
        sinks.board.post(subject, Posted { layer: layer.clone(), since });
    }
    for (facts, placement) in &outcome.placed {
        sinks.board.place(facts, placement.clone());
    }
    for subject in &outcome.forgotten {
        sinks.board.forget(subject);
    }
    for violation in &outcome.violations {
        tracing::error!(%violation, "kept back a configuration that Envoy would refuse");
    }
    if outcome.problems_changed {
        sinks.problems.send_replace(Arc::new(engine.problems()));
    }
    sinks.observer.advanced(&outcome, started.elapsed().as_secs_f64());
}
