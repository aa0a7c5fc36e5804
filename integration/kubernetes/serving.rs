//! What the API server has is what a real Envoy has: everything at first, then what changes.

use crate::harness::cluster::ADMIN;
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, service, slice};

#[tokio::test]
async fn changes_in_the_cluster_reach_envoy() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let stage = Stage::open(&cluster, ADMIN, "serving").await?;
    stage.load(20).run().await?.clean()?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    cluster.apply(&slice("serving", "inside", &["10.9.0.21", "10.9.0.22"])).await?;
    stage.has_endpoints("inside", &["10.9.0.21", "10.9.0.22"]).await?;
    cluster.apply(&format!("{}---\n{}", service("serving", "more"), slice("serving", "more", &["10.9.0.30"]))).await?;
    stage.has_endpoints("more", &["10.9.0.30"]).await?;
    assert_eq!(stage.removed().await?, 0);
    cluster.kubectl(&["delete", "service", "more", "-n", "serving"]).await?;
    deadline::until("the cluster is gone", SOON, async || (stage.removed().await.ok()? == 1).then_some(())).await
}

/// A Service with a selector, and Pods as their node would report them.
const BEHIND: &str = "
apiVersion: v1
kind: Service
metadata: {name: pods, namespace: joined}
spec: {selector: {app: pods}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: joined, labels: {app: pods, version: v1}}
spec: {nodeName: node, containers: [{name: app, image: app, ports: [{name: web, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: joined, labels: {app: pods, version: v2}}
spec: {nodeName: node, containers: [{name: app, image: app, ports: [{name: web, containerPort: 9090}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pods, namespace: joined}
spec:
  host: pods
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
";

/// Slices of the real controller, joined with their Pods for subsets; what a Pod's readiness does to them.
#[tokio::test]
async fn slices_are_joined_with_their_pods() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let stage = Stage::open(&cluster, ADMIN, "joined").await?;
    cluster.apply(BEHIND).await?;
    cluster.set_pod("joined", "one", "10.9.1.1", true).await?;
    cluster.set_pod("joined", "two", "10.9.1.2", true).await?;
    stage.has_endpoints("pods", &["10.9.1.1", "10.9.1.2"]).await?;
    let subset = |name: &str| format!("outbound|80|{name}|pods.joined.svc.cluster.local");
    for (name, expected) in [("v1", "10.9.1.1:8080"), ("v2", "10.9.1.2:9090")] {
        let found = deadline::until("a subset has its endpoint", SOON, async || {
            stage.envoy().endpoints(&subset(name)).await.ok().filter(|found| !found.is_empty())
        });
        let found: Vec<_> = found.await?.iter().map(ToString::to_string).collect();
        assert_eq!(found, [expected], "{name}");
    }
    cluster.set_pod("joined", "one", "10.9.1.1", false).await?;
    stage.has_endpoints("pods", &["10.9.1.2"]).await
}

/// Settings come from a ConfigMap; a mistake in them is told, and what was in effect stays.
#[tokio::test]
async fn settings_come_from_a_config_map() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let stage = Stage::open(&cluster, ADMIN, "settings").await?;
    let timeout = async |expected: &str| {
        let name = stage.cluster_of("inside");
        deadline::until(&format!("the timeout is {expected}"), SOON, async || {
            let clusters = stage.envoy().dump("dynamic_active_clusters").await.ok()?;
            let found = clusters.iter().find(|found| found.pointer("/cluster/name").is_some_and(|it| *it == *name))?;
            (found.pointer("/cluster/connect_timeout")? == expected).then_some(())
        })
        .await
    };
    timeout("10s").await?;
    let settings = |text: &str| {
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "chancery", "namespace": "settings"}, "data": {"mesh": text}})
        .to_string()
    };
    cluster.apply(&settings("connectTimeout: 3s\n")).await?;
    timeout("3s").await?;
    cluster.apply(&settings("connectTimeout: [\n")).await?;
    deadline::until("the mistake is told", SOON, async || {
        let problems = stage.chancery.api().problems().await.ok()?;
        problems.iter().any(|problem| problem.object.as_deref() == Some("MeshConfig mesh")).then_some(())
    })
    .await?;
    timeout("3s").await?;
    cluster.kubectl(&["delete", "configmap", "chancery", "-n", "settings"]).await?;
    timeout("10s").await
}
