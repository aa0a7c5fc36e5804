//! PeerAuthentications. One with an error stands for STRICT where it is for, so that a slip opens nothing.
//!
//! Reached by any value at all; what leaves is always a policy.

use super::notes::Notes;
use super::{policy, syntax};
use crate::model::authentication::{Mode, PeerAuthentication, Selector};
use crate::model::provenance::ObjectKind;
use crate::source::yaml::marks;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    selector: SelectorSpec,
    mtls: MtlsSpec,
    port_level_mtls: BTreeMap<String, MtlsSpec>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SelectorSpec {
    match_labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MtlsSpec {
    mode: String,
}

/// Parses a PeerAuthentication.
pub fn parse(value: &Value, notes: &mut Notes) -> PeerAuthentication {
    // Of another version nothing is known but where Istio has always had the selector.
    let known = if notes.failed() { None } else { understood(value, notes) };
    if let (Some(known), false) = (known, notes.failed()) {
        return known;
    }
    PeerAuthentication { selector: selector(value), mode: Some(Mode::Strict), ports: BTreeMap::new() }
}

fn understood(value: &Value, notes: &mut Notes) -> Option<PeerAuthentication> {
    let spec: Spec = policy::spec(value, ObjectKind::PeerAuthentication, notes)?;
    notes.check("spec.selector.matchLabels", syntax::labels(&spec.selector.match_labels));
    let selector = selector(value);
    let mut ports = BTreeMap::new();
    for (port, mtls) in spec.port_level_mtls {
        let number = port.parse().map_err(|_| format!("{} is not a port", syntax::quoted(&port)));
        let number = notes.check(&marks::key("spec.portLevelMtls", &port), number.and_then(syntax::port));
        ports.extend(number.map(|number| (number, mode(&mtls))));
    }
    if value.pointer("/spec/portLevelMtls").and_then(Value::as_object).is_some_and(Map::is_empty) {
        notes.warning("spec.portLevelMtls", "has no port in it");
    }
    if selector == Selector::Everything && !ports.is_empty() {
        notes.error("spec.portLevelMtls", "is for the ports of some workloads, which spec.selector must select");
    }
    Some(PeerAuthentication { selector, mode: mode(&spec.mtls), ports })
}

/// Another word was noted by the walk along the field table.
fn mode(written: &MtlsSpec) -> Option<Mode> {
    match &*written.mode {
        "DISABLE" => Some(Mode::Disable),
        "PERMISSIVE" => Some(Mode::Permissive),
        "STRICT" => Some(Mode::Strict),
        _ => None,
    }
}

/// The workloads it is for, however wrong the rest is.
fn selector(value: &Value) -> Selector {
    let absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    let written = value.get("spec").and_then(|spec| spec.get("selector"));
    let labels = written.and_then(|selector| selector.get("matchLabels"));
    if absent(written) || (written.is_some_and(Value::is_object) && absent(labels)) {
        return Selector::Everything;
    }
    let labels = labels.and_then(|labels| BTreeMap::<String, String>::deserialize(labels).ok());
    match labels.and_then(|labels| syntax::labels(&labels).ok()) {
        Some(labels) if labels.is_empty() => Selector::Everything,
        Some(labels) => Selector::Labels(labels),
        None => Selector::Unreadable,
    }
}
