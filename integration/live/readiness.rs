//! When a proxy says it is ready, and when it no longer does.

use crate::harness::client::Answer;
use crate::harness::envoy::{Envoy, Setup};
use crate::harness::scene::{RECONNECT, SOON, Scene};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use std::time::Duration;

/// How long the proxy is watched while it must not be ready.
const ALONE: Duration = Duration::from_secs(1);

/// Not ready while chancery can't be reached; ready when its first listeners are open, and from then on whatever becomes
/// of chancery; not ready again when it is told to drain.
pub async fn a_proxy_is_ready_when_its_first_listeners_are(setup: Setup) -> Outcome<()> {
    on(Scene::prepared().await?, async |scene| {
        scene.chancery.kill()?;
        scene.envoys = vec![scene.launched(setup)?];
        let envoy = scene.client();
        let asked = async || envoy.stat("cluster.xds;.upstream_cx_connect_fail").await.ok()?.filter(|count| *count > 0);
        deadline::until("Envoy is up and finds nobody", SOON, asked).await?;
        deadline::throughout("Envoy isn't ready", ALONE, async || envoy.is_ready().await != Some(true)).await?;
        scene.chancery.restart().await?;
        let envoy = scene.client();
        let ready = async || (envoy.is_ready().await == Some(true)).then_some(());
        deadline::until("Envoy is ready", RECONNECT, ready).await?;
        tokio::net::TcpStream::connect(scene.http()).await?;
        scene.chancery.kill()?;
        let envoy = scene.client();
        let alone = async || (envoy.stat("control_plane.connected_state").await.ok()? == Some(0)).then_some(());
        deadline::until("Envoy has noticed", SOON, alone).await?;
        readiness(envoy, true).await?;
        envoy.tell("/healthcheck/fail").await?;
        readiness(envoy, false).await
    })
    .await
}

/// Told to drain, a proxy answers what it is asked, and ends each connection with an answer.
pub async fn connections_end_with_an_answer(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let ends = |answer: &Answer| answer.headers.get("connection").is_some_and(|value| value == "close");
        if ends(&scene.ask(&[]).await?) {
            return Err(Failure::new("the control: a connection ends although nobody drains"));
        }
        scene.client().tell("/drain_listeners?graceful").await?;
        let ended = async || match scene.ask(&[]).await {
            Ok(answer) if answer.status == 200 => ends(&answer).then_some(Ok(())),
            Ok(answer) => Some(Err(Failure::new(format!("while draining: {}", answer.status)))),
            Err(failure) => Some(Err(failure)),
        };
        deadline::until("an answer ends its connection", SOON, ended).await?
    })
    .await
}

async fn readiness(envoy: &Envoy, expected: bool) -> Outcome<()> {
    let found = envoy.is_ready().await;
    if found == Some(expected) { Ok(()) } else { Err(Failure::new(format!("ready: {found:?}, not {expected}"))) }
}
