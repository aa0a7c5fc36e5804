//! Metrics of what is written to the API server: statuses and events.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Metrics of the writing. Clones share the counters.
#[derive(Clone, Debug)]
pub struct StatusMetrics {
    leader: IntGauge,
    waiting: IntGauge,
    writes: IntCounterVec,
    events: IntCounterVec,
    dropped: IntCounter,
}

impl StatusMetrics {
    /// Creates the metrics in `registry`.
    pub(super) fn register(registry: &Registry) -> Self {
        let gauge = |name, help| IntGauge::new(name, help).expect("a valid name");
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["result"]).expect("a valid name");
            registry.register(Box::new(counters.clone())).expect("each name is registered once");
            counters
        };
        let metrics = Self {
            leader: gauge("chancery_leader", "1 while this process writes status and events."),
            waiting: gauge("chancery_status_waiting", "Statuses that wait to be written."),
            writes: counters("chancery_status_writes_total", "Attempts to write a status."),
            events: counters(
                "chancery_status_events_total",
                "Attempts to tell of a rejection or a broken object with an Event.",
            ),
            dropped: IntCounter::new("chancery_status_dropped_total", "Statuses for which there was no room.")
                .expect("a valid name"),
        };
        for gauge in [&metrics.leader, &metrics.waiting] {
            registry.register(Box::new(gauge.clone())).expect("each name is registered once");
        }
        registry.register(Box::new(metrics.dropped.clone())).expect("each name is registered once");
        metrics
    }

    /// Whether this process leads now.
    pub fn led(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// So many statuses wait.
    pub fn waited(&self, count: usize) {
        self.waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A status was written, or not.
    pub fn wrote(&self, result: &str) {
        self.writes.with_label_values(&[result]).inc();
    }

    /// An Event was made, or not.
    pub fn event_sent(&self, result: &str) {
        self.events.with_label_values(&[result]).inc();
    }

    /// There was no room for so many.
    pub fn dropped(&self, count: u64) {
        self.dropped.inc_by(count);
    }
}
