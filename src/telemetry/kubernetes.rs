//! Metrics of what is watched in a cluster, by kind: the resource's name with its group, as `kubectl get` takes it.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use std::time::{SystemTime, UNIX_EPOCH};

/// Metrics of the watches. Clones share the counters.
#[derive(Clone, Debug)]
pub struct KubernetesMetrics {
    objects: IntGaugeVec,
    synced: IntGaugeVec,
    last_event: IntGaugeVec,
    relists: IntCounterVec,
    failures: IntCounterVec,
}

impl KubernetesMetrics {
    /// Creates the metrics in `registry`.
    pub(super) fn register(registry: &Registry) -> Self {
        let gauges = |name: &str, help: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["kind"]).expect("a valid name");
            registry.register(Box::new(gauges.clone())).expect("each name is registered once");
            gauges
        };
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["kind", "reason"]).expect("a valid name");
            registry.register(Box::new(counters.clone())).expect("each name is registered once");
            counters
        };
        Self {
            objects: gauges("chancery_kubernetes_objects", "Objects the API server has, as far as is known."),
            synced: gauges("chancery_kubernetes_synced", "1 while what is known follows the API server."),
            last_event: gauges(
                "chancery_kubernetes_last_event_timestamp_seconds",
                "When the watch was last heard of; bookmarks count.",
            ),
            relists: counters("chancery_kubernetes_relists_total", "Times a kind had to be listed again, and why."),
            failures: counters(
                "chancery_kubernetes_failures_total",
                "Lists and watches that failed; each is tried again.",
            ),
        }
    }

    /// There are so many objects of a kind; `synced`: and what is known follows the API server.
    pub fn counted(&self, kind: &str, objects: usize, synced: bool) {
        self.objects.with_label_values(&[kind]).set(i64::try_from(objects).unwrap_or(i64::MAX));
        self.synced.with_label_values(&[kind]).set(i64::from(synced));
    }

    /// The watch of a kind said something.
    pub fn heard(&self, kind: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.last_event.with_label_values(&[kind]).set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// A kind was listed again.
    pub fn relisted(&self, kind: &str, reason: &str) {
        self.relists.with_label_values(&[kind, reason]).inc();
    }

    /// A list or a watch of a kind failed, and is tried again.
    pub fn failed(&self, kind: &str, reason: &str) {
        self.failures.with_label_values(&[kind, reason]).inc();
    }
}
