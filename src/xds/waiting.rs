//! A connection until somebody is let in on it: the places it takes up meanwhile, and whether anything was said.

use super::porch::Place;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// That somebody is waited for on a connection.
#[derive(Debug)]
pub(super) struct Waiting {
    called: AtomicBool,
    over: AtomicBool,
    /// Its place in the hall, and the one of those that are for suspects.
    places: Mutex<(Option<Place>, Option<Place>)>,
    suspect: bool,
}

impl Waiting {
    /// On a connection that takes up a place, and one of those for suspects if it comes from where much led nowhere.
    pub(super) fn new(place: Place, suspect: Option<Place>) -> Self {
        let (called, over, is_suspect) = (AtomicBool::new(false), AtomicBool::new(false), suspect.is_some());
        Self { called, over, places: Mutex::new((Some(place), suspect)), suspect: is_suspect }
    }

    /// Whether it comes from where much led nowhere.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Somebody calls what there is to be called, whoever it may be.
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
