//! The keys of who issues tokens: a fleet comes back without a question to the API server, which may be away, and others sign
//! after a while.

use crate::harness::cluster::{ADMIN, Cluster, Options, Part};
use crate::harness::{Failure, Outcome, deadline};
use crate::reviews::{Caller, token};
use crate::shared;
use crate::stage::Stage;
use chancery::clock::Clock;
use chancery::model::identity::Identity;
use chancery::tokens::issuer::Issuer;
use std::time::Duration;
use tokio::task::JoinSet;

/// How many come back, and how many of them at once.
const FLEET: usize = 5_000;
const AT_ONCE: usize = 16;
/// How long it may take until other keys are known: they are asked for again five seconds after they were last, at the earliest.
const SOON: Duration = Duration::from_secs(30);
/// How often who is not believed asks again: less often than failures are forgotten.
const SELDOM: Duration = Duration::from_millis(500);

async fn comes_back(fleet: usize, caller: &Caller, token: &str) -> Outcome<()> {
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (caller, token) = (caller.clone(), token.to_owned());
        tasks.spawn(async move {
            for _ in 0..fleet.div_ceil(AT_ONCE) {
                caller.is_believed(&token).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// How many requests the API server has had, and how many of these were TokenReviews.
async fn asked(cluster: &Cluster) -> Outcome<[f64; 2]> {
    let metrics = cluster.metrics().await?;
    let reviews = metrics.sum("apiserver_request_total", &[("resource", "tokenreviews")]);
    Ok([metrics.sum("apiserver_request_total", &[]), reviews])
}

/// A cluster of its own, a chancery that verifies tokens, who calls it, and a token.
async fn set(namespace: &str) -> Outcome<(Cluster, Stage, Caller, String)> {
    let (cluster, _held) = shared::own(Options { controllers: true, ..Options::default() }).await?;
    let mut stage = Stage::set(&cluster, ADMIN, namespace).await?;
    stage.secure();
    stage.chancery.restart().await?;
    let caller = Caller::new(&cluster, &stage).await?;
    let first = issued(&cluster, namespace).await?;
    becomes_believed(&caller, &first).await?;
    Ok((cluster, stage, caller, first))
}

/// Waits until a token is believed. Who isn't asks seldom enough that nothing is held against it.
async fn becomes_believed(caller: &Caller, token: &str) -> Outcome<()> {
    deadline::until("the key is known", SOON, async || match caller.is_believed(token).await {
        Ok(()) => Some(()),
        Err(_) => {
            tokio::time::sleep(SELDOM).await;
            None
        }
    })
    .await
}

async fn issued(cluster: &Cluster, namespace: &str) -> Outcome<String> {
    let of_client = ["--bound-object-kind", "Pod", "--bound-object-name", "client"];
    token(cluster, namespace, "default", &of_client).await
}

/// Five thousand connect anew and prove who they are, and the API server has nothing to do with it; nor has it to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_that_comes_back_costs_the_api_server_nothing() -> Outcome<()> {
    let (mut cluster, stage, caller, token) = set("storm").await?;
    let [before, reviews] = asked(&cluster).await?;
    comes_back(FLEET, &caller, &token).await?;
    let [after, more_reviews] = asked(&cluster).await?;
    let requests = after - before;
    println!("{FLEET} came back, the API server had {requests} requests meanwhile, for whatever reason");
    assert!(before > 0.0, "the control: they are counted");
    assert_eq!(more_reviews, reviews);
    // Controllers and watches ask meanwhile, a few times each second.
    assert!(requests < FLEET as f64 / 2.0, "{requests}");
    cluster.stop(Part::Apiserver)?;
    comes_back(10 * AT_ONCE, &caller, &token).await?;
    caller.is_refused("nonsense", "is not one of a Kubernetes service account").await?;
    drop(stage);
    Ok(())
}

/// Where another key signs, its tokens are believed as soon as it is told, and those of the last one as long as that is. Whoever is
/// signed by a key that nobody tells is refused, also when nobody can be asked, and then no other key is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keys_of_who_issues_tokens_may_be_others() -> Outcome<()> {
    const UNKNOWN: &str = "is signed with a key that is not known";
    let (mut cluster, stage, caller, first) = set("rotation").await?;
    cluster.rotate_accounts(true).await?;
    let second = issued(&cluster, "rotation").await?;
    becomes_believed(&caller, &second).await.map_err(|failure| failure.with(&stage.chancery.tail()))?;
    caller.is_believed(&first).await?;

    // The last one isn't told any more: what it has signed is refused as soon as that is known.
    cluster.rotate_accounts(false).await?;
    let third = issued(&cluster, "rotation").await?;
    becomes_believed(&caller, &third).await?;
    for old in [&first, &second] {
        caller.is_refused(old, UNKNOWN).await?;
    }

    cluster.stop(Part::Apiserver)?;
    let other = Issuer::of_pem(&Issuer::new_key()?)?;
    let who = Identity::new("rotation".into(), "default".into());
    let other = other.issue(&who, "chancery", Clock::system().now(), Duration::from_secs(3600))?;
    caller.is_refused(&other, UNKNOWN).await?;
    caller.is_believed(&third).await?;
    caller.is_refused(&other, UNKNOWN).await
}
