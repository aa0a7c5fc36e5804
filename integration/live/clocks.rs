//! F24: clocks that are ten minutes ahead or behind, the server's, set under load, and those of proxies. Nobody loses a request or a
//! handshake.

use crate::expiring::{metric, moves};
use crate::harness::clock::Clock as Set;
use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{HOST, RECONNECT, SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline};
use crate::identity::{authenticated, hands_were_shaken};
use crate::on;
use chancery::clock::Clock;
use std::time::{Duration, SystemTime};

const TEN_MINUTES: i64 = 600;
const TWO_DAYS: i64 = 2 * 24 * 3600;
/// Longer than all steps take.
const LONG: Duration = Duration::from_secs(120);

/// The server's clock jumps ahead, back by twice as much, and is right again: requests and handshakes go on, edits arrive, and who
/// comes is let in and believed by who was there. The control: when it is days ahead, who comes is not let in; and it recovers alone.
pub async fn a_clock_that_is_set_harms_nobody(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        let clock = Set::new(scene.files.path(), "chancery")?;
        scene.chancery.follow(&clock);
        authenticated(scene, setup, "1h").await?;
        scene.reroute(&reweighted(&scene.folder.read(TRAFFIC)?, &[("v1", 100), ("v2", 0)])).await?;
        let load = Load::steady(scene.http(), HOST, LONG).start();
        for ahead in [TEN_MINUTES, -TEN_MINUTES, 0] {
            clock.set(ahead)?;
            drop(scene.envoys.pop());
            edited(scene, ahead).await?;
            let late = scene.started("echo-v2", setup).await?;
            scene.envoys.push(late);
            scene.settled_within(RECONNECT).await?;
            serves(scene).await.map_err(|failure| failure.with(&format!("{ahead} s ahead")))?;
        }
        load.stopped().await?.clean()?;
        hands_were_shaken(scene).await?;
        clock.set(TWO_DAYS)?;
        drop(scene.envoys.pop());
        is_to_come(scene).await?;
        let late = scene.launched_of("echo-v2", setup)?;
        let refused = async || metric(scene, "chancery_xds_refusals_total", &[("reason", "handshake")]).await;
        let some = async || (refused().await? > 0.0).then_some(());
        deadline::until("who comes doesn't believe it", RECONNECT, some).await?;
        if late.is_ready().await == Some(true) {
            return Err(Failure::new("the control: a proxy was configured by a server whose certificate is to come"));
        }
        scene.envoys.push(late);
        clock.set(0)?;
        scene.settled_within(2 * RECONNECT).await?;
        serves(scene).await
    })
    .await
}

/// A proxy that is ten minutes behind asks one that is ten minutes ahead: each takes the other's certificate, that of the server, and the
/// next ones. The control: days behind it takes none.
pub async fn proxies_that_are_early_or_late_are_served(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        for (pod, ahead) in [("client", -TEN_MINUTES), ("echo-v1", TEN_MINUTES)] {
            let clock = Set::new(scene.files.path(), pod)?;
            clock.set(ahead)?;
            scene.clocks.insert(pod, clock);
        }
        authenticated(scene, setup, "1h").await?;
        scene.requests(200).run().await?.clean()?;
        let load = scene.traffic().start();
        scene.chancery.kill()?;
        scene.chancery.restart().await?;
        scene.settled_within(RECONNECT).await?;
        load.stopped().await?.clean()?;
        hands_were_shaken(scene).await?;
        let client = &scene.clocks["client"];
        client.set(-TWO_DAYS)?;
        if scene.requests(200).run().await?.clean().is_ok() {
            return Err(Failure::new("the control: who is days behind takes what is to come"));
        }
        client.set(-TEN_MINUTES)?;
        scene.requests(200).run().await?.clean()
    })
    .await
}

/// Waits until the server shows a certificate that ends later than any that was signed by the machine's clock.
async fn is_to_come(scene: &Scene) -> Outcome<()> {
    let later = Clock::system().now() as f64 + TWO_DAYS as f64;
    let ends = async || metric(scene, "chancery_ca_expiry_timestamp_seconds", &[("certificate", "server")]).await;
    let another = async || (ends().await? > later).then_some(());
    deadline::until("another certificate is shown", RECONNECT, another).await
}

/// An edit arrives. The control: by the server's clock it did so as far from now as that was set.
async fn edited(scene: &Scene, ahead: i64) -> Outcome<()> {
    let at = moves(scene, "tester", "critic").await?;
    moves(scene, "critic", "tester").await?;
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let off = seconds(at) as i64 - seconds(SystemTime::now()) as i64 - ahead;
    match off.abs() {
        ..10 => Ok(()),
        _ => Err(Failure::new(format!("the control: the server's clock is {off} s from where it was set"))),
    }
}

/// Requests reach the second version, with handshakes among them.
async fn serves(scene: &Scene) -> Outcome<()> {
    let asked = async || scene.ask(&[("x-user", "tester")]).await;
    deadline::until("it serves", SOON, async || asked().await.ok()?.status.is_success().then_some(())).await?;
    for _ in 0..20 {
        let status = asked().await?.status;
        if !status.is_success() {
            return Err(Failure::new(format!("it answered {status}")));
        }
    }
    Ok(())
}
