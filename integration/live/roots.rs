//! One root takes over from another under load, and no handshake fails.

use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::scene::{RECONNECT, SOON, Scene};
use crate::harness::tools::{self, Release};
use crate::harness::{Failure, Outcome, timing};
use crate::identity::{authenticated, hands_were_shaken};
use crate::on;
use chancery::ca::rotation::PARTS;
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than the steps of one root take.
const LONG: Duration = Duration::from_secs(60);

/// A new root is trusted, signs, and is the only one, while requests and handshakes go on; and the next, as long as
/// `CHANCERY_SOAK` says. The control, where the release
/// can come back to a server of another authority: one that takes over at once, of which a proxy hears late.
pub async fn a_root_takes_over_under_load(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        authenticated(scene, setup, "1h").await?;
        let roots = scene.chancery.identity().join("root-cert.pem");
        let (mut seen, time, began) = (BTreeSet::from([fs::read_to_string(&roots)?]), timing::soak(0), Instant::now());
        let mut load = scene.traffic();
        load.time = time + LONG;
        let load = load.start();
        while seen.len() == 1 || began.elapsed() < time {
            takes_over(scene).await?;
            let root = fs::read_to_string(&roots)?;
            if root.matches("BEGIN").count() != 1 || !seen.insert(root) {
                return Err(Failure::new("the control: the roots are what they were"));
            }
        }
        let (tally, took) = (load.stopped().await?, began.elapsed().as_secs());
        println!("{} requests, {} roots in {took} s, {} requests failed", tally.answers(), seen.len(), tally.failed);
        tally.clean()?;
        hands_were_shaken(scene).await?;
        match setup.release {
            Release::Newest => another_at_once(scene).await,
            _ => Ok(()),
        }
    })
    .await
}

/// A new root takes over, in three steps.
async fn takes_over(scene: &Scene) -> Outcome<()> {
    for step in ["trust", "sign", "forget"] {
        let before = scene.chancery.api().accepted("sds").await?;
        let said = rotated(scene)?;
        if !said.starts_with(step) {
            return Err(Failure::new(format!("instead of {step} it did this: {said}")));
        }
        scene.chancery.api().moved("sds", &before, SOON).await?;
        // Handshakes as it is now.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    Ok(())
}

/// Makes the next step.
fn rotated(scene: &Scene) -> Outcome<String> {
    let mut command = Command::new(tools::chancery()?);
    command.args(["cert", "rotate", "--now", "--identity"]).arg(scene.chancery.identity());
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(Failure::new(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// An authority that takes over at once, of which the client hears late: until it has, its requests fail.
pub async fn another_at_once(scene: &mut Scene) -> Outcome<()> {
    scene.chancery.kill()?;
    scene.client().freeze()?;
    // Nothing is left of the old one: where anything is, no other is made.
    for part in PARTS.map(|part| scene.chancery.identity().join(part)).iter().filter(|part| part.exists()) {
        fs::remove_file(part)?;
    }
    scene.chancery.restart().await?;
    let api = scene.chancery.api();
    let others: Vec<&str> = scene.envoys[1..].iter().map(|envoy| envoy.node.as_str()).collect();
    api.settled(&others, RECONNECT).await?;
    // Nobody is there to tell the client.
    scene.chancery.kill()?;
    scene.client().thaw()?;
    let load = Load { workers: 20, ..scene.requests(100) };
    if load.run().await?.clean().is_ok() {
        return Err(Failure::new("the control: who trusts another root than its peers have is served"));
    }
    scene.chancery.restart().await?;
    scene.settled_within(RECONNECT).await?;
    scene.requests(100).run().await?.clean()
}
