//! Pods: labels, addresses, service account, Node and named ports.

use super::core::typed;
use super::notes::Notes;
use super::syntax;
use crate::model::name::Name;
use crate::model::pod::Pod;
use crate::model::problem::Severity;
use crate::source::yaml::marks;
use k8s_openapi::api::core::v1 as k8s;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// Parses a Pod. One without an address is an object as well: it is not running yet.
pub fn parse(value: &Value, notes: &mut Notes) -> Option<Pod> {
    let pod: k8s::Pod = typed(value, "", Severity::Warning, notes)?;
    let labels = notes.check("metadata.labels", syntax::labels(&pod.metadata.labels.unwrap_or_default()));
    let spec = pod.spec.unwrap_or_default();
    let ports = ports(&spec, notes);
    let account = spec.service_account_name.filter(|name| !name.is_empty());
    let account = account.unwrap_or_else(|| "default".to_owned());
    notes.check("spec.serviceAccountName", syntax::subdomain(&account));
    Some(Pod {
        host_network: spec.host_network.unwrap_or(false),
        addresses: addresses(pod.status.unwrap_or_default(), notes),
        labels: labels?,
        service_account: account.into(),
        node: spec.node_name.filter(|name| !name.is_empty()).map(Name::from),
        ports,
    })
}

/// The TCP ports that have a name, of containers and then of sidecars, as Kubernetes calls init containers that go on; a name that
/// stands twice means its first.
fn ports(spec: &k8s::PodSpec, notes: &mut Notes) -> Vec<(Arc<str>, u16)> {
    let mut ports: Vec<(Arc<str>, u16)> = Vec::new();
    let containers = spec.containers.iter().enumerate().map(|(at, one)| (marks::index("spec.containers", at), one));
    let initial = spec.init_containers.iter().flatten().enumerate();
    let sidecars = initial.filter(|(_, one)| one.restart_policy.as_deref() == Some("Always"));
    let sidecars = sidecars.map(|(at, one)| (marks::index("spec.initContainers", at), one));
    for (at, container) in containers.chain(sidecars) {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let path = marks::index(&format!("{at}.ports"), index);
            let number = notes.check(&format!("{path}.containerPort"), syntax::port(i64::from(port.container_port)));
            let tcp = port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
            let (Some(name), Some(number), true) = (port.name.as_deref(), number, tcp) else { continue };
            if ports.iter().any(|(other, _)| **other == *name) {
                notes.warning(format!("{path}.name"), format!("the port name {} is there twice", syntax::quoted(name)));
            } else {
                ports.push((name.into(), number));
            }
        }
    }
    ports.sort();
    ports
}

fn addresses(status: k8s::PodStatus, notes: &mut Notes) -> Vec<IpAddr> {
    let many = status.pod_ips.unwrap_or_default().into_iter().map(|ip| ip.ip);
    let mut written: Vec<_> = many.enumerate().map(|(at, ip)| (marks::index("status.podIPs", at), ip)).collect();
    if written.is_empty() {
        written.extend(status.pod_ip.filter(|ip| !ip.is_empty()).map(|ip| ("status.podIP".to_owned(), ip)));
    }
    let address = |(field, ip): (String, String)| {
        notes.check(&field, ip.parse().map_err(|_| format!("{} is not an IP address", syntax::quoted(&ip))))
    };
    let mut addresses: Vec<IpAddr> = written.into_iter().filter_map(address).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}
