//! What the process says about itself: logs, metrics, readiness.
//!
//! Every subsystem reaches its own metrics struct through [`Metrics`]; no metric name is written anywhere else. No logic
//! of the product belongs here.

pub mod admission;
pub mod kubernetes;
mod labelled;
pub mod logging;
pub mod memory;
pub mod publish;
pub mod readiness;
pub mod security;
pub mod status;
pub mod world;
pub mod xds;

use admission::AdmissionMetrics;
use kubernetes::KubernetesMetrics;
use memory::MemoryMetrics;
use prometheus::{Registry, TextEncoder};
use publish::PublishMetrics;
use security::SecurityMetrics;
use status::StatusMetrics;
use world::WorldMetrics;
use xds::XdsMetrics;

/// Every metric of the process, one struct per subsystem.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Metrics of streams' first configuration.
    pub admission: AdmissionMetrics,
    /// Metrics of what is watched in a cluster.
    pub kubernetes: KubernetesMetrics,
    /// Metrics of the process's memory.
    pub memory: MemoryMetrics,
    /// The publisher's metrics.
    pub publish: PublishMetrics,
    /// Metrics of the certificate authority.
    pub security: SecurityMetrics,
    /// Metrics of what is written to the API server.
    pub status: StatusMetrics,
    /// Metrics of objects and problems.
    pub world: WorldMetrics,
    /// The xDS server's metrics.
    pub xds: XdsMetrics,
}

impl Metrics {
    /// Registers every metric with a registry of its own, so that two servers in one process don't share counters.
    pub fn new() -> Self {
        let registry = Registry::new();
        let admission = AdmissionMetrics::register(&registry);
        let kubernetes = KubernetesMetrics::register(&registry);
        let memory = MemoryMetrics::register(&registry);
        let publish = PublishMetrics::register(&registry);
        let security = SecurityMetrics::register(&registry);
        let status = StatusMetrics::register(&registry);
        let world = WorldMetrics::register(&registry);
        let xds = XdsMetrics::register(&registry);
        Self { registry, admission, kubernetes, memory, publish, security, status, world, xds }
    }

    /// Every metric in the Prometheus text format.
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).expect("our own metric names and labels are valid")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
