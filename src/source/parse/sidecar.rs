//! Sidecars: which workloads, what they listen on, and what they see.

use super::notes::Notes;
use super::{policy, service, syntax};
use crate::model::mesh::OutboundMode;
use crate::model::name::{Host, Namespace};
use crate::model::provenance::ObjectKind;
use crate::model::service::Protocol;
use crate::model::sidecar::{EgressHost, EgressNamespace, Ingress, Sidecar};
use crate::source::yaml::marks;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    workload_selector: SelectorSpec,
    ingress: Vec<IngressSpec>,
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

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct IngressSpec {
    port: PortSpec,
    bind: String,
    default_endpoint: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PortSpec {
    number: i64,
    protocol: String,
}

/// Parses a Sidecar.
pub fn parse(value: &Value, notes: &mut Notes) -> Option<Sidecar> {
    let spec: Spec = policy::spec(value, ObjectKind::Sidecar, notes)?;
    let selector = notes.check("spec.workloadSelector.labels", syntax::labels(&spec.workload_selector.labels));
    let mut ingress: Vec<Ingress> = Vec::new();
    for (at, listener) in spec.ingress.into_iter().enumerate() {
        let path = marks::index("spec.ingress", at);
        let Some(listener) = listener.parse(&path, notes) else { continue };
        // Also for another address: the cluster that leads to the application is named for the port alone.
        if ingress.iter().any(|other| other.port == listener.port) {
            notes.error(format!("{path}.port.number"), format!("the port {} is there twice", listener.port));
        }
        ingress.push(listener);
    }
    let egress = egress(spec.egress, notes);
    // Another word was noted by the walk along the field table. Istio's zero value is REGISTRY_ONLY, and no block is none.
    let outbound = spec.outbound_traffic_policy.map(|policy| match &*policy.mode {
        "ALLOW_ANY" => OutboundMode::AllowAny,
        _ => OutboundMode::RegistryOnly,
    });
    Some(Sidecar { selector: selector?, ingress, egress, outbound })
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

impl IngressSpec {
    fn parse(self, path: &str, notes: &mut Notes) -> Option<Ingress> {
        let port = notes.check(&format!("{path}.port.number"), syntax::port(self.port.number));
        let protocol = notes.check(&format!("{path}.port.protocol"), protocol(&self.port.protocol));
        let bind = notes.check(&format!("{path}.bind"), bind(&self.bind));
        let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.unwrap_or(0));
        let endpoint = notes.check(&format!("{path}.defaultEndpoint"), endpoint(&self.default_endpoint, here));
        Some(Ingress { port: port?, protocol: protocol?, bind: bind?, endpoint: endpoint? })
    }
}

fn protocol(written: &str) -> Result<Protocol, String> {
    match service::named(written) {
        _ if written.is_empty() => Ok(Protocol::Unnamed),
        Some(Protocol::Udp) | None => Err(format!("{} is not a protocol that can be served", syntax::quoted(written))),
        Some(protocol) => Ok(protocol),
    }
}

fn bind(written: &str) -> Result<Option<IpAddr>, String> {
    if written.is_empty() {
        return Ok(None);
    }
    written.parse().map(Some).map_err(|_| format!("{} is not an IP address", syntax::quoted(written)))
}

/// Istio takes 127.0.0.1, ::1, the Pod's own address written as 0.0.0.0, and sockets. Here it is any loopback address, so
/// that several workloads can share a machine, and not yet the others.
fn endpoint(written: &str, absent: SocketAddr) -> Result<SocketAddr, String> {
    if written.is_empty() {
        return Ok(absent);
    }
    if written.starts_with("unix:") {
        return Err("Unix sockets are not supported yet".to_owned());
    }
    let endpoint: SocketAddr = written
        .parse()
        .map_err(|_| format!("{} is not an address with a port, such as 127.0.0.1:8080", syntax::quoted(written)))?;
    syntax::port(i64::from(endpoint.port()))?;
    if endpoint.ip().is_unspecified() {
        return Err(format!("{written} stands for the Pod's own address, which is not supported yet"));
    }
    if !endpoint.ip().is_loopback() {
        return Err(format!("{written} is not on this machine; a loopback address is expected"));
    }
    Ok(endpoint)
}
