//! Ingress of Sidecars: where a workload listens, and where the application behind it does.

use crate::model::service::Protocol;
use crate::model::sidecar::{DefaultEndpoint, Ingress};
use crate::source::parse::notes::Notes;
use crate::source::parse::traffic_policy::ConnectionPoolSpec;
use crate::source::parse::{external_name, service, syntax};
use crate::source::yaml::marks;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// The longest path the operating system takes for a Unix socket.
const LONGEST_PATH: usize = 107;

/// `ingress[]` as written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressSpec {
    port: PortSpec,
    bind: String,
    capture_mode: String,
    default_endpoint: String,
    connection_pool: Option<ConnectionPoolSpec>,
}

/// A port as written.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct PortSpec {
    /// `number`.
    pub number: i64,
    /// `protocol`.
    pub protocol: String,
}

/// Validates `ingress`.
pub fn parse(written: Vec<IngressSpec>, notes: &mut Notes) -> Vec<Ingress> {
    let mut ingress: Vec<Ingress> = Vec::new();
    for (at, listener) in written.into_iter().enumerate() {
        let path = marks::index("spec.ingress", at);
        let Some(listener) = listener.parse(&path, notes) else { continue };
        // Also for another address: the cluster that leads to the application is named for the port alone.
        if ingress.iter().any(|other| other.port == listener.port) {
            notes.error(format!("{path}.port.number"), format!("the port {} is there twice", listener.port));
        }
        ingress.push(listener);
    }
    ingress
}

impl IngressSpec {
    fn parse(self, path: &str, notes: &mut Notes) -> Option<Ingress> {
        let port = notes.check(&format!("{path}.port.number"), syntax::port(self.port.number));
        let protocol = notes.check(&format!("{path}.port.protocol"), protocol(&self.port.protocol));
        let bind = notes.check(&format!("{path}.bind"), bind(&self.bind));
        let endpoint = notes.check(&format!("{path}.defaultEndpoint"), endpoint(&self.default_endpoint));
        let pool = self.connection_pool.map(|pool| pool.parse(&format!("{path}.connectionPool"), notes));
        // Another word was noted by the walk along the field table.
        let opened = self.capture_mode == "NONE";
        Some(Ingress { port: port?, protocol: protocol?, bind: bind?, opened, endpoint: endpoint?, pool })
    }
}

/// What a port of a Sidecar speaks.
pub fn protocol(written: &str) -> Result<Protocol, String> {
    match service::named(written) {
        _ if written.is_empty() => Ok(Protocol::Unnamed),
        Some(Protocol::Udp) | None => Err(format!("{} is not a protocol that can be served", syntax::quoted(written))),
        Some(protocol) => Ok(protocol),
    }
}

/// The address of a listener.
pub fn bind(written: &str) -> Result<Option<IpAddr>, String> {
    if written.is_empty() {
        return Ok(None);
    }
    written.parse().map(Some).map_err(|_| format!("{} is not an IP address", syntax::quoted(written)))
}

/// Istio takes 127.0.0.1, ::1, the Pod's own address written as 0.0.0.0 or ::, and Unix sockets. Here it is any loopback
/// address, so that several workloads can share a machine.
fn endpoint(written: &str) -> Result<DefaultEndpoint, String> {
    if written.is_empty() {
        return Ok(DefaultEndpoint::Unsaid);
    }
    if let Some(path) = written.strip_prefix("unix://") {
        return socket(path).map(|()| DefaultEndpoint::Socket(path.into()));
    }
    let shape = || {
        let forms = "127.0.0.1:8080, 0.0.0.0:8080 or unix:///path";
        format!("{} is not an address with a port, such as {forms}", syntax::quoted(written))
    };
    let endpoint: SocketAddr = written.parse().map_err(|_| shape())?;
    syntax::port(i64::from(endpoint.port()))?;
    external_name::port(endpoint.port())?;
    match endpoint.ip() {
        ip if ip.is_unspecified() => Ok(DefaultEndpoint::Instance(endpoint)),
        ip if ip.is_loopback() => Ok(DefaultEndpoint::Loopback(endpoint)),
        _ => Err(format!("{written} is not on this machine; a loopback address or 0.0.0.0 is expected")),
    }
}

/// The path of a Unix socket, or a name after `@`.
fn socket(path: &str) -> Result<(), String> {
    if path.len() > LONGEST_PATH {
        return Err(format!("the path of a Unix socket has at most {LONGEST_PATH} bytes; this has {}", path.len()));
    }
    if !path.starts_with(['/', '@']) || path.len() == 1 || path.chars().any(char::is_control) {
        return Err(format!("{} is not a path of a Unix socket, such as unix:///run/app.sock", syntax::quoted(path)));
    }
    Ok(())
}
