//! The publisher's metrics: what a change of the World costs.

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};

/// Seconds; from one endpoint to a mesh-wide change.
const BUCKETS: [f64; 12] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The publisher's metrics. Clones share the counters.
#[derive(Clone, Debug)]
pub struct PublishMetrics {
    seconds: Histogram,
    selected: IntCounter,
    built: IntCounter,
    posted: IntCounter,
    kept_back: IntCounter,
    faults: IntCounter,
    losses: IntCounter,
}

/// What one step did, in numbers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Step {
    /// How long it took.
    pub seconds: f64,
    /// Computations done again.
    pub selected: usize,
    /// Resources and virtual hosts built and encoded.
    pub built: usize,
    /// Layers posted.
    pub posted: usize,
    /// Rules broken by layers that were kept back.
    pub kept_back: usize,
    /// Computations that failed.
    pub faults: usize,
    /// Kinds of which many resources are gone at once.
    pub losses: usize,
}

impl PublishMetrics {
    /// Creates the metrics in `registry`.
    pub(super) fn register(registry: &Registry) -> Self {
        let seconds = HistogramOpts::new("chancery_publish_seconds", "Time to compute what a change reaches.");
        let seconds = Histogram::with_opts(seconds.buckets(BUCKETS.to_vec())).expect("a valid name");
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect("a valid name");
            registry.register(Box::new(counter.clone())).expect("each name is registered once");
            counter
        };
        registry.register(Box::new(seconds.clone())).expect("each name is registered once");
        Self {
            seconds,
            selected: counter("chancery_publish_selected_total", "Computations done again because of a change."),
            built: counter("chancery_publish_built_total", "Resources and virtual hosts built and encoded."),
            posted: counter("chancery_publish_posted_total", "Layers posted for audiences and workloads."),
            kept_back: counter("chancery_publish_kept_back_total", "Faults of ours that lint kept from proxies."),
            faults: counter("chancery_publish_faults_total", "Computations that failed, a fault of ours."),
            losses: counter("chancery_publish_losses_total", "Times many resources of a kind were gone at once."),
        }
    }

    /// The publisher has done a step.
    pub fn stepped(&self, step: Step) {
        self.seconds.observe(step.seconds);
        self.selected.inc_by(step.selected as u64);
        self.built.inc_by(step.built as u64);
        self.posted.inc_by(step.posted as u64);
        self.kept_back.inc_by(step.kept_back as u64);
        self.faults.inc_by(step.faults as u64);
        self.losses.inc_by(step.losses as u64);
    }
}
