//! The process that writes status is cut off from the API server, alone: the other one takes over, the first writes nothing from
//! then on, and proxies are served as before.

use crate::harness::chancery::Chancery;
use crate::harness::cluster::{ADMIN, Options};
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, pod, slice};
use crate::told::{Told, says};
use std::time::{Duration, Instant};

/// How many seconds the Lease lasts.
const SECONDS: u32 = 3;
/// How long it may take until another leads.
const TAKEN_OVER: Duration = Duration::from_secs(8);

fn route(host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: route, namespace: cut}}\n\
         spec: {{hosts: [inside], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}\n"
    )
}

async fn state(chancery: &Chancery) -> Option<String> {
    Some(chancery.api().status().await.ok()?.state)
}

async fn becomes(chancery: &Chancery, wanted: &str) -> Outcome<Duration> {
    let begun = Instant::now();
    let what = format!("it is {wanted}");
    let became = async || (state(chancery).await? == wanted).then_some(());
    deadline::until(&what, TAKEN_OVER, became).await.map_err(|failure| failure.with(&chancery.tail()))?;
    Ok(begun.elapsed())
}

/// How many statuses a process has written.
async fn written(chancery: &Chancery) -> Outcome<f64> {
    let metrics = chancery.api().metrics().await?;
    Ok(metrics.sum("chancery_status_writes_total", &[("result", "written")]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_leaves_writing_to_the_other() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "cut").await?;
    stage.write_status(SECONDS);
    let passage = stage.by_way_of_a_passage(&cluster, ADMIN).await?;
    stage.chancery.restart().await?;
    becomes(&stage.chancery, "leading").await?;
    stage.connect_recorded().await?;
    cluster.apply(&route("inside")).await?;
    says(&cluster, &stage, "virtualservice/route", ("Programmed", "True Programmed")).await?;
    let mut other = stage.another(&cluster, ADMIN, "two", 2)?;
    other.flags.clone_from(&stage.chancery.flags);
    other.restart().await?;
    becomes(&other, "following").await?;
    let load = stage.traffic(Duration::from_secs(60)).start();
    let before = written(&stage.chancery).await?;
    assert!(before > 0.0, "the first has written");

    passage.silence();
    let time = becomes(&other, "leading").await?;
    println!("cut off: another leads after {time:?}");
    assert_ne!(state(&stage.chancery).await.as_deref(), Some("leading"), "only one says that it leads");
    cluster.apply(&route("nobody")).await?;
    let (told, _) = says(&cluster, &stage, "virtualservice/route", ("ResolvedRefs", "False NotFound")).await?;
    assert!(stage.chancery.api().is_ready().await, "what is known is served");

    // It is heard again: it knows what happened meanwhile, and takes nothing of it back.
    passage.open();
    becomes(&stage.chancery, "following").await?;
    cluster.apply(&slice("cut", "inside", &["10.9.0.25"])).await?;
    stage.has_endpoints("inside", &["10.9.0.25"]).await?;
    let now = Told::of(&cluster, "cut", "virtualservice/route").await?;
    assert_eq!(now.says("ResolvedRefs"), told.says("ResolvedRefs"));
    load.stopped().await?.clean()?;
    // The first has written nothing since, and the second has.
    assert_eq!(written(&stage.chancery).await?, before);
    assert!(written(&other).await? > 0.0);
    stage.has_lost_nothing(&cluster).await
}

/// A leader that starts doesn't take the proxies that are back for all there are: those are waited for that the one before it
/// knew of. The control is one that is told of none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_that_are_still_to_come_are_counted_on() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "cut").await?;
    stage.write_status(SECONDS);
    stage.record().await?;
    cluster.apply(&pod("cut", "second")).await?;
    let second = stage.another_envoy(&cluster, &stage.chancery, "second", 11).await?;
    cluster.apply(&route("inside")).await?;
    let expected = "in effect at all 2 proxies that it concerns";
    programmed(&cluster, &stage, expected).await?;
    let known = async || {
        let annotation = r"jsonpath={.metadata.annotations.chancery/proxies}";
        let said = cluster.kubectl(&["get", "lease", "chancery", "-n", "cut", "-o", annotation]).await.ok()?;
        (said == "2").then_some(())
    };
    deadline::until("the Lease says how many there are", SOON, known).await?;

    stage.chancery.terminate(SOON).await?;
    second.freeze()?;
    cluster.apply(&route("outside")).await?;
    stage.chancery.restart().await?;
    let part = "in effect at 1 of 1 proxy that it concerns; proxies that were connected before are still to come";
    programmed(&cluster, &stage, part).await?;
    let claims = async || {
        Told::of(&cluster, "cut", "virtualservice/route").await.is_ok_and(|told| told.message("Programmed") == part)
    };
    deadline::throughout("it claims no more", Duration::from_secs(3), claims).await?;
    second.thaw()?;
    programmed(&cluster, &stage, expected).await?;

    // The control.
    stage.chancery.terminate(SOON).await?;
    second.freeze()?;
    cluster.kubectl(&["annotate", "lease", "chancery", "-n", "cut", "chancery/proxies-"]).await?;
    cluster.apply(&route("inside")).await?;
    stage.chancery.restart().await?;
    programmed(&cluster, &stage, "in effect at the one proxy that it concerns").await?;
    second.thaw()?;
    stage.has_lost_nothing(&cluster).await
}

/// Waits until the rule says at how many proxies its newest generation is in effect.
async fn programmed(cluster: &crate::harness::cluster::Cluster, stage: &Stage, expected: &str) -> Outcome<()> {
    let mut last = String::new();
    let same = deadline::until(expected, SOON, async || {
        let told = Told::of(cluster, "cut", "virtualservice/route").await.ok()?;
        last = format!("{} {}", told.says("Programmed"), told.message("Programmed"));
        (!told.says("Programmed").is_empty() && told.message("Programmed") == expected).then_some(())
    });
    let same = same.await;
    same.map_err(|failure| failure.with(&last).with(&stage.chancery.tail()))
}
