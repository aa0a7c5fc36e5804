//! The Pods of the Deployment, made by the real controllers in a namespace that enforces Pod Security, and run as a node
//! would.

use crate::harness::cluster::Cluster;
use crate::harness::{Outcome, deadline};
use crate::node::Node;
use crate::rendered::{NAMESPACE, kustomize};
use crate::shared;
use serde_json::Value;
use std::time::Duration;

/// How long something may take.
const SOON: Duration = Duration::from_secs(30);

/// The ready addresses behind our Service.
async fn behind(cluster: &Cluster) -> Option<Vec<String>> {
    let question =
        ["get", "endpointslices", "-n", NAMESPACE, "-l", "kubernetes.io/service-name=chancery", "-o", "json"];
    let list: Value = serde_json::from_str(&cluster.kubectl(&question).await.ok()?).ok()?;
    let slices = list["items"].as_array()?.iter();
    let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let mut found: Vec<_> = ready.filter_map(|endpoint| Some(endpoint["addresses"][0].as_str()?.to_owned())).collect();
    found.sort();
    Some(found)
}

#[tokio::test]
async fn both_replicas_serve_as_they_are_deployed() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let files = tempfile::tempdir()?;
    cluster.apply(&kustomize("base")?).await?;
    let mut node = Node::new(&cluster, files.path().join("newest"))?;
    node.during(async {
        cluster.kubectl(&["rollout", "status", "deployment/chancery", "-n", NAMESPACE, "--timeout=60s"]).await?;
        deadline::until("the Service leads to both", SOON, async || {
            (behind(&cluster).await? == ["10.9.77.1", "10.9.77.2"]).then_some(())
        })
        .await?;
        let leases = ["get", "leases", "-n", NAMESPACE, "-o", "name"];
        deadline::until("the replicas find each other", SOON, async || {
            let found = cluster.kubectl(&leases).await.ok()?;
            (found.lines().filter(|name| name.contains("chancery-peer-chancery-")).count() == 2).then_some(())
        })
        .await?;
        cluster.kubectl(&["scale", "deployment/chancery", "-n", NAMESPACE, "--replicas=0"]).await?;
        deadline::until("both have ended in the time they have", SOON, async || {
            behind(&cluster).await?.is_empty().then_some(())
        })
        .await
    })
    .await
}
