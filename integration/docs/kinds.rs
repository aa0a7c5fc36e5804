//! The page of watched kinds, and the rights they need, against the table that is watched by.

use crate::pages;
use chancery::source::kubernetes::kinds::{KINDS, Need, Use, Watched};
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

/// Groups and resources of the rules in a manifest on the page.
fn granted(page: &str) -> BTreeSet<(String, String)> {
    let manifest = pages::blocks(page, "yaml").into_iter().find(|block| block.contains("kind: ClusterRole"));
    let role: serde_json::Value =
        serde_yaml_ng::from_str(&manifest.expect("the page has a ClusterRole")).expect("YAML");
    let texts = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let rules = role["rules"].as_array().expect("it has rules");
    let mut granted = BTreeSet::new();
    for rule in rules {
        assert_eq!(texts(&rule["verbs"]), ["list", "watch"], "nothing else is asked for");
        for group in texts(&rule["apiGroups"]) {
            granted.extend(texts(&rule["resources"]).into_iter().map(|resource| (group.clone(), resource)));
        }
    }
    granted
}

#[test]
fn the_rights_on_the_page_are_those_that_are_used() {
    let used = KINDS.iter().map(|kind| (kind.group.to_owned(), kind.plural.to_owned())).collect::<BTreeSet<_>>();
    assert_eq!(granted(&pages::page(PAGE)), used);
}
