//! Each right of the roles is needed: chancery runs as its ServiceAccount with all of them but those to one verb, and says
//! of each kind that it may not. And nothing else is: with all of them it is refused nothing.

use crate::harness::addresses::Subnet;
use crate::harness::chancery::Chancery;
use crate::harness::cluster::{Cluster, Definitions, Options};
use crate::harness::{Failure, Outcome, deadline};
use crate::rendered::{NAMESPACE, Objects, kustomize, list, objects};
use crate::shared;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use tempfile::TempDir;

/// How long it may take to notice.
const SOON: Duration = Duration::from_secs(30);

/// A right as the API server names it when it refuses.
type Right = (String, String, String);

/// The strings of a list.
fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// Every right that the roles give: verb, resource and group.
fn rights(objects: &Objects) -> BTreeSet<Right> {
    let rules = objects.values().filter_map(|object| object["rules"].as_array()).flatten();
    let mut found = BTreeSet::new();
    for rule in rules {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let right = |verb| (verb, resource.clone(), group.clone());
                found.extend(texts(&rule["verbs"]).into_iter().map(right));
            }
        }
    }
    found
}

/// The same objects for a namespace of their own, without the rights to a verb.
fn without(objects: &Objects, verb: &str, namespace: &str) -> Objects {
    let mut changed = objects.clone();
    for object in changed.values_mut() {
        if ["ClusterRole", "ClusterRoleBinding"].iter().any(|kind| object["kind"] == *kind) {
            object["metadata"]["name"] = namespace.into();
        }
        if object["kind"] == "ClusterRoleBinding" {
            object["roleRef"]["name"] = namespace.into();
        }
        for rule in object.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
            let verbs: Vec<_> = texts(&rule["verbs"]).into_iter().filter(|other| other != verb).collect();
            rule["verbs"] = verbs.into();
        }
        if let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) {
            rules.retain(|rule| rule["verbs"] != Value::Array(Vec::new())); // The API server takes no rule without any.
        }
        let text = object.to_string().replace(NAMESPACE, namespace);
        *object = serde_json::from_str(&text).expect("one name in place of another");
    }
    changed
}

/// chancery as the ServiceAccount of a namespace.
struct Watcher {
    chancery: Chancery,
    log: std::path::PathBuf,
    _files: TempDir,
}

impl Watcher {
    /// Makes the objects that it needs, and starts it.
    async fn start(
        cluster: &Cluster,
        objects: &Objects,
        namespace: &str,
        (subnet, host): (&Subnet, u8),
    ) -> Outcome<Self> {
        let kinds = ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
        let needed = objects.values().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
        let (first, rest): (Vec<_>, Vec<_>) = needed.partition(|object| object["kind"] == "Namespace");
        cluster.apply(&list(first.into_iter().chain(rest))).await?;
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let log = files.path().join("log");
        let account = cluster.account(namespace, "chancery").await?;
        let mut chancery = Chancery::of_cluster(subnet, host, &account, log.clone())?;
        chancery.flags = ["--namespace", namespace, "--watch-seconds", "4"].map(str::to_owned).into();
        chancery.launch()?;
        Ok(Self { chancery, log, _files: files })
    }

    /// Everything that it says to those who ask.
    async fn said(&self) -> Outcome<String> {
        let api = self.chancery.api();
        let kinds: Vec<_> =
            api.kinds().await?.iter().map(|kind| format!("{}: {}", kind.resource, kind.reason)).collect();
        Ok([kinds.join("\n"), api.readiness().await?, std::fs::read_to_string(&self.log)?].join("\n"))
    }

    /// Waits until it has said of each right that it lacks it.
    async fn misses(&self, rights: &[&Right]) -> Outcome<()> {
        let mut left = Vec::new();
        let noticed = deadline::until("it says what it may not do", SOON, async || {
            let said = self.said().await.ok()?;
            left = rights.iter().filter(|right| !said.contains(&refusal(right))).collect();
            left.is_empty().then_some(())
        });
        let noticed = noticed.await;
        noticed.map_err(|failure| failure.with(&format!("nobody misses {left:?}")).with(&self.chancery.tail()))
    }
}

/// How the API server words it.
fn refusal((verb, resource, group): &Right) -> String {
    format!("cannot {verb} resource \"{resource}\" in API group \"{group}\"")
}

#[tokio::test]
async fn each_right_is_needed_and_no_other() -> Outcome<()> {
    let options = Options { definitions: Definitions::ALL.into(), ..Options::default() };
    let (cluster, _held) = shared::own(options).await?;
    let (all, subnet) = (objects(&kustomize("base")?)?, Subnet::take()?);
    let rights = rights(&all);
    let verbs: BTreeSet<&String> = rights.iter().map(|(verb, ..)| verb).collect();
    let full = without(&all, "", "rights-of-all");
    let mut full = Watcher::start(&cluster, &full, "rights-of-all", (&subnet, 1)).await?;
    for (verb, host) in verbs.into_iter().zip(2..) {
        let namespace = format!("rights-but-{verb}");
        let fewer = without(&all, verb, &namespace);
        let watcher = Watcher::start(&cluster, &fewer, &namespace, (&subnet, host)).await?;
        let missing: Vec<_> = rights.iter().filter(|(other, ..)| other == verb).collect();
        watcher.misses(&missing).await.map_err(|failure| failure.with(&format!("without {verb}")))?;
        let unused = (verb.clone(), "secrets".to_owned(), String::new());
        assert!(!watcher.said().await?.contains(&refusal(&unused)), "the control: nobody misses what nobody uses");
    }
    full.chancery.ready(SOON).await?;
    deadline::until("every kind is watched", SOON, async || {
        let kinds = full.chancery.api().kinds().await.ok()?;
        kinds.iter().all(|kind| kind.state == "watching").then_some(())
    })
    .await?;
    match full.said().await?.lines().find(|line| line.contains("cannot ")) {
        None => Ok(()),
        Some(line) => Err(Failure::new(format!("it lacks a right: {line}"))),
    }
}
