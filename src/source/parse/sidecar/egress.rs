//! Egress of Sidecars: which services a workload sees, on which ports, and where those ports are.

use super::ingress::{PortSpec, bind, protocol};
use crate::model::name::{Host, Namespace};
use crate::model::service::Protocol;
use crate::model::sidecar::{EgressHost, EgressListener, EgressNamespace};
use crate::source::parse::notes::Notes;
use crate::source::parse::syntax;
use crate::source::yaml::marks;
use serde::Deserialize;

/// `egress[]` as written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressSpec {
    port: Option<PortSpec>,
    bind: String,
    capture_mode: String,
    hosts: Vec<String>,
}

/// Validates `egress`; none if there is none. Entries without a port are one.
pub fn parse(written: Vec<EgressSpec>, notes: &mut Notes) -> Option<Vec<EgressListener>> {
    if written.is_empty() {
        return None;
    }
    let mut egress: Vec<EgressListener> = Vec::new();
    for (at, entry) in written.into_iter().enumerate() {
        let path = marks::index("spec.egress", at);
        let Some(listener) = entry.parse(at, &path, notes) else { continue };
        let number = |listener: &EgressListener| listener.port.map(|(number, _)| number);
        match egress.iter_mut().find(|other| number(other) == number(&listener)) {
            None => egress.push(listener),
            Some(_) if listener.port.is_some() => {
                notes.error(format!("{path}.port.number"), "an entry before this one is for the same port");
            }
            Some(other) if (other.bind, other.opened) != (listener.bind, listener.opened) => {
                notes.error(path, "an entry before this one is for every port, too, with another bind or captureMode");
            }
            Some(other) => other.hosts.extend(listener.hosts),
        }
    }
    for listener in &mut egress {
        listener.hosts.sort();
        listener.hosts.dedup();
    }
    Some(egress)
}

impl EgressSpec {
    fn parse(self, entry: usize, path: &str, notes: &mut Notes) -> Option<EgressListener> {
        let hosts = hosts(&self.hosts, &format!("{path}.hosts"), notes);
        let port = match self.port {
            Some(port) => numbered(&port, &format!("{path}.port"), notes).map(Some),
            None => Some(None),
        };
        let bind = notes.check(&format!("{path}.bind"), bind(&self.bind));
        // Another word was noted by the walk along the field table.
        let opened = self.capture_mode == "NONE";
        let listener = EgressListener { entry, port: port?, bind: bind?, opened, hosts };
        openable(&listener, &format!("{path}.bind"), notes);
        Some(listener)
    }
}

/// A port and what it speaks; none where each service says.
fn numbered(port: &PortSpec, path: &str, notes: &mut Notes) -> Option<(u16, Option<Protocol>)> {
    let number = notes.check(&format!("{path}.number"), syntax::port(port.number));
    let protocol = notes.check(&format!("{path}.protocol"), protocol(&port.protocol))?;
    Some((number?, Some(protocol).filter(|protocol| *protocol != Protocol::Unnamed)))
}

/// Whether a port that is opened really can be, for a whole namespace of Pods with addresses of their own.
fn openable(listener: &EgressListener, path: &str, notes: &mut Notes) {
    match listener.bind {
        Some(bind) if listener.opened && bind.is_unspecified() => {
            notes.warning(path, format!("{bind} lets everybody who reaches the Pod go through its proxy"));
        }
        Some(bind) if listener.opened && !bind.is_loopback() => {
            notes.error(path, format!("captureMode NONE opens ports on loopback addresses; {bind} is none"));
        }
        _ => {}
    }
}

fn hosts(written: &[String], path: &str, notes: &mut Notes) -> Vec<EgressHost> {
    if written.is_empty() {
        notes.error(path, "at least one host is needed; \"~/*\" stands for none");
    }
    let mut hosts = Vec::new();
    for (index, host) in written.iter().enumerate() {
        let path = marks::index(path, index);
        hosts.extend(notes.check(&path, egress_host(host)).flatten());
        if host.split_once('/').is_some_and(|(_, host)| host != "*" && !host.contains('.')) {
            notes
                .warning(path, "matches no service: the full name is needed here, such as echo.shop.svc.cluster.local");
        }
    }
    hosts
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
        syntax::dns_name(lower.strip_prefix("*.").unwrap_or(&lower)).map_err(|_| shape())?;
    }
    Ok(Some(EgressHost { namespace, host: Host::from(lower) }))
}
