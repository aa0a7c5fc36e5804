//! Sidecars: which workloads, what they listen on, and what they see.

mod ingress;

use super::notes::Notes;
use super::traffic_policy::ConnectionPoolSpec;
use super::{policy, syntax};
use crate::model::mesh::OutboundMode;
use crate::model::name::{Host, Namespace};
use crate::model::provenance::ObjectKind;
use crate::model::sidecar::{EgressHost, EgressNamespace, Sidecar};
use crate::source::yaml::marks;
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
struct EgressSpec {
    hosts: Vec<String>,
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
    let egress = egress(spec.egress, notes);
    // Another word was noted by the walk along the field table. Istio's zero value is REGISTRY_ONLY, and no block is none.
    let outbound = spec.outbound_traffic_policy.map(|policy| match &*policy.mode {
        "ALLOW_ANY" => OutboundMode::AllowAny,
        _ => OutboundMode::RegistryOnly,
    });
    Some(Sidecar { selector: selector?, ingress, pool, egress, outbound })
}

fn egress(written: Vec<EgressSpec>, notes: &mut Notes) -> Option<Vec<EgressHost>> {
    if written.is_empty() {
        return None;
    }
    let mut seen = Vec::new();
    for (at, entry) in written.into_iter().enumerate() {
        let path = format!("{}.hosts", marks::index("spec.egress", at));
        if entry.hosts.is_empty() {
            notes.error(&path, "at least one host is needed; \"~/*\" stands for none");
        }
        for (index, host) in entry.hosts.iter().enumerate() {
            let path = marks::index(&path, index);
            seen.extend(notes.check(&path, egress_host(host)).flatten());
            if host.split_once('/').is_some_and(|(_, host)| host != "*" && !host.contains('.')) {
                notes.warning(
                    path,
                    "matches no service: the full name is needed here, such as echo.shop.svc.cluster.local",
                );
            }
        }
    }
    seen.sort();
    seen.dedup();
    Some(seen)
}

/// `namespace/host`; none for what stands for no service.
fn egress_host(written: &str) -> Result<Option<EgressHost>, String> {
    let shape = || format!("{} is not of the form namespace/host", syntax::quoted(written));
    let (namespace, host) = written.split_once('/').ok_or_else(shape)?;
    let namespace = match namespace {
        "~" => return Ok(None),
        "*" => EgressNamespace::Any,
        "." => EgressNamespace::Own,
        excluded if excluded.starts_with('~') => {
            return Err(format!("{}: leaving hosts out is not supported yet", syntax::quoted(written)));
        }
        name => {
            syntax::label(name)?;
            EgressNamespace::Named(Namespace::from(name))
        }
    };
    let lower = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if lower != "*" {
        syntax::subdomain(lower.strip_prefix("*.").unwrap_or(&lower)).map_err(|_| shape())?;
    }
    Ok(Some(EgressHost { namespace, host: Host::from(lower) }))
}
