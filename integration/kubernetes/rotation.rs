//! A root that is in a Secret takes over from another in three steps, and nothing of any key is shown meanwhile.

use crate::harness::client::Client;
use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::{Failure, Outcome, deadline, spawner, tools};
use crate::shared;
use crate::stage::Stage;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const NAMESPACE: &str = "rolled";
/// How soon a step has been seen by chancery and written for the namespaces.
const SOON: Duration = Duration::from_secs(30);

/// Makes the next step, and says which.
fn rotated(cluster: &Cluster) -> Outcome<String> {
    let kubeconfig = cluster.kubeconfig(ADMIN);
    let arguments = ["cert", "rotate", "--now", "-n", NAMESPACE, "--kubeconfig", &kubeconfig.to_string_lossy()];
    let said = spawner::output(&tools::chancery()?, &arguments)?;
    Ok(said.split(':').next().unwrap_or_default().to_owned())
}

/// The certificates that namespaces are told to trust.
async fn trusted(cluster: &Cluster) -> Option<BTreeSet<String>> {
    let path = "jsonpath={.data.root-cert\\.pem}";
    let told = cluster.kubectl(&["get", "configmap", "chancery-root", "-n", NAMESPACE, "-o", path]).await.ok()?;
    let certificates = told.split_inclusive("-----END CERTIFICATE-----").map(str::trim);
    Some(certificates.filter(|text| text.contains("BEGIN")).map(str::to_owned).collect())
}

/// What nobody may be shown of the Secret: the values of its keys as the API server tells them, and the lines of the keys.
async fn keys(cluster: &Cluster) -> Outcome<BTreeSet<String>> {
    let secret = cluster.kubectl(&["get", "secret", "chancery-ca", "-n", NAMESPACE, "-o", "json"]).await?;
    let secret: Value = serde_json::from_str(&secret)?;
    let mut found = BTreeSet::new();
    for (name, value) in secret["data"].as_object().into_iter().flatten().filter(|(name, _)| name.contains("key")) {
        let encoded = value.as_str().ok_or_else(|| Failure::new(format!("{name} is no text")))?;
        let text = String::from_utf8(BASE64_STANDARD.decode(encoded)?)?;
        found.insert(encoded.to_owned());
        found.extend(text.lines().filter(|line| line.len() > 40 && !line.contains("-----")).map(str::to_owned));
    }
    Ok(found)
}

/// Whoever trusts what its namespace is told is served after each step, connected or anew; at the end one root is left, which is
/// another than at first. All the while the log says all that it can, and neither it nor any page shows a key or the token. The
/// control: what stands beside them is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_in_a_secret_takes_over_and_no_key_is_shown() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, NAMESPACE).await?;
    stage.secure();
    stage.write_status(3);
    stage.chancery.flags.extend(["--log-level", "trace"].map(str::to_owned));
    stage.chancery.restart().await?;
    deadline::until("the namespace is told", SOON, async || trusted(&cluster).await).await?;
    let (first, mut secrets) = (trusted(&cluster).await.unwrap_or_default(), keys(&cluster).await?);
    assert_eq!(first.len(), 1);
    stage.hand_token(&cluster, "chancery").await?;
    stage.connect().await?;
    for (step, roots) in [("trust", 2), ("sign", 2), ("forget", 1)] {
        assert_eq!(rotated(&cluster)?, step);
        let told = async || trusted(&cluster).await.filter(|told| told.len() == roots);
        let told = deadline::until(step, SOON, told).await.map_err(|failure| failure.with(&stage.chancery.tail()))?;
        secrets.extend(keys(&cluster).await?);
        stage.load(20).run().await?.clean()?;
        stage.envoy = None;
        let told = Vec::from_iter(told).join("\n");
        stage.hand_token_and(&cluster, "chancery", told.as_bytes()).await?;
        let token = fs::read_to_string(stage.files.path().join("token"))?;
        secrets.extend(token.trim().rsplit('.').next().map(str::to_owned));
        stage.connect().await.map_err(|failure| failure.with(step))?;
    }
    let last = trusted(&cluster).await.unwrap_or_default();
    assert!(last.is_disjoint(&first), "the control: it is another root");
    assert!(secrets.len() >= 8 && secrets.iter().all(|secret| secret.len() > 30), "the control: {}", secrets.len());
    let mut shown = stage.chancery.written();
    for page in
        ["/metrics", "/api/v1/proxies", "/api/v1/problems", "/api/v1/objects", "/api/v1/kinds", "/api/v1/status"]
    {
        shown += &String::from_utf8_lossy(&Client::default().get(stage.chancery.admin, page, &[]).await?.body);
    }
    for beside in ["TRACE", "chancery_ca_certificates_signed_total", "connectedAt", NAMESPACE] {
        assert!(shown.contains(beside), "the control: {beside}");
    }
    secrets.insert("PRIVATE KEY".to_owned());
    match secrets.iter().find(|secret| shown.contains(*secret)) {
        Some(secret) => Err(Failure::new(format!("this was shown: {secret}"))),
        None => Ok(()),
    }
}
