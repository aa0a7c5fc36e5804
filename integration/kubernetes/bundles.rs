//! What is trusted, as a ClusterTrustBundle of a real API server.

use crate::harness::cluster::{ADMIN, Cluster, Options, TRUST_BUNDLES};
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage};
use chancery::ca::material::Material;

async fn leading(stage: &mut Stage) -> Outcome<()> {
    stage.secure();
    stage.write_status(3);
    stage.chancery.flags.extend(["--trust-bundle", "roots-of-mesh"].map(str::to_owned));
    stage.chancery.restart().await
}

/// The certificates that are told in each way.
async fn told(cluster: &Cluster, what: &[&str]) -> Option<usize> {
    let text = cluster.kubectl(&[&["get"][..], what].concat()).await.ok()?;
    Some(text.matches("BEGIN CERTIFICATE").count())
}

#[tokio::test]
async fn roots_are_told_in_a_bundle_as_they_are_now() -> Outcome<()> {
    let options = Options { flags: TRUST_BUNDLES.into(), ..Options::default() };
    let (cluster, _held) = shared::own(options).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "bundles").await?;
    leading(&mut stage).await?;
    let bundle = ["clustertrustbundle", "roots-of-mesh", "-o", "jsonpath={.spec.trustBundle}"];
    let has = async |count| (told(&cluster, &bundle).await? == count).then_some(());
    let first = deadline::until("the bundle has the root", SOON, async || has(1).await).await;
    first.map_err(|failure| failure.with(&stage.chancery.tail()))?;

    // What is written around certificates, and one that is there twice, a bundle would not take.
    let secret = [
        "get",
        "secret",
        "chancery-ca",
        "-n",
        "bundles",
        "-o",
        "go-template={{index .data \"root-cert.pem\" | base64decode}}",
    ];
    let root = cluster.kubectl(&secret).await?;
    let other = Material::self_signed(chancery::clock::Clock::system().now())?.roots;
    let roots = format!("# ours\n{root}\n# of a friend\n{other}{root}\n");
    let patch = serde_json::json!({"stringData": {"root-cert.pem": roots}}).to_string();
    cluster.kubectl(&["patch", "secret", "chancery-ca", "-n", "bundles", "-p", &patch]).await?;
    let both = deadline::until("the bundle has both", SOON, async || has(2).await).await;
    both.map_err(|failure| failure.with(&stage.chancery.tail()))
}

#[tokio::test]
async fn where_there_are_no_bundles_that_is_said_and_all_else_is_told() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "bundles").await?;
    leading(&mut stage).await?;
    let map = ["configmap", "chancery-root", "-n", "bundles", "-o", "jsonpath={.data}"];
    deadline::until("the ConfigMap is there", SOON, async || {
        told(&cluster, &map).await.filter(|count| *count == 1).map(drop)
    })
    .await?;
    let said = "ClusterTrustBundle roots-of-mesh: the API server doesn't serve that kind";
    deadline::until("it is said", SOON, async || stage.chancery.tail().contains(said).then_some(())).await
}
