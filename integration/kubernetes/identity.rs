//! Tokens that a real API server issues, verified without asking it, and an authority that replicas share.

use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::{Failure, Outcome, deadline, spawner, tools};
use crate::shared;
use crate::stage::{SOON, Stage};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::json;

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

/// The Secret of the authority, to be brought back.
async fn copy_of_authority(cluster: &Cluster) -> Outcome<String> {
    let secret = cluster.kubectl(&["get", "secret", "chancery-ca", "-n", "gone", "-o", "json"]).await?;
    let data = &serde_json::from_str::<serde_json::Value>(&secret)?["data"];
    let metadata = json!({"name": "chancery-ca", "namespace": "gone"});
    Ok(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}).to_string())
}

/// What is trusted, as it is told; none if it isn't.
async fn told(cluster: &Cluster) -> Option<String> {
    let path = "jsonpath={.data.root-cert\\.pem}";
    let told = cluster.kubectl(&["get", "configmap", "chancery-root", "-n", "gone", "-o", path]).await.ok()?;
    told.contains("BEGIN CERTIFICATE").then_some(told)
}

/// chancery starts where its Secret is gone, says so, and makes none.
async fn starts_without(stage: &mut Stage, cluster: &Cluster) -> Outcome<()> {
    let delete = ["delete", "secret", "chancery-ca", "-n", "gone"];
    let times = |stage: &Stage| stage.chancery.written().matches("Secret chancery-ca is gone").count();
    let before = times(stage);
    stage.chancery.kill()?;
    cluster.kubectl(&delete).await?;
    stage.chancery.launch()?;
    let api = stage.chancery.api();
    let said = deadline::until("it says what is gone", SOON, async || {
        let waits = api.readiness().await.ok()?;
        (times(stage) > before).then_some(waits)
    });
    let waits = said.await.map_err(|failure| failure.with(&stage.chancery.tail()))?;
    match cluster.kubectl(&delete).await {
        Err(failure) if failure.0.contains("NotFound") && waits.contains("authority") => Ok(()),
        made => Err(Failure::new(format!("{made:?}, readiness: {waits}"))),
    }
}

/// An authority that is gone is not replaced by one that nobody trusts. Brought back it is in use again; and where what was
/// trusted is forgotten as well, there is a new one: the control.
#[tokio::test]
async fn an_authority_that_is_gone_is_not_replaced() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { controllers: true, ..Options::default() }).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "gone").await?;
    stage.secure();
    stage.write_status(3);
    stage.chancery.restart().await?;
    let first = deadline::until("it is told what is trusted", SOON, async || told(&cluster).await).await?;
    let copy = copy_of_authority(&cluster).await?;

    starts_without(&mut stage, &cluster).await?;
    cluster.apply(&copy).await?;
    stage.chancery.ready(SOON).await?;
    assert_eq!(told(&cluster).await.as_ref(), Some(&first));

    starts_without(&mut stage, &cluster).await?;
    cluster.kubectl(&["delete", "configmap", "chancery-root", "-n", "gone"]).await?;
    stage.chancery.ready(SOON).await?;
    let next = deadline::until("something is trusted", SOON, async || told(&cluster).await).await?;
    assert_ne!(next, first);
    Ok(())
}

/// A root that signs itself and ends in that year: with the same key it is the same root, renewed.
fn root(key: &KeyPair, year: i32) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serial_number = Some(u64::from(year.unsigned_abs()).into());
    params.not_after = date_time_ymd(year, 1, 1);
    params.self_signed(key).expect("a root").pem()
}

/// The Secret `mesh`, of that type.
fn secret(namespace: &str, kind: &str, parts: [(&str, &str); 3]) -> String {
    let data = parts.map(|(part, text)| (part.to_owned(), BASE64_STANDARD.encode(text).into()));
    let by = json!({"cert-manager.io/certificate-name": "mesh"});
    json!({"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": {"name": "mesh", "namespace": namespace, "annotations": by},
        "data": serde_json::Map::from_iter(data)})
    .to_string()
}

