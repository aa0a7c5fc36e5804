//! Services: addresses, ports, and what the ports speak (Istio's protocol selection).

use super::core::{report, typed};
use super::notes::Notes;
use super::{external_name, syntax};
use crate::model::exports::Exports;
use crate::model::labels::Labels;
use crate::model::name::{Host, ServiceKey};
use crate::model::problem::Severity;
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::service::{Distribution, Protocol, Service, ServicePort, TargetPort};
use crate::source::yaml::marks;
use k8s_openapi::api::core::v1 as k8s;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// Parses a Service.
pub fn parse(value: &Value, key: &ObjectKey, notes: &mut Notes) -> Option<Service> {
    let service: k8s::Service = typed(value, "", Severity::Warning, notes)?;
    let spec = service.spec.unwrap_or_default();
    report(value, ObjectKind::Service, notes);
    let external = external(&spec, notes);
    let distribution = distribution(&spec, service.metadata.annotations.as_ref(), notes);
    let node_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let selector: Option<Labels> =
        notes.check("spec.selector", syntax::labels(&spec.selector.clone().unwrap_or_default()));
    let addresses = addresses(&spec, notes);
    let prefers_v6 = prefers_v6(&spec, &addresses, notes);
    let addresses = sorted(addresses);
    let headless = spec.cluster_ip.as_deref() == Some("None");
    let written = spec.ports.unwrap_or_default();
    if written.is_empty() && !headless && external.is_none() {
        notes.error("spec.ports", "a Service needs a port, unless it is headless");
    }
    if external.is_some() {
        outside(&written, notes);
    }
    let ports = ports(written, notes);
    let key = ServiceKey::from(key);
    let host = key.host();
    let exports = exports(service.metadata.annotations.unwrap_or_default(), notes);
    let publish_not_ready = spec.publish_not_ready_addresses.unwrap_or(false);
    Some(Service {
        key,
        host,
        addresses,
        prefers_v6,
        ports,
        // No Pod is of a Service that is another name.
        selector: selector.filter(|_| external.is_none()).unwrap_or_default(),
        publish_not_ready,
        headless,
        external,
        distribution,
        node_local,
        exports,
    })
}

/// Which endpoints are preferred. The field wins against the annotation, as it does for Kubernetes.
fn distribution(
    spec: &k8s::ServiceSpec,
    annotations: Option<&BTreeMap<String, String>>,
    notes: &mut Notes,
) -> Option<Distribution> {
    match spec.traffic_distribution.as_deref() {
        Some("PreferClose" | "PreferSameZone") => Some(Distribution::SameZone),
        Some("PreferSameNode") => Some(Distribution::SameNode),
        None | Some("") => {
            let mode = annotations?.get(TOPOLOGY_MODE)?;
            mode.eq_ignore_ascii_case("auto").then_some(Distribution::Hinted)
        }
        Some(other) => {
            let text = "is not PreferSameZone, PreferSameNode or PreferClose, so it has no effect";
            notes.warning("spec.trafficDistribution", format!("{} {text}", syntax::quoted(other)));
            None
        }
    }
}

/// The name that a Service of type ExternalName stands for.
fn external(spec: &k8s::ServiceSpec, notes: &mut Notes) -> Option<Host> {
    let name = spec.external_name.as_deref().unwrap_or_default();
    if spec.type_.as_deref() == Some("ExternalName") {
        return notes.check("spec.externalName", external_name::parse(name));
    }
    if !name.is_empty() {
        notes.warning("spec.externalName", "has no effect: the Service is not of type ExternalName");
    }
    None
}

/// What can't be said of ports of a name outside.
fn outside(ports: &[k8s::ServicePort], notes: &mut Notes) {
    for (at, port) in ports.iter().enumerate() {
        let path = marks::index("spec.ports", at);
        if let Ok(number) = u16::try_from(port.port) {
            notes.check(&format!("{path}.port"), external_name::port(number));
        }
        let same =
            |target: &IntOrString| matches!(target, IntOrString::Int(number) if *number == port.port || *number == 0);
        if port.target_port.as_ref().is_some_and(|target| !same(target)) {
            notes.warning(format!("{path}.targetPort"), "has no effect: a name outside is called on the port itself");
        }
    }
}

/// The annotation by which a Service says for whom it is there.
const EXPORT_TO: &str = "networking.istio.io/exportTo";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";

fn exports(annotations: BTreeMap<String, String>, notes: &mut Notes) -> Option<Exports> {
    let written = annotations.get(EXPORT_TO)?;
    let entries: Vec<_> = written.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    notes.check(&marks::key("metadata.annotations", EXPORT_TO), super::exports::parse(&entries)).flatten()
}

