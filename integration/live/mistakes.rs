//! A user's mistake: reported, and without effect on traffic.

use crate::harness::api::Problem;
use crate::harness::envoy::Setup;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{HOST, NAMESPACE, SOON, Scene, TRAFFIC, WORKLOADS};
use crate::harness::{Failure, Outcome, deadline, split};
use crate::on;
use serde_json::json;

/// Requests while a file is broken: enough to tell the rule in effect from the even split that would be without it.
const BROKEN: u64 = 100;
/// What the rule in effect says.
const SHARES: [split::Share<'_>; 2] = [("v1", 0.9), ("v2", 0.1)];

/// Three ways to break the file that routes requests: cut off, a wrong value, not text at all.
pub async fn a_broken_manifest_changes_nothing_and_is_reported(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let good = scene.folder.read(TRAFFIC)?;
        // Cut inside braces: a file that is cut between two lines is often whole YAML, only with another meaning.
        let cut =
            &good[..good.find("}\n      weight: 90").ok_or_else(|| Failure::new("the example has other weights"))?];
        let wrong = good.replace("weight: 90", "weight: ninety");
        let broken: [&[u8]; 3] = [cut.as_bytes(), wrong.as_bytes(), b"kind: \xff\xfe"];
        let before = scene.chancery.api().accepted("rds").await?;
        let load = scene.traffic().start();
        for bytes in broken {
            scene.folder.overwrite(TRAFFIC, bytes)?;
            let what = if bytes == wrong.as_bytes() { placed } else { about_the_file };
            reported("the mistake is reported", scene, what).await?;
            split::check(&scene.requests(BROKEN).run().await?, &SHARES)?;
            scene.folder.replace(TRAFFIC, &good)?;
            reported("the report is withdrawn", scene, |problems| !about_the_file(problems)).await?;
        }
        if scene.chancery.api().accepted("rds").await? != before {
            return Err(Failure::new("a broken file changed the routes"));
        }
        let tally = load.stopped().await?;
        tally.clean()?;
        split::check(&tally, &SHARES)?;
        scene.reroute(&reweighted(&good, &[("v1", 0), ("v2", 100)])).await?;
        split::check(&scene.requests(100).run().await?, &[("v2", 1.0)])
    })
    .await
}

/// A rule that is as large as an API server takes one, of a thousand hosts and twenty thousand destinations, is read and told of, and
/// nobody's changes wait for it. The control: it is in effect as far as that something is said of its last host.
pub async fn a_large_rule_holds_nobody_up(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let hosts: Vec<String> = (0..1_000).map(|number| format!("host-{number}")).collect();
        let rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "large", "namespace": NAMESPACE},
            "spec": {"hosts": hosts, "http": [{"route": vec![json!({"destination": {"host": HOST}, "weight": 1}); 20_000]}]}});
        scene.folder.replace("large.yaml", &rule.to_string())?;
        reported("its last host is told of", scene, |problems| {
            problems.iter().any(|problem| problem.text.contains("host-999."))
        })
        .await?;
        let good = scene.folder.read(TRAFFIC)?;
        scene.reroute(&reweighted(&good, &[("v1", 0), ("v2", 100)])).await?;
        // What it names changes, so it is looked at again.
        let workloads = scene.folder.read(WORKLOADS)?;
        let other = workloads.replace("name: tcp", "name: tcp-other");
        if other == workloads {
            return Err(Failure::new("the example has another port than this test knows"));
        }
        scene.folder.replace(WORKLOADS, &other)?;
        scene.reroute(&reweighted(&good, &[("v1", 100), ("v2", 0)])).await.map(drop)
    })
    .await
}

/// Whether something is said about the file, in words.
fn about_the_file(problems: &[Problem]) -> bool {
    let ours = |problem: &Problem| problem.file.as_ref().is_some_and(|file| file.ends_with(TRAFFIC));
    problems.iter().any(|problem| ours(problem) && !problem.text.is_empty())
}

/// Whether one thing is said that names the object, the line, and what is in effect all the same.
fn placed(problems: &[Problem]) -> bool {
    let object = |problem: &&Problem| problem.object.as_ref().is_some_and(|object| object.contains("VirtualService"));
    let said: Vec<_> = problems.iter().filter(object).collect();
    let [said] = said[..] else { return false };
    let earlier = said.effect.as_ref().is_some_and(|effect| effect.contains("the version read before stays in effect"));
    about_the_file(problems) && said.line.is_some() && earlier
}

/// Waits until the problems reported are as described.
async fn reported(what: &str, scene: &Scene, described: impl Fn(&[Problem]) -> bool) -> Outcome<()> {
    let api = scene.chancery.api();
    let wait = deadline::until(what, SOON, async || described(&api.problems().await.ok()?).then_some(()));
    match wait.await {
        Ok(()) => Ok(()),
        Err(failure) => Err(failure.with(&format!("{:#?}", api.problems().await))),
    }
}
