//! What is for the streams of one workload only: its secrets. Replaced by who issues them, without the publisher.

use super::bell::Bell;
use super::set::Layer;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The newest secrets of one workload, and who is told when they are others. Shows nothing of them.
#[derive(Default)]
pub struct Private(Mutex<State>);

#[derive(Default)]
struct State {
    newest: Arc<Layer>,
    bells: Vec<Weak<Bell>>,
}

impl Private {
    /// These secrets.
    pub fn new(layer: Layer) -> Self {
        Self(Mutex::new(State { newest: Arc::new(layer), bells: Vec::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces them, and wakes who follows.
    pub fn replace(&self, layer: Layer) {
        let mut state = self.state();
        state.newest = Arc::new(layer);
        state.bells.retain(|bell| bell.strong_count() > 0);
        let bells: Vec<_> = state.bells.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        bells.iter().for_each(|bell| bell.ring());
    }

    /// The newest.
    pub fn newest(&self) -> Arc<Layer> {
        self.state().newest.clone()
    }

    /// From now on the bell rings when there are others, for as long as somebody listens to it.
    pub(super) fn follow(&self, bell: &Arc<Bell>) {
        let mut state = self.state();
        state.bells.retain(|bell| bell.strong_count() > 0);
        state.bells.push(Arc::downgrade(bell));
        drop(state);
        bell.ring();
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Private")
    }
}
