//! Connections grow old and are replaced; Envoys notice nothing.

use crate::harness::client::Client;
use crate::harness::envoy::Setup;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use serde_json::Value;
use std::time::Duration;

/// How long Envoys may take to be on their third connection.
const RENEWED: Duration = Duration::from_secs(30);

/// Every Envoy is asked to come anew several times under load: no error, and nothing it holds is applied anew. The
/// control is an edit, which is.
pub async fn a_connection_that_is_too_old_changes_nothing(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        scene.chancery.flags = ["--max-connection-age", "2s"].map(str::to_owned).to_vec();
        scene.chancery.kill()?;
        scene.chancery.restart().await?;
        scene.settled_within(Duration::from_secs(12)).await?;
        let before = held(scene).await?;
        let load = scene.traffic().start();
        let admin = scene.chancery.admin;
        let renewed = async || (aged(admin).await? >= 6).then_some(());
        deadline::until("every Envoy has come anew twice", RENEWED, renewed).await?;
        scene.settled_within(Duration::from_secs(12)).await?;
        load.stopped().await?.clean()?;
        if held(scene).await? != before {
            return Err(Failure::new("an Envoy has applied something anew"));
        }
        let edited = reweighted(&scene.folder.read(TRAFFIC)?, &[("v1", 50), ("v2", 50)]);
        scene.folder.replace(TRAFFIC, &edited)?;
        let applied = async || held(scene).await.is_ok_and(|held| held != before).then_some(());
        deadline::until("the edit is applied", Duration::from_secs(12), applied).await
    })
    .await
}

/// What every Envoy holds, with the time at which it was applied.
async fn held(scene: &Scene) -> Outcome<Vec<Value>> {
    let mut held = Vec::new();
    for envoy in &scene.envoys {
        for resource in ["dynamic_active_clusters", "dynamic_listeners", "dynamic_route_configs"] {
            let dump = envoy.dump(resource).await?;
            if dump.is_empty() {
                return Err(Failure::new(format!("{} has no {resource}", envoy.node)));
            }
            held.extend(dump);
        }
    }
    Ok(held)
}

/// How many streams have ended because their connection was too old.
async fn aged(admin: std::net::SocketAddr) -> Option<u64> {
    let text = Client::default().text(admin, "/metrics").await.ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(r#"chancery_xds_stream_ends_total{reason="aged"} "#));
    line?.parse().ok()
}
