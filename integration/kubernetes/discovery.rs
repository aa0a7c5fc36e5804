//! Namespaces that no selector of the settings selects are not there; labels and settings change, and they come and go.

use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, service, slice};
use crate::told::{Told, says_in};
use serde_json::json;

/// Sets the settings of the mesh.
async fn settle(cluster: &Cluster, settings: &str) -> Outcome<()> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "chancery", "namespace": "chosen"},
        "data": {"mesh": settings}});
    cluster.apply(&map.to_string()).await
}

async fn label(cluster: &Cluster, namespace: &str, label: &str) -> Outcome<()> {
    cluster.kubectl(&["label", "namespace", namespace, label, "--overwrite"]).await.map(drop)
}

/// A Service with an endpoint, and a rule that names nobody.
fn objects(namespace: &str, ip: &str) -> String {
    let rule = format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: wrong, namespace: {namespace}}}\n\
         spec: {{hosts: [more], http: [{{route: [{{destination: {{host: nobody}}}}]}}]}}\n"
    );
    format!("{}---\n{}\n---\n{rule}", service(namespace, "more"), slice(namespace, "more", &[ip]))
}

/// Waits until Envoy has exactly these of the Services named `more`, by namespace.
async fn has(stage: &Stage, expected: &[&str]) -> Outcome<()> {
    let what = format!("Envoy knows the Services of {expected:?}");
    let mut found = Vec::new();
    let same = deadline::until(&what, SOON, async || {
        let clusters = stage.envoy().dump("dynamic_active_clusters").await.ok()?;
        let name = |entry: &serde_json::Value| Some(entry.pointer("/cluster/name")?.as_str()?.to_owned());
        let namespace = |name: String| Some(name.strip_prefix("outbound|80||more.")?.split('.').next()?.to_owned());
        found = clusters.iter().filter_map(name).filter_map(namespace).collect::<Vec<_>>();
        found.sort();
        (found == expected).then_some(())
    });
    let same = same.await;
    same.map_err(|failure| failure.with(&format!("{found:?}")).with(&stage.chancery.tail()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_come_and_go_with_their_labels() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "chosen").await?;
    stage.write_status(15);
    for (namespace, ip) in [("left", "10.9.2.1"), ("right", "10.9.3.1")] {
        cluster.namespace(namespace).await?;
        cluster.apply(&objects(namespace, ip)).await?;
    }
    label(&cluster, "chosen", "mesh=on").await?;
    label(&cluster, "left", "mesh=on").await?;
    settle(
        &cluster,
        "discoverySelectors: [{matchLabels: {mesh: 'on'}}, {matchExpressions: [{key: also, operator: Exists}]}]",
    )
    .await?;
    stage.chancery.restart().await?;
    stage.connect().await?;
    has(&stage, &["left"]).await?;
    // What is not read is not judged either.
    says_in(&cluster, (&stage, "left"), "virtualservice/wrong", ("ResolvedRefs", "False NotFound")).await?;
    let right = Told::of(&cluster, "right", "virtualservice/wrong").await?;
    assert_eq!(right.0.get("status"), None, "{}", right.0);
    assert_eq!(told_of(&stage).await?, ["VirtualService left/wrong"]);

    label(&cluster, "right", "also=").await?;
    has(&stage, &["left", "right"]).await?;
    says_in(&cluster, (&stage, "right"), "virtualservice/wrong", ("ResolvedRefs", "False NotFound")).await?;
    label(&cluster, "left", "mesh=off").await?;
    has(&stage, &["right"]).await?;
    // It is kept up to date meanwhile.
    cluster.apply(&slice("left", "more", &["10.9.2.2"])).await?;
    label(&cluster, "left", "mesh=on").await?;
    has(&stage, &["left", "right"]).await?;
    let name = "outbound|80||more.left.svc.cluster.local";
    deadline::until("its newest endpoint is known", SOON, async || {
        let found = stage.envoy().healthy_endpoints(name).await.ok()?;
        (found.len() == 1 && found[0].ip().to_string() == "10.9.2.2").then_some(())
    })
    .await?;

    // What is wrong with the selectors is said, and those before stay.
    settle(&cluster, "discoverySelectors: [{matchExpressions: [{key: mesh, operator: Is, values: ['on']}]}]").await?;
    deadline::until("the mistake is told", SOON, async || {
        let problems = stage.chancery.api().problems().await.ok()?;
        let field = "discoverySelectors[0].matchExpressions[0].operator";
        problems.iter().any(|problem| problem.field == field && problem.severity == "error").then_some(())
    })
    .await?;
    has(&stage, &["left", "right"]).await?;
    settle(&cluster, "discoverySelectors: [{matchLabels: {mesh: 'on'}}]").await?;
    has(&stage, &["left"]).await?;
    settle(&cluster, "connectTimeout: 5s").await?;
    has(&stage, &["left", "right"]).await?;
    stage.load(20).run().await?.clean()
}

/// The objects outside the stage's namespace of which anything is said.
async fn told_of(stage: &Stage) -> Outcome<Vec<String>> {
    let problems = stage.chancery.api().problems().await?;
    let objects = problems.into_iter().filter_map(|problem| problem.object);
    Ok(objects.filter(|object| object.contains("/wrong")).collect())
}
