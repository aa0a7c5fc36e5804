//! EndpointSlices: which addresses are behind a Service.

use super::core::typed;
use super::notes::Notes;
use super::{external_name, syntax};
use crate::model::endpoint::{Endpoint, EndpointSlice};
use crate::model::name::{Name, ServiceKey};
use crate::model::problem::Severity;
use crate::model::provenance::ObjectKey;
use crate::source::yaml::marks;
use k8s_openapi::api::discovery::v1 as k8s;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// Names the Service of a slice.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Says who keeps a slice, and what Kubernetes' own controller says there.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

/// Parses an EndpointSlice. A slice no Service is named by, or of domain names, is nothing we can use.
pub fn parse(value: &Value, key: &ObjectKey, notes: &mut Notes) -> Option<EndpointSlice> {
    let slice: k8s::EndpointSlice = typed(value, "", Severity::Warning, notes)?;
    let labels = slice.metadata.labels.unwrap_or_default();
    let by_hand = labels.get(MANAGED_BY).is_none_or(|manager| manager != CONTROLLER);
    let service = service(labels, key, notes);
    let ports = ports(slice.ports.unwrap_or_default(), notes);
    let endpoints = match &*slice.address_type {
        "IPv4" | "IPv6" => endpoints(slice.endpoints.unwrap_or_default(), &slice.address_type, notes),
        "FQDN" => {
            notes.error("addressType", "domain names as endpoints are not supported, in Istio neither");
            Vec::new()
        }
        other => {
            notes.error(
                "addressType",
                format!("{} is not an address type; it must be IPv4 or IPv6", syntax::quoted(other)),
            );
            Vec::new()
        }
    };
    Some(EndpointSlice { service: service?, ports, endpoints, by_hand })
}

fn service(
    labels: std::collections::BTreeMap<String, String>,
    key: &ObjectKey,
    notes: &mut Notes,
) -> Option<ServiceKey> {
    let Some(name) = labels.get(SERVICE_LABEL) else {
        notes.error("metadata.labels", format!("the label {SERVICE_LABEL} is missing: no Service has these endpoints"));
        return None;
    };
    notes.check(&marks::key("metadata.labels", SERVICE_LABEL), syntax::label(name))?;
    Some(ServiceKey { namespace: key.namespace.clone(), name: Name::from(name.as_str()) })
}

fn ports(written: Vec<k8s::EndpointPort>, notes: &mut Notes) -> Vec<(Arc<str>, u16)> {
    let mut ports = Vec::new();
    for (at, port) in written.into_iter().enumerate() {
        let path = marks::index("ports", at);
        let name = port.name.unwrap_or_default();
        if !name.is_empty() {
            notes.check(&format!("{path}.name"), syntax::label(&name));
        }
        if ports.iter().any(|(other, _): &(Arc<str>, u16)| **other == *name) {
            notes.error(format!("{path}.name"), format!("the port name {} is there twice", syntax::quoted(&name)));
        }
        if let Some(number) = port.port {
            let number = notes.check(&format!("{path}.port"), syntax::port(i64::from(number)));
            ports.extend(number.map(|number| (name.into(), number)));
        }
    }
    ports.sort();
    ports
}

fn endpoints(written: Vec<k8s::Endpoint>, kind: &str, notes: &mut Notes) -> Vec<Endpoint> {
    let endpoint = |(at, endpoint): (usize, k8s::Endpoint)| {
        let path = marks::index("endpoints", at);
        let address = notes.check(&format!("{path}.addresses"), address(&endpoint.addresses, kind))?;
        let conditions = endpoint.conditions.unwrap_or_default();
        let target = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod_uid = target.as_ref().and_then(|target| target.uid.as_deref()).map(Into::into);
        let pod = target.and_then(|target| target.name).filter(|name| !name.is_empty());
        if let Some(name) = &pod {
            notes.check(&format!("{path}.targetRef.name"), syntax::subdomain(name));
        }
        let (for_zones, for_nodes) = meant_for(endpoint.hints.unwrap_or_default());
        Some(Endpoint {
            address,
            ready: conditions.ready.unwrap_or(true),
            serving: conditions.serving.unwrap_or(true),
            terminating: conditions.terminating.unwrap_or(false),
            pod: pod.map(Name::from),
            pod_uid,
            node: endpoint.node_name.filter(|name| !name.is_empty()).map(Name::from),
            zone: endpoint.zone.filter(|zone| !zone.is_empty()).map(Into::into),
            for_zones,
            for_nodes,
        })
    };
    written.into_iter().enumerate().filter_map(endpoint).collect()
}

/// The zones and the Nodes whose clients an endpoint is meant for.
fn meant_for(hints: k8s::EndpointHints) -> (Vec<Arc<str>>, Vec<Name>) {
    let zones = hints.for_zones.into_iter().flatten().map(|zone| zone.name.into()).collect();
    let nodes = hints.for_nodes.into_iter().flatten().map(|node| Name::from(node.name)).collect();
    (sorted(zones), sorted(nodes))
}

fn sorted<T: Ord>(mut names: Vec<T>) -> Vec<T> {
    names.sort();
    names.dedup();
    names
}

/// The first address.
fn address(written: &[String], kind: &str) -> Result<IpAddr, String> {
    let first = written.first().ok_or("an address is missing")?;
    let address: IpAddr = first.parse().map_err(|_| format!("{} is not an IP address", syntax::quoted(first)))?;
    if address.is_ipv4() != (kind == "IPv4") {
        return Err(format!("{address} is not an {kind} address, which addressType promises"));
    }
    external_name::reachable(address)
}
