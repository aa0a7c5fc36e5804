//! What the manifests are rendered to, by Kustomize and by Helm: objects, each under its kind, namespace and name.

use crate::harness::{Failure, Outcome, spawner, tools};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The folders that Kustomize renders, under `manifests/kustomize`, each with the name that it goes by.
pub const KUSTOMIZATIONS: [(&str, &str); 5] = [
    ("base", "base"),
    ("ha", "overlays/ha"),
    ("minimal", "overlays/minimal"),
    ("monitoring", "overlays/monitoring"),
    ("namespaced", "overlays/namespaced"),
];

/// The namespace that they are for.
pub const NAMESPACE: &str = "chancery-system";

/// Objects by `Kind namespace/name`.
pub type Objects = BTreeMap<String, Value>;

/// What Kustomize makes of a folder under `manifests/kustomize`.
pub fn kustomize(folder: &str) -> Outcome<String> {
    let folder = tools::root().join("manifests/kustomize").join(folder);
    spawner::output(&tools::kubernetes("kubectl")?, &["kustomize", &folder.to_string_lossy()])
}

/// Where the chart is.
pub fn chart() -> PathBuf {
    tools::root().join("manifests/helm/chancery")
}

/// What Helm makes of the chart as the release `chancery`, with further flags.
pub fn helm(flags: &[&str]) -> Outcome<String> {
    let chart = chart().to_string_lossy().into_owned();
    let arguments = [&["template", "chancery", &*chart, "--namespace", NAMESPACE][..], flags].concat();
    spawner::output(&tools::helm()?, &arguments)
}

/// The objects of a text, of which no two may be the same.
pub fn objects(text: &str) -> Outcome<Objects> {
    let mut objects = Objects::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let object = Value::deserialize(document)?;
        if object.is_null() {
            continue; // Nothing but remarks.
        }
        if let Some(twice) = objects.insert(name(&object), object) {
            return Err(Failure::new(format!("{} is there twice", name(&twice))));
        }
    }
    Ok(objects)
}

/// What an object is called.
fn name(object: &Value) -> String {
    let part = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}/{}", part("/kind"), part("/metadata/namespace"), part("/metadata/name"))
}

/// The one object of a kind.
pub fn one<'a>(objects: &'a Objects, kind: &str) -> Outcome<&'a Value> {
    let found: Vec<_> = objects.values().filter(|object| object["kind"] == kind).collect();
    match found[..] {
        [one] => Ok(one),
        _ => Err(Failure::new(format!("there are {} objects of the kind {kind}", found.len()))),
    }
}

/// The objects as one text that kubectl reads.
pub fn list<'a>(objects: impl IntoIterator<Item = &'a Value>) -> String {
    let items: Vec<_> = objects.into_iter().collect();
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
