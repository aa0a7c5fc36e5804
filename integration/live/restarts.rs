//! The control plane dies, comes back, or ends politely; applications notice nothing.

use crate::harness::envoy::Setup;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline, split};
use crate::on;
use std::time::Duration;

/// How long Envoys may take to come back: their retry back-off is at most five seconds.
const RECONNECT: Duration = Duration::from_secs(12);

/// Killed and started again under load: no error, everything accepted afterwards, also what changed meanwhile.
pub async fn a_crash_and_restart_are_not_noticed(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let load = scene.traffic().start();
        scene.chancery.kill()?;
        disconnected(scene).await?;
        let meanwhile = reweighted(&scene.folder.read(TRAFFIC)?, &[("v1", 50), ("v2", 50)]);
        scene.folder.replace(TRAFFIC, &meanwhile)?;
        scene.requests(100).run().await?.clean()?;
        scene.chancery.restart().await?;
        scene.settled_within(RECONNECT).await?;
        load.stopped().await?.clean()?;
        let tally = scene.requests(600).run().await?;
        tally.clean()?;
        split::check(&tally, &[("v1", 0.5), ("v2", 0.5)])
    })
    .await
}

/// Asked to end, it ends with status 0, and its Envoys go on with what they have.
pub async fn a_polite_end_is_clean(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let load = scene.traffic().start();
        let status = scene.chancery.terminate(Duration::from_secs(10)).await?;
        if !status.success() {
            return Err(Failure::new(format!("chancery ended with {status}")));
        }
        disconnected(scene).await?;
        scene.requests(100).run().await?.clean()?;
        load.stopped().await?.clean()
    })
    .await
}

async fn disconnected(scene: &Scene) -> Outcome<()> {
    for envoy in &scene.envoys {
        let what = format!("{} has noticed", envoy.node);
        let gone = async || (envoy.stat("control_plane.connected_state").await.ok()? == Some(0)).then_some(());
        deadline::until(&what, SOON, gone).await?;
    }
    Ok(())
}
