//! The page of watched kinds, and the rights they need, against the table that is watched by.

use crate::pages;
use chancery::model::provenance::ObjectKind;
use chancery::source::kubernetes::kinds::{KINDS, Need, SECRETS, Use, Watched};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

const PAGE: &str = "docs/reference/kubernetes.md";

fn row(kind: &Watched) -> String {
    let need = match kind.need {
        Need::Required => "required",
        Need::Served => "required where it is served",
        Need::Optional => "optional",
    };
    let used = match kind.used {
        Use::Read(ObjectKind::Secret) => "in effect, in [namespaces that are named](#secrets)",
        Use::Read(_) => "in effect",
        Use::Settings => "settings of the mesh",
        Use::Listed => "listed: a warning on each object says that it is not in effect",
        Use::ListedSecurity => "listed: an error on each object says that it protects nothing",
    };
    format!("| {} | `{kind}` | {} | {need} | {used} |", kind.kind, kind.versions.join(", "))
}

#[test]
fn every_watched_kind_is_on_the_page() {
    let page = pages::page(PAGE);
    let opening = page.split("\n## ").next().unwrap_or_default();
    let rows: Vec<&str> = opening.lines().filter(|line| line.starts_with("| ") && line.contains("| `")).collect();
    let expected: Vec<String> = KINDS.iter().chain([&SECRETS]).map(row).collect();
    assert_eq!(rows, expected, "{PAGE} is not what is watched; its table should be\n{}", expected.join("\n"));
}

/// Group, resource and verb.
type Right = (String, String, String);

/// The rules of the one object of a kind and name in some texts of YAML.
fn rules(texts: &[String], kind: &str, name: &str) -> Value {
    let documents = texts.iter().flat_map(|text| serde_yaml_ng::Deserializer::from_str(text));
    let objects = documents.map(|document| Value::deserialize(document).expect("YAML"));
    let found: Vec<_> = objects.filter(|object| object["kind"] == kind && object["metadata"]["name"] == name).collect();
    assert_eq!(found.len(), 1, "there is one {kind}");
    found[0]["rules"].clone()
}

/// Groups, resources and verbs of rules.
fn granted(rules: &Value) -> BTreeSet<Right> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in rules.as_array().expect("there are rules") {
        let (resources, verbs) = (texts(&rule["resources"]), texts(&rule["verbs"]));
        for group in texts(&rule["apiGroups"]) {
            for resource in &resources {
                granted.extend(verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
            }
        }
    }
    granted
}

fn right(group: &str, resource: &str, verb: &str) -> Right {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

#[test]
fn the_rights_on_the_page_are_those_that_are_used() {
    let page = pages::blocks(&pages::page(PAGE), "yaml");
    let (own, all): (Vec<_>, Vec<_>) = KINDS.iter().partition(|kind| kind.used == Use::Settings);
    let read = |kind: &&Watched| ["list", "watch"].map(|verb| right(kind.group, kind.plural, verb));
    let written = KINDS.iter().filter(|kind| kind.has_status());
    let written = written.map(|kind| right(kind.group, &format!("{}/status", kind.plural), "patch"));
    let roots = ["create", "patch"].map(|verb| right("", "configmaps", verb));
    let told = roots.into_iter().chain([right("events.k8s.io", "events", "create")]);
    let all = all.iter().flat_map(read).chain(written).chain(told);
    assert_eq!(granted(&rules(&page, "ClusterRole", "chancery")), all.collect());
    let verbs = ["get", "list", "create", "update", "patch", "delete"];
    let leases = verbs.map(|verb| right("coordination.k8s.io", "leases", verb));
    let authority = ["create", "get"].map(|verb| right("", "secrets", verb));
    let roots = ["get", "create", "patch"].map(|verb| right("", "configmaps", verb));
    let own = own.iter().flat_map(read).chain(leases).chain(authority).chain(roots);
    assert_eq!(granted(&rules(&page, "Role", "chancery")), own.collect());
    let secrets = granted(&rules(&page, "Role", "chancery-secrets"));
    assert_eq!(secrets, read(&&SECRETS).into_iter().collect());
}

#[test]
fn the_rights_on_the_page_are_those_of_the_manifests() {
    let page = pages::blocks(&pages::page(PAGE), "yaml");
    for (kind, name, file) in [
        ("ClusterRole", "chancery", "base/cluster-role"),
        ("Role", "chancery", "base/role"),
        ("Role", "chancery-secrets", "secrets/role"),
    ] {
        let manifest = pages::page(&format!("manifests/kustomize/{file}.yaml"));
        assert_eq!(rules(&page, kind, name), rules(&[manifest], kind, name), "{PAGE}, {kind}");
    }
}
