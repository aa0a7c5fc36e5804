//! DestinationRules: host, policy, subsets, exports.

use super::client_tls::Secrets;
use super::notes::Notes;
use super::traffic_policy::TrafficPolicySpec;
use super::{exports, policy, syntax};
use crate::model::destination::{DestinationRule, Subset};
use crate::model::name::Namespace;
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::source::yaml::marks;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Spec {
    host: String,
    traffic_policy: TrafficPolicySpec,
    subsets: Vec<SubsetSpec>,
    export_to: Vec<String>,
    workload_selector: Option<SelectorSpec>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SelectorSpec {
    match_labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct SubsetSpec {
    name: String,
    labels: BTreeMap<String, String>,
    traffic_policy: TrafficPolicySpec,
}

/// Parses a DestinationRule.
pub fn parse(value: &Value, key: &ObjectKey, notes: &mut Notes) -> Option<DestinationRule> {
    let spec: Spec = policy::spec(value, ObjectKind::DestinationRule, notes)?;
    let host = host(&spec.host, &key.namespace, notes);
    let selector = spec.workload_selector.map(|selector| syntax::labels(&selector.match_labels));
    let selector = notes.check("spec.workloadSelector.matchLabels", selector.transpose());
    let secrets = Secrets { namespace: &key.namespace, usable: !matches!(selector, Some(None)) };
    let policy = spec.traffic_policy.parse("spec.trafficPolicy", secrets, notes);
    let subsets = subsets(spec.subsets, secrets, notes);
    let exports = notes.check("spec.exportTo", exports::parse(&spec.export_to));
    Some(DestinationRule { host: host?, policy, subsets, exports: exports?, selector: selector? })
}

fn host(written: &str, namespace: &Namespace, notes: &mut Notes) -> Option<crate::model::name::Host> {
    notes.check("spec.host", syntax::host(written, namespace))
}

fn subsets(written: Vec<SubsetSpec>, secrets: Secrets, notes: &mut Notes) -> Vec<Subset> {
    let mut names = BTreeSet::new();
    let mut subsets = Vec::new();
    for (at, subset) in written.into_iter().enumerate() {
        let path = marks::index("spec.subsets", at);
        notes.check(&format!("{path}.name"), syntax::label(&subset.name));
        if !subset.name.is_empty() && !names.insert(subset.name.clone()) {
            notes.error(format!("{path}.name"), format!("the subset {} is there twice", syntax::quoted(&subset.name)));
        }
        let labels = notes.check(&format!("{path}.labels"), syntax::labels(&subset.labels));
        let policy = subset.traffic_policy.parse(&format!("{path}.trafficPolicy"), secrets, notes);
        subsets.push(Subset { name: subset.name.into(), labels: labels.unwrap_or_default(), policy });
    }
    subsets
}
