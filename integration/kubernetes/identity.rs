//! Tokens that a real API server issues, verified without asking it, and an authority that replicas share.

use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage};

/// How often a reason was given.
async fn refusals(stage: &Stage, reason: &str) -> Option<f64> {
    let metrics = stage.chancery.api().metrics().await.ok()?;
    Some(metrics.sum("chancery_xds_refusals_total", &[("reason", reason)]))
}

async fn refused(stage: &Stage, reason: &str) -> Outcome<()> {
    let refused = deadline::until(reason, SOON, async || (refusals(stage, reason).await? > 0.0).then_some(())).await;
    refused.map_err(|failure| failure.with(&stage.chancery.tail()))
}

/// A stage whose chancery has its secure door, and no Envoy yet.
async fn secured(cluster: &Cluster, namespace: &str) -> Outcome<Stage> {
    let mut stage = Stage::set(cluster, ADMIN, namespace).await?;
    stage.secure();
    stage.chancery.restart().await?;
    Ok(stage)
}

/// The token of a Pod is good as long as there is that Pod, and only for us.
#[tokio::test]
async fn a_pods_token_is_good_for_that_pod() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = secured(&cluster, "tokens").await?;
    stage.hand_token(&cluster, "somebody-else").await?;
    stage.launch_envoy()?;
    refused(&stage, "token_audience").await?;
    stage.envoy = None;
    stage.hand_token(&cluster, "chancery").await?;
    stage.connect().await?;
    stage.load(20).run().await?.clean()?;

    // A Pod of the same name is another.
    cluster.kubectl(&["delete", "pod", "client", "-n", "tokens", "--grace-period=0", "--force"]).await?;
    let again = "apiVersion: v1\nkind: Pod\nmetadata: {name: client, namespace: tokens}\n\
                 spec: {nodeName: node, containers: [{name: client, image: client}]}\n";
    cluster.apply(again).await?;
    cluster.set_pod("tokens", "client", "10.9.0.10", true).await?;
    stage.envoy = None;
    stage.launch_envoy()?;
    refused(&stage, "unknown_proxy").await?;
    stage.envoy = None;
    stage.hand_token(&cluster, "chancery").await?;
    stage.connect().await
}

/// The authority is in a Secret: who starts later has the same, and one that is broken changes nothing.
#[tokio::test]
async fn replicas_share_an_authority() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = secured(&cluster, "authority").await?;
    stage.hand_token(&cluster, "chancery").await?;
    let mut other = stage.another(&cluster, ADMIN, "other", 5)?;
    other.secure = true;
    other.restart().await?;
    stage.connect().await?;
    std::mem::swap(&mut stage.chancery, &mut other);
    stage.envoy = None;
    // It trusts the roots that it had from the first.
    stage.connect().await?;

    let garbage = r#"{"stringData": {"ca-key.pem": "garbage"}}"#;
    cluster.kubectl(&["patch", "secret", "chancery-ca", "-n", "authority", "-p", garbage]).await?;
    let broken = async || {
        let metrics = stage.chancery.api().metrics().await.ok()?;
        (metrics.sum("chancery_ca_broken", &[]) > 0.0).then_some(())
    };
    deadline::until("it is noticed", SOON, broken).await?;
    if stage.chancery.tail().contains("garbage") {
        return Err(Failure::new("the log shows what is in the Secret"));
    }
    stage.load(20).run().await?.clean()?;
    stage.envoy = None;
    stage.connect().await
}
