//! Secrets of namespaces that are named, and of no others.

use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A rule that lets every client of the namespace connect with a Secret, and the Secret.
fn manifests(namespace: &str) -> Outcome<String> {
    let made = rcgen::generate_simple_self_signed(vec!["client.example".to_owned()])?;
    let [certificate, key] =
        [made.cert.pem(), made.signing_key.serialize_pem()].map(|text| BASE64_STANDARD.encode(text));
    Ok(format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: inside, namespace: {namespace}}}\n\
         spec: {{host: inside, workloadSelector: {{}}, trafficPolicy: {{tls: {{mode: MUTUAL, credentialName: far}}}}}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: far, namespace: {namespace}}}\ntype: kubernetes.io/tls\n\
         data: {{tls.crt: {certificate}, tls.key: {key}, ca.crt: {certificate}}}\n"
    ))
}

/// A client whose chancery reads the Secrets of one namespace.
async fn client(cluster: &Cluster, namespace: &str, named: &str) -> Outcome<Stage> {
    let mut stage = Stage::set(cluster, ADMIN, namespace).await?;
    stage.secure();
    stage.chancery.flags.extend(["--secret-namespaces", named].map(str::to_owned));
    stage.chancery.restart().await?;
    cluster.apply(&manifests(namespace)?).await?;
    stage.hand_token(cluster, "chancery").await?;
    stage.connect().await?;
    Ok(stage)
}

/// The names of the secrets of its namespace that Envoy has.
async fn held(stage: &Stage) -> Option<Vec<String>> {
    let secrets = stage.envoy().dump("dynamic_active_secrets").await.ok()?;
    let names = secrets.iter().filter_map(|secret| secret["name"].as_str().map(str::to_owned));
    let mut names: Vec<_> = names.filter(|name| name.starts_with("kubernetes://")).collect();
    names.sort();
    Some(names)
}

/// What is said of the rule for want of the Secret.
async fn said(stage: &Stage) -> Option<String> {
    let problems = stage.chancery.api().problems().await.ok()?;
    let rule = format!("DestinationRule {}/inside", stage.namespace);
    let of = |problem: &&crate::harness::api::Problem| problem.object.as_deref() == Some(&*rule);
    problems.iter().filter(of).map(|problem| problem.text.clone()).find(|text| text.contains("Secret"))
}

/// A Secret of a namespace that is named reaches the proxy, and one that is deleted is said to be missing; one of another
/// namespace reaches nobody, and the rule is told by which flag it would.
#[tokio::test]
async fn secrets_are_read_where_somebody_says_so() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let listed = client(&cluster, "secrets-read", "secrets-read").await?;
    let both = ["kubernetes://far", "kubernetes://far-cacert"];
    deadline::until("the Secret reaches the proxy", SOON, async || (held(&listed).await? == both).then_some(()))
        .await
        .map_err(|failure| failure.with(&listed.chancery.tail()))?;
    if let Some(text) = said(&listed).await {
        return Err(Failure::new(format!("this is said of the rule: {text}")));
    }

    let other = client(&cluster, "secrets-hidden", "secrets-read").await?;
    let named = |text: String| text.contains("--secret-namespaces names, of which secrets-hidden has to be one");
    deadline::until("the rule is told", SOON, async || named(said(&other).await?).then_some(())).await?;
    if held(&other).await != Some(Vec::new()) {
        return Err(Failure::new("a Secret of a namespace that is not named reached a proxy"));
    }
    other.load(20).run().await?.clean()?;

    cluster.kubectl(&["delete", "secret", "far", "-n", "secrets-read"]).await?;
    deadline::until("it is said to be missing", SOON, async || said(&listed).await.map(drop)).await?;
    listed.load(20).run().await?.clean()
}
