//! Of several processes one writes, whatever becomes of it: killed, stopped, robbed. Serving goes on meanwhile.

use crate::harness::chancery::Chancery;
use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::timing::soak;
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage};
use crate::told::{Told, says};
use std::time::{Duration, Instant};

/// How many seconds the Lease lasts.
const SECONDS: u32 = 3;
/// How long it may take until another leads: the Lease runs out, and is looked at every 0.6 s.
const TAKEN_OVER: Duration = Duration::from_secs(6);

fn route(host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: route, namespace: leaders}}\n\
         spec: {{hosts: [inside], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}\n"
    )
}

/// Whether a process leads; one that doesn't answer does not.
async fn leads(chancery: &Chancery) -> bool {
    chancery.api().status().await.is_ok_and(|status| status.state == "leading")
}

async fn takes_over(chancery: &Chancery, limit: Duration) -> Outcome<Duration> {
    let begun = Instant::now();
    let taken = deadline::until("another leads", limit, async || leads(chancery).await.then_some(()));
    taken.await.map_err(|failure| failure.with(&chancery.tail()))?;
    Ok(begun.elapsed())
}

async fn written(chancery: &Chancery) -> Outcome<f64> {
    let metrics = chancery.api().metrics().await?;
    Ok(metrics.sum("chancery_status_writes_total", &[("result", "written")]))
}

#[tokio::test]
async fn one_of_two_writes_whatever_becomes_of_it() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "leaders").await?;
    stage.write_status(SECONDS);
    stage.chancery.restart().await?;
    takes_over(&stage.chancery, SOON).await?;
    let mut other = stage.another(&cluster, ADMIN, "two", 2)?;
    other.flags.clone_from(&stage.chancery.flags);
    other.restart().await?;
    stage.connect_recorded().await?;
    cluster.apply(&route("inside")).await?;
    says(&cluster, &stage, "virtualservice/route", ("Accepted", "True Accepted")).await?;
    let following = other.api().status().await?;
    let leading = stage.chancery.api().status().await?;
    assert_eq!((&*following.state, &following.holder), ("following", &leading.identity), "{leading:?}");
    assert_eq!(written(&other).await?, 0.0);
    killed(&mut stage, &other).await?;
    let load = stage.traffic(Duration::from_secs(120) + soak(0)).start();
    stopped(&cluster, &mut stage, &mut other).await?;
    let until = Instant::now() + soak(0);
    loop {
        robbed(&cluster, &stage, &other).await?;
        if Instant::now() >= until {
            break;
        }
        cluster.apply(&route("nobody")).await?;
        says(&cluster, &stage, "virtualservice/route", ("ResolvedRefs", "False NotFound")).await?;
    }
    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}

/// The first is gone at once: the other waits for its Lease to run out. The first comes back, and follows.
async fn killed(stage: &mut Stage, other: &Chancery) -> Outcome<()> {
    stage.chancery.kill()?;
    let time = takes_over(other, TAKEN_OVER).await?;
    println!("killed: another leads after {time:?}");
    stage.chancery.restart().await?;
    let follows = async || (stage.chancery.api().status().await.ok()?.state == "following").then_some(());
    deadline::until("the first follows", SOON, follows).await?;
    assert!(leads(other).await);
    Ok(())
}

/// The leader is stopped for far longer than its Lease lasts; the other says what is so now, and the first, when it runs
/// on, takes nothing of that back.
async fn stopped(cluster: &Cluster, stage: &mut Stage, other: &mut Chancery) -> Outcome<()> {
    other.freeze()?;
    let time = takes_over(&stage.chancery, TAKEN_OVER).await?;
    println!("stopped: another leads after {time:?}");
    cluster.apply(&route("nobody")).await?;
    let (told, _) = says(cluster, stage, "virtualservice/route", ("ResolvedRefs", "False NotFound")).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    other.thaw()?;
    let before = deadline::until("it answers again", SOON, async || written(other).await.ok()).await?;
    let follows = async || (other.api().status().await.ok()?.state == "following").then_some(());
    deadline::until("it follows", SOON, follows).await?;
    let span = Duration::from_secs(3);
    deadline::throughout("it writes nothing", span, async || written(other).await.ok() == Some(before)).await?;
    let now = Told::of(cluster, "leaders", "virtualservice/route").await?;
    assert_eq!(now.says("ResolvedRefs"), told.says("ResolvedRefs"));
    assert!(leads(&stage.chancery).await);
    Ok(())
}

/// Somebody else's name in the Lease: the leader stops at its next look, and one of the two leads again once it has run out.
async fn robbed(cluster: &Cluster, stage: &Stage, other: &Chancery) -> Outcome<()> {
    let patch = r#"{"spec":{"holderIdentity":"thief"}}"#;
    let began = Instant::now();
    cluster.kubectl(&["patch", "lease", "chancery", "-n", "leaders", "--type=merge", "-p", patch]).await?;
    let stops = async || (!leads(&stage.chancery).await && !leads(other).await).then_some(());
    deadline::until("the one that was robbed stops", Duration::from_secs(3), stops).await?;
    println!("robbed: it stops within {:?}", began.elapsed());
    cluster.apply(&route("inside")).await?;
    // It is asked first: the time may be over by the answer.
    let nobody = !leads(&stage.chancery).await && !leads(other).await;
    assert!(nobody || began.elapsed() > Duration::from_secs(u64::from(SECONDS)), "the thief's time is not over");
    let again = deadline::until("one of the two leads", TAKEN_OVER, async || {
        (leads(&stage.chancery).await != leads(other).await).then_some(())
    });
    again.await?;
    let (told, _) = says(cluster, stage, "virtualservice/route", ("ResolvedRefs", "True ResolvedRefs")).await?;
    match told.message("ResolvedRefs").is_empty() {
        true => Ok(()),
        false => Err(Failure::new(told.0.to_string())),
    }
}
