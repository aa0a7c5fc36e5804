//! Sidecars: which workloads, and what they listen on.

use super::notes::Notes;
use super::{policy, service, syntax};
use crate::model::provenance::ObjectKind;
use crate::model::service::Protocol;
use crate::model::sidecar::{Ingress, Sidecar};
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
    Some(Sidecar { selector: selector?, ingress })
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
