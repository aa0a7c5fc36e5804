//! What tests do to a control plane: each does to it what it says, and no more.

use crate::harness::cluster::{ADMIN, Cluster, Options, Part};
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use serde_json::Value;
use std::time::Duration;

/// How long something may take.
const SOON: Duration = Duration::from_secs(30);

const READER: &str = "system:serviceaccount:mesh:reader";

/// What lets the reader read ConfigMaps.
const ROLE: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: [''], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: 'system:serviceaccount:mesh:reader'}]
";

/// Makes an object and returns the revision that it is of.
async fn make(cluster: &Cluster, name: &str) -> Outcome<String> {
    let arguments = ["create", "configmap", name, "-n", "default", "-o", "jsonpath={.metadata.resourceVersion}"];
    cluster.kubectl(&arguments).await
}

/// Whether a question is answered within a second.
async fn answers(cluster: &Cluster) -> Outcome<bool> {
    let question = ["get", "configmap", "one", "-n", "default", "--request-timeout=1s"];
    Ok(cluster.try_kubectl(ADMIN, &question, "").await?.success)
}

#[tokio::test]
async fn outages_are_what_they_are_called() -> Outcome<()> {
    let options = Options { users: vec![READER], definitions: Vec::new(), ..Options::default() };
    let (mut cluster, _held) = shared::own(options).await?;
    make(&cluster, "one").await?;
    who_may_read(&cluster).await?;
    for part in [Part::Apiserver, Part::Etcd] {
        it_answers(&cluster).await?;
        cluster.freeze(part)?;
        assert!(!answers(&cluster).await?, "{} is frozen", part.name());
        cluster.thaw(part)?;
        it_answers(&cluster).await?;
        cluster.stop(part)?;
        assert!(!answers(&cluster).await?, "{} is gone", part.name());
        cluster.restart(part).await?;
        it_answers(&cluster).await?;
    }
    history_is_forgotten(&mut cluster).await
}

async fn it_answers(cluster: &Cluster) -> Outcome<()> {
    deadline::until("it answers", SOON, async || answers(cluster).await.ok()?.then_some(())).await
}

async fn who_may_read(cluster: &Cluster) -> Outcome<()> {
    let question = ["get", "configmap", "one", "-n", "default", "-o", "name"];
    let before = cluster.try_kubectl(READER, &question, "").await?;
    assert!(!before.success && before.error.contains("Forbidden"), "{before:?}");
    cluster.apply(ROLE).await?;
    deadline::until("the role is in effect", SOON, async || {
        cluster.try_kubectl(READER, &question, "").await.ok()?.success.then_some(())
    })
    .await?;
    let write = cluster.try_kubectl(READER, &["delete", "configmap", "one", "-n", "default"], "").await?;
    assert!(!write.success, "{write:?}");
    Ok(())
}

/// An API server that was started again can't tell what changed before; it can go on with a list that is read in pages,
/// until that is forgotten, too.
async fn history_is_forgotten(cluster: &mut Cluster) -> Outcome<()> {
    let old = make(cluster, "two").await?;
    let page = first_page(cluster).await?;
    make(cluster, "three").await?;
    let later = [
        format!("/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion={old}"),
        format!("/api/v1/configmaps?limit=1&continue={page}"),
    ];
    assert_eq!(expired(cluster, &later).await?, [false, false]);
    cluster.stop(Part::Apiserver)?;
    cluster.restart(Part::Apiserver).await?;
    assert_eq!(expired(cluster, &later).await?, [true, false]);
    cluster.compact().await?;
    cluster.stop(Part::Apiserver)?;
    cluster.restart(Part::Apiserver).await?;
    assert_eq!(expired(cluster, &later).await?, [true, true]);
    let metrics = cluster.metrics().await?;
    match metrics.sum("apiserver_request_total", &[("verb", "WATCH")]) > 0.0 {
        true => Ok(()),
        false => Err(Failure::new("the API server counts no watch")),
    }
}

/// Which of two questions come too late.
async fn expired(cluster: &Cluster, [watch, rest]: &[String; 2]) -> Outcome<[bool; 2]> {
    Ok([told(cluster, watch).await?.contains("Expired"), told(cluster, rest).await?.contains("Expired")])
}

/// What asks for the second page of the list of ConfigMaps as it is now.
async fn first_page(cluster: &Cluster) -> Outcome<String> {
    let page: Value = serde_json::from_str(&told(cluster, "/api/v1/configmaps?limit=1").await?)?;
    let token = page.pointer("/metadata/continue").and_then(Value::as_str);
    token.map(str::to_owned).ok_or_else(|| Failure::new(format!("no second page: {page}")))
}

/// What the answer to a question is, or the refusal.
async fn told(cluster: &Cluster, path: &str) -> Outcome<String> {
    let answer = cluster.try_kubectl(ADMIN, &["get", "--raw", path], "").await?;
    Ok(answer.output + &answer.error)
}
