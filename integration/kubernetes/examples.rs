//! The examples are what a real API server takes, and what it stores of them means the same.

use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::{Outcome, spawner, tools};
use crate::shared;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// What the addresses of a tutorial that asks for nothing but one machine begin with: no cluster takes them for a Pod's.
const LOCAL: &str = "127.77.0.";

/// Kinds of the examples; Namespaces are those of the cluster.
const KINDS: &str = "namespaces,pods,services,endpointslices,sidecars,virtualservices,destinationrules";

/// Every folder of examples but that of broken ones; a folder has the name of the namespace that it is in.
fn folders() -> Outcome<Vec<String>> {
    let entries = fs::read_dir(tools::root().join("manifests/examples"))?;
    let names: Result<Vec<_>, _> =
        entries.map(|entry| Ok::<_, std::io::Error>(entry?.file_name().to_string_lossy().into_owned())).collect();
    Ok(names?.into_iter().filter(|name| name != "broken").collect())
}

/// All manifests of a folder.
fn manifests(name: &str) -> Outcome<String> {
    let folder = tools::root().join("manifests/examples").join(name);
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            texts.push(fs::read_to_string(path)?);
        }
    }
    Ok(texts.join("\n---\n"))
}

/// What is wrong with the manifests of a file, without the places.
fn said(file: &Path) -> Outcome<Vec<String>> {
    let file = file.display().to_string();
    let printed = spawner::output(&tools::chancery()?, &["analyze", &file])?;
    let findings = printed.lines().filter_map(|line| line.strip_prefix(&file)?.split_once(": ")); // `:line: text`
    Ok(findings.map(|(_, text)| text.to_owned()).collect())
}

/// What a proxy would be given for the manifests of a file.
fn translated(file: &Path, proxy: &str) -> Outcome<String> {
    let file = file.display().to_string();
    spawner::output(&tools::chancery()?, &["translate", "--file", &file, "--proxy", proxy])
}

#[tokio::test]
async fn the_examples_are_accepted_and_keep_their_meaning() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let names = folders()?;
    assert!(names.len() >= 2, "{names:?}");
    let control = said(&tools::root().join("manifests/examples/broken/no-object.yaml"))?;
    assert_eq!(control, ["warning: there is no object in this file"], "the control");
    for (position, name) in names.iter().enumerate() {
        cluster.namespace(name).await?;
        let text = manifests(name)?;
        if text.contains(LOCAL) {
            let dry = ["apply", "--dry-run=server", "-f", "-"];
            let refused = cluster.try_kubectl(ADMIN, &dry, &text).await?;
            assert!(refused.error.contains("may not be in the loopback range"), "{name}: {refused:?}");
        }
        // Each example has a cluster to itself, and so the same addresses for its Services.
        let text = text.replace(LOCAL, "10.77.0.").replace("10.96.77.", &format!("10.96.{}.", 100 + position));
        means_the_same(&cluster, name, &text).await?;
    }
    Ok(())
}

/// Stores manifests and compares what all their proxies are given for them, and for what was stored.
async fn means_the_same(cluster: &Cluster, namespace: &str, text: &str) -> Outcome<()> {
    cluster.apply(text).await?;
    let pods = pods(text)?;
    for (name, status) in &pods {
        let patch = json!({ "status": status }).to_string();
        let arguments = ["patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch];
        cluster.kubectl(&arguments).await?;
    }
    let dump = cluster.kubectl(&["get", KINDS, "-n", namespace, "-o", "yaml", "--show-managed-fields"]).await?;
    let files = tempfile::tempdir()?;
    let (written, stored) = (files.path().join("written.yaml"), files.path().join("stored.yaml"));
    fs::write(&written, text)?;
    fs::write(&stored, &dump)?;
    assert!(dump.contains("managedFields") && dump.contains("internalTrafficPolicy"), "the control: much was added");
    assert_eq!(said(&stored)?, said(&written)?, "{dump}");
    for (name, _) in &pods {
        let proxy = format!("{name}.{namespace}");
        let expected = translated(&written, &proxy)?;
        assert!(expected.contains("outbound|"), "{proxy} is given something:\n{expected}");
        assert!(expected == translated(&stored, &proxy)?, "{proxy} is given something else for:\n{dump}");
    }
    Ok(())
}

/// The names and states of the Pods.
fn pods(text: &str) -> Outcome<Vec<(String, Value)>> {
    let mut found = Vec::new();
    for document in text.split("\n---\n") {
        let object: Value = serde_yaml_ng::from_str(document)?;
        if object["kind"] == "Pod" {
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            found.push((name.to_owned(), object["status"].clone()));
        }
    }
    Ok(found)
}
