//! The single writer: applies batches of changes to the World and publishes the newest as a watched value.
//!
//! Sources send batches through a bounded channel; batches that wait are applied together. Readers take the latest
//! value and compute differences themselves.

use crate::model::world::{Batch, State, World};
use tokio::sync::{mpsc, watch};

/// Applies batches until every sender is gone. The value is none until the first batch, which is a source's whole first
/// load: nothing is ever computed from a half-known world.
pub async fn run(mut batches: mpsc::Receiver<Batch>, states: watch::Sender<Option<State>>) {
    let mut world = World::default();
    while let Some(first) = batches.recv().await {
        let loaded = states.borrow().is_some();
        let at = first.at;
        let mut changed = world.apply(first.changes);
        while let Ok(batch) = batches.try_recv() {
            changed |= world.apply(batch.changes);
        }
        if changed || !loaded {
            states.send_replace(Some(State { world: world.clone(), since: loaded.then_some(at) }));
        }
    }
}
