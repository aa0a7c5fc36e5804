//! Readiness: the process is ready when nothing it waits for is left.
//!
//! Whoever must finish something first takes a named token and drops it when done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the process still waits for. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, usize>>>);

impl Readiness {
    /// Blocks readiness until the token is dropped. Several tokens may have the same name.
    pub fn block(&self, name: &str) -> Token {
        *self.waiting().entry(name.to_owned()).or_default() += 1;
        Token { readiness: self.clone(), name: name.to_owned() }
    }

    /// Whether nothing is waited for.
    pub fn is_ready(&self) -> bool {
        self.waiting().is_empty()
    }

    /// The names of what is waited for, sorted.
    pub fn pending(&self) -> Vec<String> {
        self.waiting().keys().cloned().collect()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks readiness as long as it lives.
#[derive(Debug)]
#[must_use = "dropping the token lets the process become ready"]
pub struct Token {
    readiness: Readiness,
    name: String,
}

impl Drop for Token {
    fn drop(&mut self) {
        let mut waiting = self.readiness.waiting();
        if let Some(count) = waiting.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.name);
            }
        }
    }
}
