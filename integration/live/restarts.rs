//! The control plane dies, comes back, or ends politely; applications notice nothing.

use crate::crowd::Crowd;
use crate::floods::raise_limit;
use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{RECONNECT, SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline, split, timing};
use crate::on;
use std::time::{Duration, Instant};

/// How many proxies a crowd has, and in the long form.
const CROWD: [usize; 2] = [300, 2000];
/// How long all of them may take until they are back.
const BACK: Duration = Duration::from_secs(30);
/// Envoy's name of the cluster of a subset.
const SUBSET: &str = "outbound|8080|v1|echo.first-light.svc.cluster.local";

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

/// The same with a crowd of proxies besides: all are back and have accepted everything within half a minute, nothing was taken from
/// anybody, and what changes then arrives. The control: what is really gone is taken from everybody.
pub async fn a_crowd_comes_back_after_a_crash(setup: Setup) -> Outcome<()> {
    raise_limit()?;
    on(Scene::open(setup).await?, async |scene| {
        let count = if timing::is_soak() { CROWD[1] } else { CROWD[0] };
        let crowd = Crowd::gather(count, &scene.client().node, scene.chancery.xds);
        crowd.settled(1, BACK).await?;
        let load = Load { time: 4 * BACK, ..scene.traffic() }.start();
        scene.chancery.kill()?;
        disconnected(scene).await?;
        scene.chancery.restart().await?;
        let begun = Instant::now();
        scene.settled_within(BACK).await?;
        crowd.settled(2, BACK.saturating_sub(begun.elapsed())).await?;
        println!("{count} proxies are back after {:?}", begun.elapsed());
        let before = crowd.version(SUBSET)?;
        let text = scene.folder.read(TRAFFIC)?;
        scene.folder.replace(TRAFFIC, &text.replace("connectTimeout: 2s", "connectTimeout: 3s"))?;
        crowd.moved(SUBSET, &before, BACK).await?;
        let removed = crowd.removed();
        if !removed.is_empty() {
            return Err(Failure::new(format!("taken from somebody: {removed:?}")));
        }
        load.stopped().await?.clean()?;
        scene.folder.remove(TRAFFIC)?;
        crowd.has_lost(SUBSET, BACK).await
    })
    .await
}

/// The manifests are written again as they are, and then with other labels, annotations, resource versions and statuses:
/// nothing is sent. The control: an edit is sent, and only what it is about.
pub async fn equal_manifests_send_nothing(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let before = scene.pushes().await?;
        let text = scene.folder.read(TRAFFIC)?;
        for name in scene.folder.names()? {
            scene.folder.replace(&name, &scene.folder.read(&name)?)?;
        }
        let mut touched = 0;
        for name in scene.folder.names()? {
            let text = scene.folder.read(&name)?;
            let again = rewritten(&text);
            touched += usize::from(again != text);
            scene.folder.replace(&name, &again)?;
        }
        // What is written later is read later.
        scene.reroute(&reweighted(&rewritten(&text), &[("v1", 50), ("v2", 50)])).await?;
        if touched < 2 {
            return Err(Failure::new(format!("{touched} files were changed")));
        }
        let after = scene.pushes().await?;
        let more =
            |kind: &str| after.get(kind).copied().unwrap_or_default() - before.get(kind).copied().unwrap_or_default();
        let sent = ["cds", "eds", "lds", "rds", "sds"].map(|kind| (kind, more(kind)));
        let right = sent.iter().all(|(kind, count)| if *kind == "rds" { (1..=3).contains(count) } else { *count == 0 });
        if right { Ok(()) } else { Err(Failure::new(format!("sent after an edit of the routes: {sent:?}"))) }
    })
    .await
}

/// Objects with other labels, annotations, resource versions and, where they have none, statuses: nothing that means anything
/// to a proxy.
fn rewritten(text: &str) -> String {
    let document = |document: &str| {
        let mut text = String::new();
        for line in document.lines() {
            text += &line.replacen(
                "  labels: {",
                "  labels: {example.com/written: again, ",
                usize::from(line.starts_with("  l")),
            );
            text.push('\n');
            if line == "metadata:" {
                text += "  resourceVersion: '4711'\n  annotations: {example.com/written: again}\n";
            }
        }
        let has_status = document.lines().any(|line| line.starts_with("status:"));
        if has_status { text } else { text + "status: {observedGeneration: 7}\n" }
    };
    text.split("---\n").map(document).collect::<Vec<_>>().join("---\n")
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
