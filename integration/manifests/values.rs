//! The values of the chart: each is described where it is, in its schema and, generated, on the page of the chart; any other
//! is refused. `CHANCERY_REWRITE=1` writes the page.

use crate::harness::{Failure, Outcome};
use crate::rendered::{chart, helm};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs;

/// A value that is described.
pub struct Entry {
    /// Its name, with those of what it is in: `image.tag`.
    pub name: String,
    /// What it is if nobody sets it.
    default: Value,
    /// What is said of it.
    text: String,
}

/// Every value that has a remark above it. One that has none is described with what it is in, or with what it consists of.
pub fn entries() -> Outcome<Vec<Entry>> {
    let text = fs::read_to_string(chart().join("values.yaml"))?;
    let all: Value = serde_yaml_ng::from_str(&text)?;
    let (mut found, mut remark, mut path) = (Vec::new(), Vec::new(), Vec::<&str>::new());
    for line in text.lines() {
        let inside = line.trim_start();
        if let Some(more) = inside.strip_prefix("# ") {
            remark.push(more);
        } else if let Some((key, _)) = inside.split_once(':').filter(|_| !inside.starts_with('-')) {
            path.truncate((line.len() - inside.len()) / 2);
            path.push(key);
            if !remark.is_empty() {
                let default = all.pointer(&format!("/{}", path.join("/"))).cloned();
                let default = default.ok_or_else(|| Failure::new(format!("values.yaml: {line}")))?;
                found.push(Entry { name: path.join("."), default, text: remark.join(" ") });
            }
            remark.clear();
        }
    }
    Ok(found)
}

/// Values that nothing is said of: neither of them, nor of what they are in.
fn undescribed(value: &Map<String, Value>, before: &str, entries: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value) in value {
        let name = format!("{before}{key}");
        match value.as_object().filter(|object| !object.is_empty()) {
            _ if entries.iter().any(|entry| entry.name == name) => {}
            Some(object) => found.extend(undescribed(object, &format!("{name}."), entries)),
            None => found.push(name),
        }
    }
    found
}

const HEAD: &str = "# The chart of chancery

What it installs, and how to: [installation](../../../docs/reference/installation.md). `values-minimal.yaml`,
`values-ha.yaml`, `values-monitoring.yaml` and `values-namespaced.yaml` beside this page are for one small replica, for three that are
spread strictly, for those who watch it with the Prometheus operator and Grafana, and for some namespaces only. What is not on this page is refused.

Written by `make golden` from the remarks in `values.yaml`.

| value | default | |
|---|---|---|
";

fn page(entries: &[Entry]) -> String {
    let row =
        |entry: &Entry| format!("| `{}` | `{}` | {} |\n", entry.name, entry.default, entry.text.replace('|', "\\|"));
    HEAD.to_owned() + &entries.iter().map(row).collect::<String>()
}

#[test]
fn every_value_is_described_on_the_page() -> Outcome<()> {
    let (entries, file) = (entries()?, chart().join("README.md"));
    let all: Value = serde_yaml_ng::from_str(&fs::read_to_string(chart().join("values.yaml"))?)?;
    let all = all.as_object().ok_or_else(|| Failure::new("values.yaml has no values"))?;
    assert_eq!(undescribed(all, "", &entries), Vec::<String>::new());
    assert_eq!(undescribed(all, "", &entries[1..]), [entries[0].name.clone()], "the control");
    let page = page(&entries);
    if std::env::var_os("CHANCERY_REWRITE").is_some() {
        fs::write(&file, page)?;
    } else if fs::read_to_string(&file)? != page {
        return Err(Failure::new(format!("{} is not what values.yaml says; make golden writes it", file.display())));
    }
    Ok(())
}

/// The objects of the schema that have properties, by their names, each with the names of what is in it.
fn groups(schema: &Value, before: &str) -> Outcome<Vec<(String, BTreeSet<String>)>> {
    let Some(properties) = schema["properties"].as_object() else { return Ok(Vec::new()) };
    if schema["additionalProperties"] != false {
        return Err(Failure::new(format!("the schema takes anything in {before:?}")));
    }
    let mut found = vec![(before.to_owned(), properties.keys().cloned().collect())];
    for (name, inner) in properties {
        let name = if before.is_empty() { name.clone() } else { format!("{before}.{name}") };
        found.extend(groups(inner, &name)?);
    }
    Ok(found)
}

#[test]
fn the_schema_knows_every_value_and_no_other() -> Outcome<()> {
    let schema: Value = serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json"))?)?;
    let all: Value = serde_yaml_ng::from_str(&fs::read_to_string(chart().join("values.yaml"))?)?;
    let groups = groups(&schema, "")?;
    for (name, mut known) in groups {
        known.remove("global"); // Helm's own.
        let inside = if name.is_empty() { Some(&all) } else { all.pointer(&format!("/{}", name.replace('.', "/"))) };
        let Some(Value::Object(inside)) = inside else {
            return Err(Failure::new(format!("values.yaml has no {name}")));
        };
        // Kinds of Kubernetes in which nothing is set.
        if !inside.is_empty() {
            assert_eq!(inside.keys().cloned().collect::<BTreeSet<_>>(), known, "{name}");
        }
    }
    Ok(())
}

/// What Helm says when it refuses values.
fn refusal(values: &str) -> Outcome<String> {
    match helm(&["--set", values]) {
        Ok(_) => Err(Failure::new(format!("{values} is taken"))),
        Err(failure) => Ok(failure.0),
    }
}

#[test]
fn other_values_are_refused_by_name() -> Outcome<()> {
    let schema: Value = serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json"))?)?;
    for (name, _) in groups(&schema, "")? {
        let set = format!("{name}{}mistake=1", if name.is_empty() { "" } else { "." });
        let said = refusal(&set)?;
        assert!(said.contains("'mistake' not allowed"), "{set}: {said}");
    }
    for (set, expected) in [
        ("replicas=two", "got string, want integer"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.digest=sha256:12", "does not match pattern"),
        ("terminationGracePeriodSeconds=5", "minimum"),
        ("listenAddress=127.0.0.1", "/listenAddress"),
        ("xds.maxConnectionAge=soon", "does not match pattern"),
        ("podLabels.a.b=c", "want string"),
        ("watchNamespaces[0]=No", "does not match pattern"),
        ("secretNamespaces[0]=No", "does not match pattern"),
        ("topologySpread[0].maxSkew=1", "missing properties"),
        ("podDisruptionBudget.unhealthyPodEvictionPolicy=Never", "/podDisruptionBudget/unhealthyPodEvictionPolicy"),
        ("authority.certManager.duration=soon", "does not match pattern"),
        ("authority.certManager.rotationPolicy=Sometimes", "/authority/certManager/rotationPolicy"),
        ("authority.certManager.issuerRef.kind=", "does not match pattern"),
        ("authority.certManager.enabled=true", "authority.certManager.issuerRef.name is empty"),
        (
            "authority.certManager.enabled=true,authority.certManager.issuerRef.name=a,authority.secret=b",
            "authority.secret and authority.certManager.enabled exclude each other",
        ),
        ("networkPolicy.xdsFrom[0].podSelectors.a=b", "'podSelectors' not allowed"),
    ] {
        let said = refusal(set)?;
        assert!(said.contains(expected), "{set}: {said}");
    }
    helm(&["--set", "global.anything=1"]).map(drop) // The control, and what a chart around this one may set.
}
