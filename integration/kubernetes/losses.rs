//! The API server goes away, says nothing, or has forgotten; proxies go on with what they have, and nothing is ever taken
//! for deleted that is not.

use crate::harness::cluster::{ADMIN, Cluster, Options, Part};
use crate::harness::timing::soak;
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, service, slice};
use std::time::{Duration, Instant};

/// Tells why a kind had to be listed again, and how often.
async fn relists(stage: &Stage, reason: &str) -> Outcome<f64> {
    let metrics = stage.chancery.api().metrics().await?;
    Ok(metrics.sum("chancery_kubernetes_relists_total", &[("reason", reason)]))
}

/// The API server ends: requests go on and nothing is removed; chancery starts again meanwhile, serves nothing, and knows
/// everything once the API server is back. Then what changed is seen.
#[tokio::test]
async fn an_outage_takes_nothing_away() -> Outcome<()> {
    let (mut cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::recorded(&cluster, ADMIN, "outage").await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    let away = soak(4);
    let load = stage.traffic(away * 2 + Duration::from_secs(60)).start();
    cluster.stop(Part::Apiserver)?;
    stage.is("services", "failing").await?;
    assert!(stage.chancery.api().is_ready().await, "what is known is served");
    tokio::time::sleep(away).await;
    stage.chancery.kill()?;
    stage.chancery.launch()?;
    stage.is("services", "failing").await?;
    let told = stage.chancery.api().readiness().await?;
    assert!(told.contains("services (failing"), "{told}");
    let waits = async || !stage.chancery.api().is_ready().await;
    deadline::throughout("nothing is served of a cluster that can't be read", soak(1), waits).await?;
    cluster.restart(Part::Apiserver).await?;
    stage.chancery.ready(Duration::from_secs(30)).await?;
    cluster.apply(&slice("outage", "inside", &["10.9.0.25"])).await?;
    stage.has_endpoints("inside", &["10.9.0.25"]).await?;
    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}

/// The API server says nothing on connections that stay open: that is noticed, and what changed since is seen.
#[tokio::test]
async fn silence_is_noticed() -> Outcome<()> {
    let (mut cluster, _held) = shared::own(Options::default()).await?;
    let stage = Stage::recorded(&cluster, ADMIN, "silence").await?;
    cluster.freeze(Part::Apiserver)?;
    stage.is("services", "failing").await?;
    let reason = stage.chancery.api().kind("services").await?.reason;
    assert!(reason.contains("said nothing for"), "{reason}");
    let serves = async || stage.chancery.api().is_ready().await;
    deadline::throughout("what is known is served", soak(1), serves).await?;
    cluster.thaw(Part::Apiserver)?;
    stage.is("services", "watching").await?;
    cluster.apply(&slice("silence", "inside", &["10.9.0.25"])).await?;
    stage.has_endpoints("inside", &["10.9.0.25"]).await?;
    stage.has_lost_nothing(&cluster).await
}

/// What happened while nobody looked is forgotten by the API server: everything is listed again, and exactly what is gone
/// is removed.
#[tokio::test]
async fn forgotten_history_is_listed_again() -> Outcome<()> {
    let (mut cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::recorded(&cluster, ADMIN, "history").await?;
    let (until, mut rounds) = (Instant::now() + soak(0), 0);
    assert_eq!(relists(&stage, "expired").await?, 0.0);
    loop {
        rounds += 1;
        forget(&mut cluster, &mut stage, rounds).await?;
        if Instant::now() >= until {
            break;
        }
    }
    println!("forgotten {rounds} times");
    stage.has_lost_only(&cluster, &["gone"]).await
}

/// Something goes, and something changes, while chancery stands still, and the API server forgets that it was.
async fn forget(cluster: &mut Cluster, stage: &mut Stage, round: u64) -> Outcome<()> {
    cluster.apply(&format!("{}---\n{}", service("history", "gone"), slice("history", "gone", &["10.9.0.40"]))).await?;
    stage.has_endpoints("gone", &["10.9.0.40"]).await?;
    stage.chancery.freeze()?;
    cluster.kubectl(&["delete", "service", "gone", "-n", "history"]).await?;
    let address = format!("10.9.1.{}", round % 200 + 1);
    cluster.apply(&slice("history", "inside", &[&address])).await?;
    cluster.compact().await?;
    cluster.stop(Part::Apiserver)?;
    cluster.restart(Part::Apiserver).await?;
    stage.chancery.thaw()?;
    stage.has_endpoints("inside", &[&address]).await?;
    let removed = async || (stage.removed().await.ok()? == round).then_some(());
    deadline::until("what is gone is removed", SOON, removed).await?;
    assert!(relists(stage, "expired").await? >= round as f64);
    Ok(())
}
