//! Sidecars: which workloads, what they listen on, and what they see.

mod egress;
mod ingress;

use super::notes::Notes;
use super::traffic_policy::ConnectionPoolSpec;
use super::{policy, syntax};
use crate::model::mesh::OutboundMode;
use crate::model::provenance::ObjectKind;
use crate::model::sidecar::Sidecar;
use egress::EgressSpec;
use ingress::IngressSpec;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    workload_selector: SelectorSpec,
    ingress: Vec<IngressSpec>,
    inbound_connection_pool: Option<ConnectionPoolSpec>,
    egress: Vec<EgressSpec>,
    outbound_traffic_policy: Option<OutboundSpec>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OutboundSpec {
    mode: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SelectorSpec {
    labels: BTreeMap<String, String>,
}

/// Parses a Sidecar.
pub fn parse(value: &Value, notes: &mut Notes) -> Option<Sidecar> {
    let spec: Spec = policy::spec(value, ObjectKind::Sidecar, notes)?;
    let selector = notes.check("spec.workloadSelector.labels", syntax::labels(&spec.workload_selector.labels));
    let ingress = ingress::parse(spec.ingress, notes);
    let pool = spec.inbound_connection_pool.map(|pool| pool.parse("spec.inboundConnectionPool", notes));
    let egress = egress::parse(spec.egress, notes);
    // Another word was noted by the walk along the field table. Istio's zero value is REGISTRY_ONLY, and no block is none.
    let outbound = spec.outbound_traffic_policy.map(|policy| match &*policy.mode {
        "ALLOW_ANY" => OutboundMode::AllowAny,
        _ => OutboundMode::RegistryOnly,
    });
    Some(Sidecar { selector: selector?, ingress, pool, egress, outbound })
}
