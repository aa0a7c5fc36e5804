//! Metrics of streams that wait for their first configuration or are given it.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Registry};
use std::time::{Duration, Instant};

/// Seconds.
const WAIT_BUCKETS: [f64; 10] = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Metrics of admission. Clones share the counters.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    waiting: IntGauge,
    inside: IntGauge,
    bytes: IntGauge,
    admitted: IntCounter,
    wait: Histogram,
}

impl AdmissionMetrics {
    /// Creates the metrics in `registry`.
    pub(super) fn register(registry: &Registry) -> Self {
        let gauge = |name, help| IntGauge::new(name, help).expect("a valid name");
        let wait = HistogramOpts::new("chancery_xds_admission_wait_seconds", "Time streams waited for their turn.");
        let metrics = Self {
            waiting: gauge("chancery_xds_admission_waiting", "Streams that wait for their first configuration."),
            inside: gauge("chancery_xds_admission_inside", "Streams that are given their first configuration."),
            bytes: gauge("chancery_xds_admission_bytes", "Bytes set aside for them."),
            admitted: IntCounter::new("chancery_xds_admissions_total", "Streams whose turn has come.")
                .expect("a valid name"),
            wait: Histogram::with_opts(wait.buckets(WAIT_BUCKETS.to_vec())).expect("a valid name"),
        };
        for gauge in [&metrics.waiting, &metrics.inside, &metrics.bytes] {
            registry.register(Box::new(gauge.clone())).expect("each name is registered once");
        }
        registry.register(Box::new(metrics.admitted.clone())).expect("each name is registered once");
        registry.register(Box::new(metrics.wait.clone())).expect("each name is registered once");
        metrics
    }

    /// A stream waits for its turn, until the guard is dropped.
    pub fn waits(&self) -> Waiting {
        self.waiting.inc();
        Waiting { metrics: self.clone(), since: Instant::now() }
    }

    /// A stream's turn has come, with that many bytes.
    pub fn admitted(&self, bytes: u64) {
        self.admitted.inc();
        self.inside.inc();
        self.grew(bytes);
    }

    /// A stream needs that many bytes more.
    pub fn grew(&self, bytes: u64) {
        self.bytes.add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A stream's turn is over; it had that many bytes.
    pub fn left(&self, bytes: u64) {
        self.inside.dec();
        self.bytes.sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    fn waited(&self, time: Duration) {
        self.wait.observe(time.as_secs_f64());
    }
}

/// Counts as waiting as long as it lives.
#[derive(Debug)]
pub struct Waiting {
    metrics: AdmissionMetrics,
    since: Instant,
}

impl Waiting {
    /// The turn has come.
    pub fn is_over(self) {
        self.metrics.waited(self.since.elapsed());
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.metrics.waiting.dec();
    }
}
