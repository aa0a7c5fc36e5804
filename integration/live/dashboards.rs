//! The alerts and dashboards that are installed, put to a real Prometheus that scrapes chancery and real Envoys between which
//! requests travel with mutual TLS.

use crate::harness::envoy::Setup;
use crate::harness::monitoring::{answered, expressions, mistakes_are_seen};
use crate::harness::prometheus::Prometheus;
use crate::harness::scene::{Scene, TRAFFIC};
use crate::harness::{Failure, Outcome};
use crate::identity::authenticated;
use crate::{on, queries};
use std::collections::BTreeSet;

/// What is counted from its first event on, and happens to nobody here.
const RARE: [&str; 3] =
    ["chancery_xds_large_messages_total", "chancery_xds_refusals_total", "chancery_xds_stream_ends_total"];
/// What is only there in a cluster.
const OF_CLUSTERS: [&str; 7] = [
    "chancery_kubernetes_failures_total",
    "chancery_kubernetes_last_event_timestamp_seconds",
    "chancery_kubernetes_objects",
    "chancery_kubernetes_relists_total",
    "chancery_kubernetes_synced",
    "chancery_status_events_total",
    "chancery_status_writes_total",
];

/// Every expression is understood, and answered where it asks for what is there.
pub async fn what_is_installed_is_answered(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        let rules = scene.folder.read(TRAFFIC)?;
        let watched =
            rules.replace("  trafficPolicy:\n", "  trafficPolicy:\n    outlierDetection: {consecutive5xxErrors: 50}\n");
        scene.folder.replace(TRAFFIC, &watched)?;
        authenticated(scene, Setup { prompt: true, ..setup }, "1h").await?;
        let prometheus = Prometheus::start(scene.subnet.free(1)?, &queries::targets(scene), scene.files.path()).await?;
        for _ in 0..3 {
            scene.requests(50).run().await?.clean()?;
        }
        let unknown = answered(&prometheus, &expressions()?).await;
        let unknown = unknown.map_err(|failure| failure.with(&prometheus.tail()))?;
        let allowed: BTreeSet<String> = RARE.iter().chain(&OF_CLUSTERS).map(|name| (*name).to_owned()).collect();
        if let Some(strange) = unknown.difference(&allowed).next() {
            return Err(Failure::new(format!("{strange} is scraped nowhere: {unknown:?}")));
        }
        mistakes_are_seen(&prometheus, "chancery_xds_requests_total").await
    })
    .await
}