/// The same as cert-manager writes it for an authority that signs itself.
fn issued(namespace: &str, root: &str, key: &str) -> String {
    secret(namespace, "kubernetes.io/tls", [("tls.crt", root), ("tls.key", key), ("ca.crt", root)])
}

/// Waits until the authority is broken, or not, and ends in that year.
async fn authority_is(stage: &Stage, broken: bool, year: i32) -> Outcome<()> {
    let (what, ends) = (format!("broken: {broken}, ends: {year}"), date_time_ymd(year, 1, 1).unix_timestamp());
    let told = deadline::until(&what, SOON, async || {
        let metrics = stage.chancery.api().metrics().await.ok()?;
        let until = metrics.sum("chancery_ca_expiry_timestamp_seconds", &[("certificate", "authority")]);
        let is = metrics.sum("chancery_ca_broken", &[]) > 0.0;
        (is == broken && until.to_string() == ends.to_string()).then_some(())
    });
    told.await.map_err(|failure| failure.with(&stage.chancery.tail()))
}

/// The authority is one that cert-manager keeps: a broken one changes nothing, and one that is renewed with its key is taken by
/// who trusts the one before. The control: one with another key isn't.
#[tokio::test]
async fn an_authority_may_be_cert_managers() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, "issued").await?;
    stage.secure();
    stage.chancery.flags.extend(["--ca-secret", "mesh"].map(str::to_owned));
    let [key, other] = [(); 2].map(|()| KeyPair::generate().expect("a key"));
    let (first, pem) = (root(&key, 2101), key.serialize_pem());
    cluster.apply(&issued("issued", &first, &pem)).await?;
    stage.chancery.restart().await?;
    stage.hand_token_and(&cluster, "chancery", first.as_bytes()).await?;
    stage.connect().await?;

    cluster.apply(&issued("issued", &first, "garbage")).await?;
    authority_is(&stage, true, 2101).await?;
    let said = stage.chancery.tail();
    if !said.contains("tls.key: it is not a private key") || said.contains("garbage") {
        return Err(Failure::new("the log doesn't name the part, or shows it").with(&said));
    }
    stage.load(20).run().await?.clean()?;
    stage.envoy = None;
    stage.connect().await?;

    cluster.apply(&issued("issued", &root(&key, 2102), &pem)).await?;
    authority_is(&stage, false, 2102).await?;
    stage.envoy = None;
    stage.connect().await?;

    stage.envoy = None;
    assert_eq!(refusals(&stage, "handshake").await, Some(0.0));
    cluster.apply(&issued("issued", &root(&other, 2103), &other.serialize_pem())).await?;
    authority_is(&stage, false, 2103).await?;
    stage.launch_envoy()?;
    refused(&stage, "handshake").await
}

/// `chancery cert rotate` leaves alone what somebody else keeps, and says who. The control: what nobody else does.
#[tokio::test]
async fn what_cert_manager_keeps_is_not_rotated() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    cluster.namespace("kept").await?;
    let (key, kubeconfig) = (KeyPair::generate().expect("a key"), cluster.kubeconfig(ADMIN));
    let (root, pem, kubeconfig) = (root(&key, 2101), key.serialize_pem(), kubeconfig.to_string_lossy());
    let rotate = |flags: &[&str]| {
        let secret = ["cert", "rotate", "--ca-secret", "mesh", "-n", "kept", "--kubeconfig", &kubeconfig];
        spawner::output(&tools::chancery()?, &[&secret[..], flags].concat())
    };
    cluster.apply(&issued("kept", &root, &pem)).await?;
    for flags in [&[][..], &["--plan"]] {
        let refused = rotate(flags).map_err(|failure| failure.0);
        let expected = "Secret mesh: cert-manager, by its Certificate mesh, keeps it";
        assert!(refused.as_ref().is_err_and(|said| said.contains(expected)), "{flags:?}: {refused:?}");
    }
    cluster.kubectl(&["delete", "secret", "mesh", "-n", "kept"]).await?;
    let parts = [("ca-cert.pem", &*root), ("ca-key.pem", &*pem), ("root-cert.pem", &*root)];
    cluster.apply(&secret("kept", "Opaque", parts)).await?;
    assert!(rotate(&["--plan"])?.starts_with("trust   now "));
    Ok(())
}
