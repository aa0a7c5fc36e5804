//! Metrics of the process's memory.

use prometheus::{IntGauge, Registry};

/// Metrics of memory. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryMetrics {
    resident: IntGauge,
    limit: IntGauge,
    short: IntGauge,
}

impl MemoryMetrics {
    /// Creates the metrics in `registry`.
    pub(super) fn register(registry: &Registry) -> Self {
        let gauge = |name, help| {
            let gauge = IntGauge::new(name, help).expect("a valid name");
            registry.register(Box::new(gauge.clone())).expect("each name is registered once");
            gauge
        };
        Self {
            resident: gauge("chancery_memory_resident_bytes", "Memory of the process."),
            limit: gauge("chancery_memory_limit_bytes", "How much it may have; 0 if there is no limit."),
            short: gauge("chancery_memory_short", "1 while new streams are refused for want of memory."),
        }
    }

    /// So many bytes are used of those that may be, 0 for any number; and whether new streams are refused because of that.
    pub fn measured(&self, resident: u64, limit: u64, short: bool) {
        self.resident.set(i64::try_from(resident).unwrap_or(i64::MAX));
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.short.set(i64::from(short));
    }
}
