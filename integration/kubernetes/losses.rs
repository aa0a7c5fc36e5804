//! The API server goes away, says nothing, or has forgotten; proxies go on with what they have, and nothing is ever taken
//! for deleted that is not.

use crate::harness::cluster::{ADMIN, Cluster, Options, Part};
use crate::harness::envoy::Envoy;
use crate::harness::timing::soak;
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, pod, service, slice};
use crate::streams::Stream;
use std::time::{Duration, Instant};
use tonic::Code;

/// The Pod of somebody whom nobody knows.
const STRANGER: &str = "stranger";
/// How long an Envoy that was refused may take to try again.
const RECONNECTED: Duration = Duration::from_secs(60);

/// Tells why a kind had to be listed again, and how often.
async fn relists(stage: &Stage, reason: &str) -> Outcome<f64> {
    let metrics = stage.chancery.api().metrics().await?;
    Ok(metrics.sum("chancery_kubernetes_relists_total", &[("reason", reason)]))
}

/// The API server ends: requests go on, nothing is removed, and a proxy that comes then has everything; chancery starts again meanwhile,
/// serves nothing, and knows everything once the API server is back. Then what changed is seen, and who waited is served.
#[tokio::test]
async fn an_outage_takes_nothing_away() -> Outcome<()> {
    let (mut cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::recorded(&cluster, ADMIN, "outage").await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    for (name, ip) in [("second", "10.9.0.11"), ("third", "10.9.0.12")] {
        cluster.apply(&pod("outage", name)).await?;
        cluster.set_pod("outage", name, ip, true).await?;
    }
    let away = soak(15);
    let load = stage.traffic(away * 2 + Duration::from_secs(120)).start();
    cluster.stop(Part::Apiserver)?;
    stage.is("services", "failing").await?;
    let api = stage.chancery.api();
    let served = async || api.is_ready().await;
    let (lasts, second, stranger) = tokio::join!(
        deadline::throughout("what is known is served", away, served),
        newcomer(&stage),
        a_stranger_is_told_why(&stage),
    );
    lasts?;
    stranger?;
    let _second = second?;
    stage.chancery.kill()?;
    stage.chancery.launch()?;
    stage.is("services", "failing").await?;
    let told = stage.chancery.api().readiness().await?;
    assert!(told.contains("services (failing"), "{told}");
    let third = stage.launched(stage.chancery.xds, "third", 12)?;
    let waits = async || !stage.chancery.api().is_ready().await && is_refused(&stage).await;
    deadline::throughout("nothing is served of a cluster that can't be read", soak(3), waits).await?;
    assert_ne!(third.is_ready().await, Some(true), "who comes then has nothing");
    cluster.restart(Part::Apiserver).await?;
    stage.chancery.ready(Duration::from_secs(30)).await?;
    let ready = async || (third.is_ready().await == Some(true)).then_some(());
    deadline::until("who came meanwhile is served", RECONNECTED, ready).await?;
    cluster.apply(&slice("outage", "inside", &["10.9.0.25"])).await?;
    stage.has_endpoints("inside", &["10.9.0.25"]).await?;
    // The control: whoever was a stranger is none once there is its Pod.
    cluster.apply(&pod("outage", STRANGER)).await?;
    let mut stream = Stream::open(&stage, STRANGER).await?;
    assert!(!stream.next().await?.resources.is_empty());
    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}

/// A proxy that connects while the API server is away, of a Pod that was there before, has all that is known.
async fn newcomer(stage: &Stage) -> Outcome<Envoy> {
    let envoy = stage.launched(stage.chancery.xds, "second", 11)?;
    let ready = async || (envoy.is_ready().await == Some(true)).then_some(());
    deadline::until("who comes meanwhile is served", SOON, ready).await?;
    let known = envoy.endpoints(&stage.cluster_of("inside")).await?;
    let mut known: Vec<_> = known.iter().map(|endpoint| endpoint.ip().to_string()).collect();
    known.sort();
    assert_eq!(known, ["10.9.0.20", "10.9.0.21"]);
    Ok(envoy)
}

/// One of a Pod that nobody has heard of gets nothing, not even an empty set, and hears why when its time is over.
async fn a_stranger_is_told_why(stage: &Stage) -> Outcome<()> {
    let mut stream = Stream::open(stage, STRANGER).await?;
    let status = stream.next().await.expect_err("nothing is known of it");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("Pod outage/stranger is not known and did not appear within"), "{status}");
    Ok(())
}

/// Whether whoever asks for a configuration is refused, because nothing is known.
async fn is_refused(stage: &Stage) -> bool {
    let refused = Stream::open(stage, "client").await.err();
    refused.is_some_and(|status| {
        status.code() == Code::Unavailable && status.message().starts_with("not ready: waiting for ")
    })
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

/// etcd forgets what was while chancery stands still and is cut off, and the API server stays: whoever asks it for what happened since is
/// told that it is not known, and lists everything again. The control: as long as it is known, nothing is listed again.
#[tokio::test]
async fn what_etcd_has_forgotten_is_listed_again() -> Outcome<()> {
    // An API server without memory of its own: what etcd doesn't know, it doesn't.
    let options = Options { flags: vec!["--watch-cache=false"], ..Options::default() };
    let (cluster, _held) = shared::own(options).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "forgotten").await?;
    let passage = stage.by_way_of_a_passage(&cluster, ADMIN).await?;
    stage.record().await?;
    let more = format!("{}---\n{}", service("forgotten", "gone"), slice("forgotten", "gone", &["10.9.0.40"]));
    cluster.apply(&more).await?;
    stage.has_endpoints("gone", &["10.9.0.40"]).await?;
    for (address, forgotten) in [("10.9.0.31", false), ("10.9.0.32", true)] {
        stage.chancery.freeze()?;
        passage.turn(cluster.address);
        if forgotten {
            cluster.kubectl(&["delete", "service", "gone", "-n", "forgotten"]).await?;
        }
        cluster.apply(&slice("forgotten", "inside", &[address])).await?;
        if forgotten {
            cluster.compact().await?;
        }
        stage.chancery.thaw()?;
        stage.has_endpoints("inside", &[address]).await?;
        assert_eq!(relists(&stage, "expired").await? > 0.0, forgotten, "{}", stage.chancery.tail());
    }
    let gone = async || stage.has_lost(&["gone"]).ok();
    deadline::until("what is gone is removed", SOON, gone).await?;
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
