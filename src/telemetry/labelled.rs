//! Counters of one label whose values are known: each is looked up once, not at every event.
//!
//! One is there from its first event on, as it is without this.

use prometheus::{IntCounter, IntCounterVec};
use std::sync::{Arc, OnceLock};

/// The counters of a metric, by the last of its labels. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Labelled {
    counters: IntCounterVec,
    /// The values of the labels before.
    first: Vec<&'static str>,
    known: Arc<[(&'static str, OnceLock<IntCounter>)]>,
}

impl Labelled {
    /// The counters with these values of all labels but the last, which has one of `values`.
    pub(super) fn new(counters: &IntCounterVec, first: &[&'static str], values: &[&'static str]) -> Self {
        let known = values.iter().map(|value| (*value, OnceLock::new())).collect();
        Self { counters: counters.clone(), first: first.to_vec(), known }
    }

    /// The metric itself.
    pub(super) fn metric(&self) -> &IntCounterVec {
        &self.counters
    }

    /// Counts so many events of a value.
    pub(super) fn add(&self, value: &str, count: u64) {
        let find = || {
            let labels: Vec<&str> = self.first.iter().copied().chain([value]).collect();
            self.counters.with_label_values(&labels)
        };
        match self.known.iter().find(|(known, _)| *known == value) {
            Some((_, counter)) => counter.get_or_init(find).inc_by(count),
            None => find().inc_by(count),
        }
    }
}
