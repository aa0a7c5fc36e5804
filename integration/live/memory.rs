//! The limit of memory: near it chancery takes no new streams.

use crate::harness::api::Api;
use crate::harness::envoy::{Setup, Wire};
use crate::harness::scene::{SOON, Scene};
use crate::harness::tools::Release;
use crate::harness::{Outcome, deadline};
use crate::on;
use std::time::Duration;

/// How long Envoy may take to come back: its back-off is at most five seconds.
const RECONNECT: Duration = Duration::from_secs(12);
/// For how long nothing may be given.
const ALONE: Duration = Duration::from_secs(2);

async fn metric(api: &Api, name: &str) -> Outcome<f64> {
    Ok(api.metrics().await?.sum(name, &[]))
}

/// Below what it has anyway, an Envoy is refused; the control is a limit above it, where it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn near_the_limit_new_proxies_are_refused() -> Outcome<()> {
    on(Scene::prepared().await?, async |scene| {
        scene.chancery.kill()?;
        scene.chancery.flags = vec!["--memory-limit-mib=1".to_owned()];
        scene.chancery.restart().await?;
        let api = scene.chancery.api();
        let short = async || (metric(&api, "chancery_memory_short").await.ok()? == 1.0).then_some(());
        deadline::until("there is too little memory", SOON, short).await?;
        scene.envoys = vec![scene.launched(Setup::new(Wire::Delta, Release::Newest))?];
        deadline::until("it is refused", RECONNECT, async || {
            let refused = api.metrics().await.ok()?.sum("chancery_xds_refusals_total", &[("reason", "memory")]);
            (refused > 0.0).then_some(())
        })
        .await?;
        let envoy = scene.client();
        deadline::throughout("it is given nothing", ALONE, async || envoy.is_ready().await != Some(true)).await?;
        scene.chancery.kill()?;
        scene.chancery.flags = vec!["--memory-limit-mib=4096".to_owned()];
        scene.chancery.restart().await?;
        let envoy = scene.client();
        let ready = async || (envoy.is_ready().await == Some(true)).then_some(());
        deadline::until("it is taken", RECONNECT, ready).await
    })
    .await
}
