//! chancery itself goes away and comes back, the cluster goes back to an old backup, or the API server refuses: what proxies
//! have is never taken from them, and nobody asks in haste.

use crate::harness::cluster::{ADMIN, Backup, Cluster, Options};
use crate::harness::timing::soak;
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, service, slice};
use axum::Router;
use axum::http::StatusCode;
use chancery::source::kubernetes::kinds::KINDS;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Killed, told to end, and frozen, under traffic: no request fails, and what changed meanwhile is there afterwards.
#[tokio::test]
async fn chancery_may_go_and_come_back() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::recorded(&cluster, ADMIN, "returns").await?;
    let load = stage.traffic(Duration::from_secs(90)).start();
    let change = async |address: &str| cluster.apply(&slice("returns", "inside", &[address])).await;

    stage.chancery.kill()?;
    change("10.9.0.31").await?;
    stage.chancery.restart().await?;
    stage.has_endpoints("inside", &["10.9.0.31"]).await?;

    let status = stage.chancery.terminate(SOON).await?;
    assert!(status.success(), "{status}");
    change("10.9.0.32").await?;
    stage.chancery.restart().await?;
    stage.has_endpoints("inside", &["10.9.0.32"]).await?;

    stage.chancery.freeze()?;
    change("10.9.0.33").await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    stage.has_endpoints("inside", &["10.9.0.32"]).await?;
    stage.chancery.thaw()?;
    stage.has_endpoints("inside", &["10.9.0.33"]).await?;

    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}

/// etcd is restored from a backup, with states that are older than what chancery knows: they are the truth from then on.
#[tokio::test]
async fn a_restored_backup_is_the_truth() -> Outcome<()> {
    let (mut cluster, _held) = shared::own(Options::default()).await?;
    let stage = Stage::recorded(&cluster, ADMIN, "restored").await?;
    cluster.restart_with(Backup::Made).await?;
    let (until, mut rounds, mut gone) = (Instant::now() + soak(0), 0, Vec::new());
    loop {
        rounds += 1;
        goes_back(&mut cluster, &stage, rounds, &mut gone).await?;
        if Instant::now() >= until {
            break;
        }
    }
    println!("restored {rounds} times");
    // It goes on from there.
    cluster.apply(&slice("restored", "inside", &["10.9.0.44"])).await?;
    stage.has_endpoints("inside", &["10.9.0.44"]).await?;
    stage.load(20).run().await?.clean()
}

/// Something changes and something comes, and then none of it has ever been; it is added to what is gone.
async fn goes_back(cluster: &mut Cluster, stage: &Stage, round: u64, gone: &mut Vec<String>) -> Outcome<()> {
    let names = [0, 1, 2].map(|index| format!("later-{round}-{index}"));
    let addresses = ["10.9.0.41", "10.9.0.42", "10.9.0.43"];
    let lost = |gone: &[String]| stage.has_lost(&gone.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, address) in names.iter().zip(addresses) {
        cluster.apply(&slice("restored", "inside", &[address])).await?;
        cluster.apply(&format!("{}---\n{}", service("restored", name), slice("restored", name, &[address]))).await?;
    }
    stage.has_endpoints("inside", &["10.9.0.43"]).await?;
    stage.has_endpoints(&names[2], &["10.9.0.43"]).await?;
    lost(gone)?;
    cluster.restart_with(Backup::Restored).await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    let removed = async || (stage.removed().await.ok()? == 3 * round).then_some(());
    deadline::until("what came later is gone", SOON, removed).await?;
    gone.extend(names);
    lost(gone)
}

/// Refused, for whatever reason, chancery asks again and again and ever less often.
#[tokio::test]
async fn refusals_are_not_answered_in_haste() -> Outcome<()> {
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::UNAUTHORIZED] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let answer = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async move { status }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let folder = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("refused.kubeconfig");
        fs::write(
            &kubeconfig,
            format!(
                "{{apiVersion: v1, kind: Config, current-context: a, contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
             clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}], users: [{{name: a, user: {{}}}}]}}"
            ),
        )?;
        let subnet = crate::harness::addresses::Subnet::take()?;
        let log = folder.path().join("chancery.log");
        let mut chancery = crate::harness::chancery::Chancery::of_cluster(&subnet, 1, &kubeconfig, log)?;
        chancery.launch()?;
        let told = deadline::until("it says why it waits", SOON, async || {
            let told = chancery.api().readiness().await.ok()?;
            told.contains("failing").then_some(told)
        });
        let told = told.await.map_err(|failure| failure.with(&chancery.tail()))?;
        assert!(told.contains(status.as_str()), "{told}");
        let before = asked.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let more = asked.load(Ordering::Relaxed) - before;
        // Each kind is asked for a few times in five seconds, and then ever less often.
        assert!((1..=KINDS.len() * 8).contains(&more), "{status}: {more} requests in five seconds");
        assert!(!chancery.api().is_ready().await);
    }
    Ok(())
}
