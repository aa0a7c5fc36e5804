//! What is rendered, as files that people read: `golden/NAME.yaml`. `CHANCERY_REWRITE=1` rewrites them.

use crate::harness::{Outcome, tools};
use crate::rendered::{KUSTOMIZATIONS, Objects, kustomize, objects, one};
use serde_json::Value;
use std::fs;

#[test]
fn what_kustomize_renders_is_what_was_read() -> Outcome<()> {
    let mut wrong = Vec::new();
    for (name, folder) in KUSTOMIZATIONS {
        let file = tools::root().join(format!("integration/manifests/golden/{name}.yaml"));
        let found = kustomize(folder)?;
        if std::env::var_os("CHANCERY_REWRITE").is_some() {
            fs::write(&file, &found)?;
        } else if fs::read_to_string(&file).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nmake golden rewrites them; read the difference", wrong.join("\n"));
    assert_ne!(kustomize("base")?, kustomize("overlays/ha")?, "the control: another folder is something else");
    Ok(())
}

/// What is wrong with the labels, and with what selects by them: an object that misses its own Pods says nothing.
fn mislabelled(objects: &Objects) -> Vec<String> {
    let Ok(deployment) = one(objects, "Deployment") else { return vec!["there is no Deployment".to_owned()] };
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    let names: Vec<_> = selector.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let mut wrong = Vec::new();
    if names != ["app.kubernetes.io/instance", "app.kubernetes.io/name"] {
        wrong.push(format!("a Deployment's selector can't be changed later: {selector}"));
    }
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    wrong
        .extend(names.iter().filter(|name| labels[**name] != selector[**name]).map(|name| format!("Pods lack {name}")));
    let spreads = deployment.pointer("/spec/template/spec/topologySpreadConstraints").and_then(Value::as_array);
    let of = |kind: &str, path: &str| one(objects, kind).ok().map(|object| object.pointer(path).cloned());
    let selectors = [
        of("Service", "/spec/selector"),
        of("PodDisruptionBudget", "/spec/selector/matchLabels"),
        of("NetworkPolicy", "/spec/podSelector/matchLabels"),
        of("ServiceMonitor", "/spec/selector/matchLabels"),
    ];
    let spread = spreads.into_iter().flatten().map(|spread| spread.pointer("/labelSelector/matchLabels").cloned());
    for found in selectors.into_iter().flatten().chain(spread) {
        if found.as_ref() != Some(selector) {
            wrong.push(format!("this selects others: {found:?}"));
        }
    }
    for (name, object) in objects {
        let own = object["metadata"]["labels"]["app.kubernetes.io/version"].as_str();
        if own != Some(env!("CARGO_PKG_VERSION")) {
            wrong.push(format!("{name} is of version {own:?}"));
        }
    }
    wrong
}

#[test]
fn labels_and_selectors_agree() -> Outcome<()> {
    for (name, folder) in KUSTOMIZATIONS {
        assert_eq!(mislabelled(&objects(&kustomize(folder)?)?), Vec::<String>::new(), "{name}");
    }
    Ok(())
}

/// The control.
#[test]
fn another_selector_or_version_is_noticed() -> Outcome<()> {
    let text = kustomize("base")?;
    let version = format!("app.kubernetes.io/version: {}", env!("CARGO_PKG_VERSION"));
    for (kind, from, to, count) in [
        (
            "Service",
            "app.kubernetes.io/instance: chancery\n    app.kubernetes.io/name: chancery\n---",
            "app: a\n---",
            1,
        ),
        ("Deployment", "matchLabels:\n      app.kubernetes.io/instance", "matchLabels:\n      app", 4),
        ("Namespace", &*version, "app.kubernetes.io/version: 9", objects(&text)?.len()),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{kind}");
        let wrong = mislabelled(&objects(&changed)?);
        assert_eq!(wrong.len(), count, "{kind}: {wrong:#?}");
    }
    Ok(())
}
