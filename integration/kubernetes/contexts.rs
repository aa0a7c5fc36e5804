//! Of a kubeconfig with several contexts the one that is named is used, with its user and its namespace.

use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::{Failure, Outcome, deadline, spawner, tools};
use crate::shared;
use crate::stage::{SOON, Stage};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may do nothing.
const NOBODY: &str = "nobody";

/// A kubeconfig whose current context is that of who may do nothing; the other one has a namespace.
fn both(cluster: &Cluster, folder: &Path) -> Outcome<PathBuf> {
    let read = |user: &str| -> Outcome<Value> { Ok(serde_json::from_slice(&fs::read(cluster.kubeconfig(user))?)?) };
    let (mut config, other) = (read(ADMIN)?, read(NOBODY)?);
    config["users"].as_array_mut().ok_or_else(|| Failure::new("no users"))?.push(other["users"][0].clone());
    config["contexts"] = json!([
        {"name": "theirs", "context": {"cluster": "test", "user": NOBODY, "namespace": "elsewhere"}},
        {"name": "ours", "context": {"cluster": "test", "user": ADMIN, "namespace": "contexts"}},
    ]);
    config["current-context"] = "theirs".into();
    let path = folder.join("both.kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

#[tokio::test]
async fn the_context_that_is_named_is_used() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { users: vec![NOBODY], ..Options::default() }).await?;
    let files = tempfile::tempdir()?;
    let kubeconfig = both(&cluster, files.path())?;
    let mut stage = Stage::set(&cluster, ADMIN, "contexts").await?;
    stage.reaches_by(&kubeconfig)?;
    // The control: without a name it is the current one.
    stage.chancery.flags = ["--status", "on", "--lease-seconds", "3"].map(str::to_owned).into();
    stage.chancery.launch()?;
    stage.is("services", "denied").await?;
    let reason = stage.chancery.api().kind("services").await?.reason;
    assert!(reason.contains("User \"nobody\""), "{reason}");
    stage.chancery.kill()?;

    stage.chancery.flags.extend(["--context", "ours"].map(str::to_owned));
    stage.chancery.restart().await?;
    stage.is("services", "watching").await?;
    deadline::until("its Lease is in the namespace of the context", SOON, async || {
        let found = cluster.kubectl(&["get", "leases", "-n", "contexts", "-o", "name"]).await.ok()?;
        found.contains("lease.coordination.k8s.io/chancery\n").then_some(())
    })
    .await
    .map_err(|failure| failure.with(&stage.chancery.tail()))?;

    let (file, admin) = (kubeconfig.to_string_lossy(), stage.spare()?.to_string());
    let arguments = ["serve", "--kubeconfig", &*file, "--context", "nowhere", "--admin-address", &admin];
    match spawner::output(&tools::chancery()?, &arguments) {
        Err(failure) if failure.0.contains("nowhere") => Ok(()),
        other => Err(Failure::new(format!("a context that isn't there: {other:?}"))),
    }
}
