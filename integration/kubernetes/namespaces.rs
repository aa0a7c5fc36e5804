//! Some namespaces only: rights to these are enough, all of them are waited for, and what is in others is not there.

use crate::harness::cluster::{Cluster, Options};
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, service, slice};

const USER: &str = "neighbour";

/// The right to see everything in a namespace.
fn role(namespace: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {USER}, namespace: {namespace}}}\n\
         rules: [{{apiGroups: ['*'], resources: ['*'], verbs: [list, watch]}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {USER}, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {USER}}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {USER}}}]\n"
    )
}

/// A Service in a namespace, with an endpoint.
fn objects(namespace: &str, ip: &str) -> String {
    format!("{}---\n{}", service(namespace, "more"), slice(namespace, "more", &[ip]))
}

/// Waits until Envoy has exactly this endpoint of the Service of a namespace.
async fn has(stage: &Stage, namespace: &str, ip: &str) -> Outcome<()> {
    let name = format!("outbound|80||more.{namespace}.svc.cluster.local");
    deadline::until(&format!("Envoy has {ip} of {namespace}"), SOON, async || {
        let found = stage.envoy().healthy_endpoints(&name).await.ok()?;
        (found.len() == 1 && found.iter().all(|endpoint| endpoint.ip().to_string() == ip)).then_some(())
    })
    .await
}

/// What is said of a kind: where it is watched, how that goes, and how many objects there are.
async fn said(stage: &Stage, resource: &str) -> Outcome<Vec<(String, String, u64)>> {
    let kinds = stage.chancery.api().kinds().await?;
    let kinds = kinds.into_iter().filter(|kind| kind.resource == resource);
    Ok(kinds.map(|kind| (kind.within, kind.state, kind.objects)).collect())
}

fn place(within: &str, state: &str, objects: u64) -> (String, String, u64) {
    (within.to_owned(), state.to_owned(), objects)
}

async fn set(cluster: &Cluster) -> Outcome<Stage> {
    let mut stage = Stage::set(cluster, USER, "near").await?;
    stage.chancery.flags.extend(["--watch-namespaces", "near,also"].map(str::to_owned));
    for (namespace, ip) in [("also", "10.9.2.1"), ("far", "10.9.3.1")] {
        cluster.namespace(namespace).await?;
        cluster.apply(&objects(namespace, ip)).await?;
    }
    Ok(stage)
}

#[tokio::test]
async fn only_what_is_in_the_named_namespaces_is_there() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { users: vec![USER], ..Options::default() }).await?;
    let mut stage = set(&cluster).await?;
    cluster.apply(&role("near")).await?;
    stage.chancery.launch()?;
    deadline::until("services are seen in one of the two", SOON, async || {
        let states: Vec<_> = said(&stage, "services").await.ok()?.into_iter().map(|(_, state, _)| state).collect();
        (states == ["denied", "watching"]).then_some(())
    })
    .await?;
    let told = stage.chancery.api().readiness().await?;
    let reason = "services in also (denied: services is forbidden: User \"neighbour\" cannot list resource \"services\" in \
                  API group \"\" in the namespace \"also\"";
    assert!(told.contains(reason), "{told}");
    let api = stage.chancery.api();
    let services = async |metric: &str| -> Outcome<f64> {
        Ok(api.metrics().await?.sum(&format!("chancery_kubernetes_{metric}"), &[("kind", "services")]))
    };
    assert_eq!((services("synced").await?, services("objects").await?), (0.0, 2.0), "one of the two is not followed");
    let log = stage.chancery.tail();
    assert!(log.contains("services in also"), "{log}");
    cluster.apply(&role("also")).await?;
    stage.chancery.ready(SOON).await?;
    deadline::until("both are followed", SOON, async || (services("synced").await.ok()? == 1.0).then_some(())).await?;
    assert_eq!(services("objects").await?, 3.0, "of both together");
    stage.connect().await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    has(&stage, "also", "10.9.2.1").await?;
    let services = [place("also", "watching", 1), place("near", "watching", 2)];
    assert_eq!(said(&stage, "services").await?, services, "the Service elsewhere is not there");
    assert_eq!(said(&stage, "nodes").await?, [place("", "denied", 0)]);
    assert_eq!(said(&stage, "namespaces").await?, [place("also", "denied", 0), place("near", "denied", 0)]);
    // What happens elsewhere is not seen, and what happens after it here is.
    cluster.apply(&objects("far", "10.9.3.2")).await?;
    cluster.apply(&objects("also", "10.9.2.2")).await?;
    has(&stage, "also", "10.9.2.2").await?;
    let clusters = stage.envoy().dump("dynamic_active_clusters").await?;
    let all = serde_json::to_string(&clusters)?;
    assert!(all.contains("more.also.svc") && !all.contains("more.far.svc"), "{all}");
    // Right by right: whoever may see a namespace as an object may say so for that one alone.
    cluster.apply(&see_one()).await?;
    deadline::until("one namespace is seen", SOON, async || {
        let found = said(&stage, "namespaces").await.ok()?;
        (found == [place("also", "denied", 0), place("near", "watching", 1)]).then_some(())
    })
    .await
}

/// The right to see one namespace itself.
fn see_one() -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {USER}}}\n\
         rules: [{{apiGroups: [''], resources: [namespaces], resourceNames: [near], verbs: [list, watch]}}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {USER}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {USER}}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {USER}}}]\n"
    )
}
