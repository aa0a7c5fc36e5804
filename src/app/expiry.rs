//! Certificates of Secrets that end while they are in use: what is wrong with them appears when it does, and goes when another
//! one takes their place, or the clock is set back.
//!
//! What has ended already when it is read is told of by who reads it, in the same words.

use crate::clock::Clock;
use crate::model::object::Object;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectKind;
use crate::model::world::{State, World};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often it is looked whether one has ended.
const LOOK: Duration = Duration::from_secs(5);

/// What is wrong with objects.
pub type Problems = Arc<BTreeSet<Problem>>;

/// Tells what translation has found and what has ended, until nobody listens or the sources are gone.
pub async fn run(
    states: watch::Receiver<Option<State>>,
    mut found: watch::Receiver<Problems>,
    clock: Clock,
    told: watch::Sender<Problems>,
) {
    loop {
        let ended = states.borrow().as_ref().map(|state| ended(&state.world, clock.now())).unwrap_or_default();
        let mut all = found.borrow_and_update().clone();
        if !ended.is_empty() {
            Arc::make_mut(&mut all).extend(ended);
        }
        told.send_if_modified(|before| {
            let changed = **before != *all;
            *before = all;
            changed
        });
        tokio::select! {
            changed = found.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
            () = told.closed() => return,
        }
    }
}

/// What has ended by that time, in seconds since 1970.
fn ended(world: &World, now: u64) -> Vec<Problem> {
    let problem = |object: &Object| {
        let Object::Secret(secret) = object else { return None };
        let ends = &secret.pair.as_ref()?.ends;
        Some(Problem {
            object: secret.key().clone(),
            field: ends.field.to_string(),
            severity: Severity::Error,
            text: ends.complaint(now)?,
            cause: Cause::Content,
        })
    };
    world.objects_of(ObjectKind::Secret).filter_map(problem).collect()
}