fn addresses(spec: &k8s::ServiceSpec, notes: &mut Notes) -> Vec<IpAddr> {
    let many = spec.cluster_ips.iter().flatten().enumerate().map(|(at, ip)| (marks::index("spec.clusterIPs", at), ip));
    let mut written: Vec<_> = many.collect();
    if written.is_empty() {
        written.extend(spec.cluster_ip.as_ref().map(|ip| ("spec.clusterIP".to_owned(), ip)));
    }
    let mut addresses = Vec::new();
    for (field, ip) in written {
        if !matches!(&**ip, "" | "None") {
            addresses.extend(notes.check(&field, address(ip)));
        }
    }
    addresses
}

/// An address that one Service can have: at one that stands for all, its listener would be in the way of everybody else's.
fn address(written: &str) -> Result<IpAddr, String> {
    let address: IpAddr =
        written.parse().map_err(|_| format!("{} is neither an IP address nor None", syntax::quoted(written)))?;
    let plain = address.to_canonical();
    if plain.is_unspecified() || plain.is_multicast() || plain == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(format!("{address} can't be the address of a Service"));
    }
    Ok(address)
}

/// Whether IPv6 comes first. Headless Services have no addresses that say it.
fn prefers_v6(spec: &k8s::ServiceSpec, addresses: &[IpAddr], notes: &mut Notes) -> bool {
    let families = spec.ip_families.as_deref().unwrap_or_default();
    for (at, family) in families.iter().enumerate().filter(|(_, family)| !matches!(&***family, "IPv4" | "IPv6")) {
        notes.error(marks::index("spec.ipFamilies", at), format!("{} is not IPv4 or IPv6", syntax::quoted(family)));
    }
    addresses.first().map_or_else(|| families.first().is_some_and(|family| family == "IPv6"), IpAddr::is_ipv6)
}

fn sorted(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort();
    addresses.dedup();
    addresses
}

fn ports(written: Vec<k8s::ServicePort>, notes: &mut Notes) -> Vec<ServicePort> {
    let several = written.len() > 1;
    let mut ports: Vec<ServicePort> = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, port) in written.into_iter().enumerate() {
        let path = marks::index("spec.ports", at);
        let name = port.name.clone().unwrap_or_default();
        if several || !name.is_empty() {
            notes.check(&format!("{path}.name"), syntax::label(&name));
        }
        let Some(number) = notes.check(&format!("{path}.port"), syntax::port(i64::from(port.port))) else { continue };
        let transport = port.protocol.as_deref().unwrap_or("TCP");
        if !matches!(transport, "TCP" | "UDP" | "SCTP") {
            notes.error(format!("{path}.protocol"), format!("{} is not TCP, UDP or SCTP", syntax::quoted(transport)));
        }
        let protocol = protocol(&port, number);
        if !seen.insert((transport.to_owned(), number)) {
            notes.error(format!("{path}.port"), format!("the port {number} is there twice"));
        }
        if several && ports.iter().any(|other| *other.name == *name) {
            notes.error(format!("{path}.name"), format!("the port name {} is there twice", syntax::quoted(&name)));
        }
        let target = notes.check(&format!("{path}.targetPort"), target(port.target_port, number));
        let target = target.unwrap_or(TargetPort::Number(number));
        ports.push(ServicePort { name: name.into(), number, protocol, target });
    }
    ports.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    ports
}

fn target(written: Option<IntOrString>, number: u16) -> Result<TargetPort, String> {
    match written {
        None | Some(IntOrString::Int(0)) => Ok(TargetPort::Number(number)),
        Some(IntOrString::Int(target)) => syntax::port(i64::from(target)).map(TargetPort::Number),
        Some(IntOrString::String(name)) => syntax::label(&name).map(|()| TargetPort::Name(name.into())),
    }
}

/// Ports whose protocol speaks server-first, so that sniffing would wait for ever: SMTP, DNS, MySQL, MongoDB.
const SERVER_FIRST: [u16; 4] = [25, 53, 3306, 27017];

/// `appProtocol`, else the prefix of the port's name, else nothing said.
fn protocol(port: &k8s::ServicePort, number: u16) -> Protocol {
    if matches!(port.protocol.as_deref(), Some("UDP" | "SCTP")) {
        return Protocol::Udp;
    }
    let said = match port.app_protocol.as_deref() {
        Some("kubernetes.io/h2c") => Some(Protocol::Http2),
        Some("kubernetes.io/ws") => Some(Protocol::Http),
        Some("kubernetes.io/wss") => Some(Protocol::Tcp),
        Some(name) => named(name),
        None => named(port.name.as_deref().unwrap_or_default()),
    };
    said.unwrap_or(if SERVER_FIRST.contains(&number) { Protocol::Tcp } else { Protocol::Unnamed })
}

/// What a name, or its part before the first `-`, says. Letter case doesn't matter.
pub(super) fn named(name: &str) -> Option<Protocol> {
    let name = name.to_ascii_lowercase();
    if name.starts_with("grpc-web") {
        return Some(Protocol::Http2);
    }
    match name.split('-').next().unwrap_or_default() {
        "http" => Some(Protocol::Http),
        "http2" | "grpc" => Some(Protocol::Http2),
        "https" | "tls" | "tcp" | "mongo" | "mysql" | "redis" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        _ => None,
    }
}
