//! Two releases of the chart in one namespace, as the page about the installation puts them side by side.

use crate::harness::{Failure, Outcome, spawner, tools};
use crate::rendered::{NAMESPACE, Objects, chart, objects, one};
use serde_json::Value;

/// What makes a second release one beside the first, as the page says.
const BESIDE: [&str; 4] = ["--set", "authority.secret=chancery-ca", "--set", "extraArgs={--status=off}"];

fn release(name: &str, flags: &[&str]) -> Outcome<Objects> {
    let chart = chart().to_string_lossy().into_owned();
    let arguments = [&["template", name, &*chart, "--namespace", NAMESPACE][..], flags].concat();
    objects(&spawner::output(&tools::helm()?, &arguments)?)
}

/// Whether what is at that path of the object of that kind selects the Pods of a release.
fn selects(by: &Objects, (kind, path): (&str, &str), of: &Objects) -> Outcome<bool> {
    let labels = &one(of, "Deployment")?["spec"]["template"]["metadata"]["labels"];
    let selector = one(by, kind)?.pointer(path).and_then(Value::as_object);
    let selector = selector.filter(|selector| !selector.is_empty());
    let selector = selector.ok_or_else(|| Failure::new(format!("{kind} selects everything")))?;
    Ok(selector.iter().all(|(name, value)| labels[name] == *value))
}

#[test]
fn two_releases_are_apart() -> Outcome<()> {
    let (first, next) = (release("chancery", &[])?, release("next", &BESIDE)?);
    let same = |other: &Objects| first.keys().filter(|name| other.contains_key(*name)).count();
    assert_eq!(same(&next), 0, "no object is of both");
    assert_eq!(
        same(&release("chancery", &BESIDE)?),
        first.len(),
        "the control: those of a release of the same name are"
    );
    for selector in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
        ("NetworkPolicy", "/spec/ingress/2/from/0/podSelector/matchLabels"),
    ] {
        assert!(selects(&next, selector, &next)?, "{selector:?}: the control");
        assert!(!selects(&next, selector, &first)? && !selects(&first, selector, &next)?, "{selector:?}");
    }
    Ok(())
}

/// They share the authority, and one of them writes.
#[test]
fn a_second_release_has_the_first_ones_authority_and_leaves_writing_to_it() -> Outcome<()> {
    let next = release("next", &BESIDE)?;
    let args = one(&next, "Deployment")?["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    for flag in ["--status=off", "--lease=next-chancery", "--mesh-config-map=next-chancery"] {
        assert!(args.contains(&format!("{flag:?}")), "{flag}: {args}");
    }
    // By default the Secret is chancery-ca.
    assert!(!args.contains("--ca-secret"), "{args}");
    let read = |objects: &Objects| Ok::<_, Failure>(one(objects, "Role")?["rules"].to_string());
    assert!(read(&next)?.contains("\"resourceNames\":[\"chancery-ca\"]"));
    assert!(read(&release("next", &[])?)?.contains("\"resourceNames\":[\"next-chancery-ca\"]"), "the control");
    Ok(())
}
