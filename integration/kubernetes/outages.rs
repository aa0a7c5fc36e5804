//! What tests do to a control plane: each does to it what it says, and no more.

use crate::harness::cluster::{Cluster, Options, Part};
use crate::harness::{Failure, Outcome};

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
    Ok(cluster.try_kubectl("admin", &question, "").await?.success)
}

#[tokio::test]
async fn outages_are_what_they_are_called() -> Outcome<()> {
    let options = Options { users: vec![READER], definitions: Vec::new(), ..Options::default() };
    let mut cluster = Cluster::start(options).await?;
    make(&cluster, "one").await?;
    who_may_read(&cluster).await?;
    for part in [Part::Apiserver, Part::Etcd] {
        assert!(answers(&cluster).await?, "before the outage of {}", part.name());
        cluster.freeze(part)?;
        assert!(!answers(&cluster).await?, "{} is frozen", part.name());
        cluster.thaw(part)?;
        answers_again(&cluster).await?;
        cluster.stop(part)?;
        assert!(!answers(&cluster).await?, "{} is gone", part.name());
        cluster.restart(part).await?;
        answers_again(&cluster).await?;
    }
    history_is_forgotten(&mut cluster).await
}

async fn answers_again(cluster: &Cluster) -> Outcome<()> {
    let limit = std::time::Duration::from_secs(30);
    crate::harness::deadline::until("it answers again", limit, async || answers(cluster).await.ok()?.then_some(()))
        .await
}

async fn who_may_read(cluster: &Cluster) -> Outcome<()> {
    let question = ["get", "configmap", "one", "-n", "default", "-o", "name"];
    let before = cluster.try_kubectl(READER, &question, "").await?;
    assert!(!before.success && before.error.contains("Forbidden"), "{before:?}");
    cluster.apply(ROLE).await?;
    let limit = std::time::Duration::from_secs(10);
    crate::harness::deadline::until("the role is in effect", limit, async || {
        cluster.try_kubectl(READER, &question, "").await.ok()?.success.then_some(())
    })
    .await?;
    let write = cluster.try_kubectl(READER, &["delete", "configmap", "one", "-n", "default"], "").await?;
    assert!(!write.success, "{write:?}");
    Ok(())
}

/// A watch that continues from before a compaction is told so, and one from before it happened is not.
async fn history_is_forgotten(cluster: &mut Cluster) -> Outcome<()> {
    let old = make(cluster, "two").await?;
    make(cluster, "three").await?;
    assert!(!watch(cluster, &old).await?.contains("too old resource version"), "nothing is forgotten yet");
    cluster.compact().await?;
    cluster.stop(Part::Apiserver)?;
    cluster.restart(Part::Apiserver).await?;
    let told = watch(cluster, &old).await?;
    assert!(told.contains("too old resource version"), "{told}");
    let metrics = cluster.metrics().await?;
    match metrics.sum("apiserver_request_total", &[("verb", "WATCH")]) > 0.0 {
        true => Ok(()),
        false => Err(Failure::new("the API server counts no watch")),
    }
}

/// What a watch of ConfigMaps that continues after a revision is told within a second.
async fn watch(cluster: &Cluster, revision: &str) -> Outcome<String> {
    let path = format!("/api/v1/configmaps?watch=1&timeoutSeconds=1&resourceVersion={revision}");
    let answer = cluster.try_kubectl("admin", &["get", "--raw", &path], "").await?;
    Ok(answer.output + &answer.error)
}
