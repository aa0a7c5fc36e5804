//! The page of watched kinds, and the rights they need, against the table that is watched by.

use crate::pages;
use chancery::source::kubernetes::kinds::{KINDS, Need, Use, Watched};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

const PAGE: &str = "docs/reference/kubernetes.md";

fn row(kind: &Watched) -> String {
    let need = match kind.need {
        Need::Required => "required",
        Need::Optional => "optional",
    };
    let used = match kind.used {
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
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && line.contains("| `")).collect();
    let expected: Vec<String> = KINDS.iter().map(row).collect();
    assert_eq!(rows, expected, "{PAGE} is not what is watched; its table should be\n{}", expected.join("\n"));
}

/// The rules of the one object of a kind in some texts of YAML.
fn rules(texts: &[String], kind: &str) -> Value {
    let documents = texts.iter().flat_map(|text| serde_yaml_ng::Deserializer::from_str(text));
    let objects = documents.map(|document| Value::deserialize(document).expect("YAML"));
    let found: Vec<_> = objects.filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "there is one {kind}");
    found[0]["rules"].clone()
}

/// Groups and resources of rules.
fn granted(rules: &Value) -> BTreeSet<(String, String)> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in rules.as_array().expect("there are rules") {
        assert_eq!(texts(&rule["verbs"]), ["list", "watch"], "nothing else is asked for");
        for group in texts(&rule["apiGroups"]) {
            granted.extend(texts(&rule["resources"]).into_iter().map(|resource| (group.clone(), resource)));
        }
    }
    granted
}

#[test]
fn the_rights_on_the_page_are_those_that_are_used() {
    let page = pages::blocks(&pages::page(PAGE), "yaml");
    let used = KINDS.iter().map(|kind| ((kind.group.to_owned(), kind.plural.to_owned()), kind.used == Use::Settings));
    let (own, all): (Vec<_>, Vec<_>) = used.partition(|(_, settings)| *settings);
    let names = |kinds: Vec<(_, _)>| kinds.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>();
    assert_eq!(granted(&rules(&page, "ClusterRole")), names(all));
    assert_eq!(granted(&rules(&page, "Role")), names(own));
}

#[test]
fn the_rights_on_the_page_are_those_of_the_manifests() {
    let page = pages::blocks(&pages::page(PAGE), "yaml");
    for (kind, file) in [("ClusterRole", "cluster-role"), ("Role", "role")] {
        let manifest = pages::page(&format!("manifests/kustomize/base/{file}.yaml"));
        assert_eq!(rules(&page, kind), rules(&[manifest], kind), "{PAGE}, {kind}");
    }
}
