//! A connection until somebody is let in on it: the places it takes up meanwhile, and whether anything was said.

use super::porch::Place;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// That somebody is waited for on a connection.
#[derive(Debug)]
pub(super) struct Waiting {
    called: AtomicBool,
    over: AtomicBool,
    places: Mutex<Vec<Place>>,
}

impl Waiting {
    /// On a connection that takes up those places.
    pub(super) fn new(places: Vec<Place>) -> Self {
        Self { called: AtomicBool::new(false), over: AtomicBool::new(false), places: Mutex::new(places) }
    }

    /// Somebody calls, whoever it may be.
    pub(super) fn calls(&self) {
        self.called.store(true, Ordering::Relaxed);
    }

    /// Whether anybody has called.
    pub(super) fn was_called(&self) -> bool {
        self.called.load(Ordering::Relaxed)
    }

    /// Somebody is let in: the places are somebody else's now.
    pub(super) fn is_done(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            drop(std::mem::take(&mut *self.places.lock().unwrap_or_else(PoisonError::into_inner)));
        }
    }

    /// Whether somebody was let in.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
