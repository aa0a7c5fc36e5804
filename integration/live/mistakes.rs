//! A user's mistake: reported, and without effect on traffic.

use crate::harness::api::Problem;
use crate::harness::envoy::Wire;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline, split};
use crate::on;

/// Three ways to break the file that routes requests: cut off, a wrong value, not text at all.
pub async fn a_broken_manifest_changes_nothing_and_is_reported(wire: Wire) -> Outcome<()> {
    on(Scene::open(wire).await?, async |scene| {
        let good = scene.folder.read(TRAFFIC)?;
        let cut = &good[..good.find("weight: 90").ok_or_else(|| Failure::new("no weight"))?];
        let wrong = good.replace("weight: 90", "weight: ninety");
        let broken: [&[u8]; 3] = [cut.as_bytes(), wrong.as_bytes(), b"kind: \xff\xfe"];
        let before = scene.chancery.api().accepted("rds").await?;
        let load = scene.traffic().start();
        for bytes in broken {
            scene.folder.overwrite(TRAFFIC, bytes)?;
            reported(scene, true).await?;
            helpful(&scene.chancery.api().problems().await?, bytes == wrong.as_bytes())?;
            scene.folder.replace(TRAFFIC, &good)?;
            reported(scene, false).await?;
        }
        if scene.chancery.api().accepted("rds").await? != before {
            return Err(Failure::new("a broken file changed the routes"));
        }
        let tally = load.stopped().await?;
        tally.clean()?;
        split::check(&tally, &[("v1", 0.9), ("v2", 0.1)])?;
        scene.reroute(&reweighted(&good, &[("v1", 0), ("v2", 100)])).await?;
        split::check(&scene.requests(100).run().await?, &[("v2", 1.0)])
    })
    .await
}

/// A report has words; that of a wrong value also names the object and the line.
fn helpful(problems: &[Problem], wrong_value: bool) -> Outcome<()> {
    let speaks = problems.iter().all(|problem| !problem.text.is_empty());
    let names = problems.iter().any(|problem| {
        problem.line.is_some() && problem.object.as_ref().is_some_and(|object| object.contains("VirtualService"))
    });
    if speaks && (names || !wrong_value) {
        Ok(())
    } else {
        Err(Failure::new(format!("the report doesn't help: {problems:#?}")))
    }
}

/// Waits until a problem with the file is reported, or no longer is.
async fn reported(scene: &Scene, there: bool) -> Outcome<()> {
    let what = if there { "the mistake is reported" } else { "the report is withdrawn" };
    deadline::until(what, SOON, async || {
        let problems = scene.chancery.api().problems().await.ok()?;
        let found = problems.iter().any(|problem| problem.file.as_ref().is_some_and(|file| file.ends_with(TRAFFIC)));
        (found == there).then_some(())
    })
    .await
}
