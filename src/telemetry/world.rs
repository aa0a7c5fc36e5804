//! Metrics of what chancery is and knows: its version, objects and problems, the latter set when somebody scrapes.

use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

/// Metrics of objects and problems. Clones share the gauges.
#[derive(Clone, Debug)]
pub struct WorldMetrics {
    objects: IntGaugeVec,
    problems: IntGaugeVec,
    rejected: IntGaugeVec,
    ready: IntGauge,
}

impl WorldMetrics {
    /// Creates the metrics in `registry`.
    pub(super) fn register(registry: &Registry) -> Self {
        let gauges = |name: &str, help: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &[label]).expect("a valid name");
            registry.register(Box::new(gauges.clone())).expect("each name is registered once");
            gauges
        };
        gauges("chancery_build_info", "The version, always 1.", "version")
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let ready = IntGauge::new("chancery_ready", "1 when nothing is waited for.").expect("a valid name");
        registry.register(Box::new(ready.clone())).expect("each name is registered once");
        Self {
            objects: gauges("chancery_objects", "Objects in effect.", "kind"),
            problems: gauges("chancery_problems", "Problems in objects and files.", "severity"),
            rejected: gauges(
                "chancery_xds_rejected",
                "Resources and virtual hosts that a connected proxy was found to reject.",
                "type",
            ),
            ready,
        }
    }

    /// There are `count` objects of that kind.
    pub fn objects_counted(&self, kind: &str, count: usize) {
        self.objects.with_label_values(&[kind]).set(count as i64);
    }

    /// There are `count` problems of that severity.
    pub fn problems_counted(&self, severity: &str, count: usize) {
        self.problems.with_label_values(&[severity]).set(count as i64);
    }

    /// Connected proxies were found to reject `count` things of that type.
    pub fn rejections_counted(&self, kind: &str, count: usize) {
        self.rejected.with_label_values(&[kind]).set(count as i64);
    }

    /// Whether the process is ready.
    pub fn readiness_seen(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }
}
