//! Settings of the mesh. What is absent has Istio's default.

use super::notes::Notes;
use super::{access_log, discovery, exports, policy, syntax};
use crate::model::exports::Exports;
use crate::model::mesh::{Mesh, OutboundMode, STATIC_PORTS};
use crate::source::yaml::marks;
use serde::Deserialize;
use serde_json::{Number, Value};
use std::sync::Arc;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    proxy_listen_port: Option<Number>,
    proxy_inbound_listen_port: Option<Number>,
    connect_timeout: Option<String>,
    dns_refresh_rate: Option<String>,
    protocol_detection_timeout: Option<String>,
    access_log_file: String,
    access_log_format: String,
    access_log_encoding: String,
    disable_envoy_listener_log: bool,
    outbound_traffic_policy: OutboundSpec,
    trust_domain: String,
    trust_domain_aliases: Vec<String>,
    enable_auto_mtls: Option<bool>,
    root_namespace: String,
    default_service_export_to: Vec<String>,
    default_virtual_service_export_to: Vec<String>,
    default_destination_rule_export_to: Vec<String>,
    discovery_selectors: Vec<discovery::Spec>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct OutboundSpec {
    mode: String,
}

/// Parses MeshConfig, as it stands in a file of its own.
pub fn parse(value: &Value, notes: &mut Notes) -> Option<Mesh> {
    let spec: Spec = policy::settings(value, notes)?;
    let written = access_log::Written {
        file: &spec.access_log_file,
        format: &spec.access_log_format,
        json: spec.access_log_encoding == "JSON",
        unmatched: !spec.disable_envoy_listener_log,
    };
    let access_log = access_log::parse(written, notes);
    let default = Mesh::default();
    let connect = spec.connect_timeout.map(|text| notes.check("connectTimeout", syntax::positive(&text)));
    let refresh = spec.dns_refresh_rate.map(|text| notes.check("dnsRefreshRate", syntax::at_least_a_second(&text)));
    let detection = spec.protocol_detection_timeout;
    let detection = detection.and_then(|text| notes.check("protocolDetectionTimeout", syntax::duration(&text)));
    let domain = named("trustDomain", spec.trust_domain, notes, syntax::dns_name);
    let aliases = aliases(spec.trust_domain_aliases, notes);
    let root = named("rootNamespace", spec.root_namespace, notes, syntax::label);
    let mut export = |field: &str, written: Vec<String>| {
        let exports = notes.check(field, exports::parse(&written)).flatten();
        exports.unwrap_or(Exports::Everyone)
    };
    let service_exports = export("defaultServiceExportTo", spec.default_service_export_to);
    let virtual_service_exports = export("defaultVirtualServiceExportTo", spec.default_virtual_service_export_to);
    let destination_rule_exports = export("defaultDestinationRuleExportTo", spec.default_destination_rule_export_to);
    let discovery = discovery::parse("discoverySelectors", spec.discovery_selectors, notes);
    let (outbound_port, inbound_port) = ports(spec.proxy_listen_port, spec.proxy_inbound_listen_port, notes);
    Some(Mesh {
        connect_timeout: connect.flatten().unwrap_or(default.connect_timeout),
        dns_refresh: refresh.flatten().unwrap_or(default.dns_refresh),
        outbound: match &*spec.outbound_traffic_policy.mode {
            "REGISTRY_ONLY" => OutboundMode::RegistryOnly,
            // Another word was noted by the walk along the field table.
            _ => OutboundMode::AllowAny,
        },
        trust_domain: domain.map_or(default.trust_domain, Into::into),
        trust_domain_aliases: aliases,
        auto_mtls: spec.enable_auto_mtls.unwrap_or(default.auto_mtls),
        root_namespace: root.map_or(default.root_namespace, Into::into),
        outbound_port,
        inbound_port,
        detection_timeout: match detection {
            Some(timeout) => Some(timeout).filter(|timeout| !timeout.is_zero()),
            None => default.detection_timeout,
        },
        service_exports,
        virtual_service_exports,
        destination_rule_exports,
        access_log,
        discovery,
    })
}

/// What settings come to without the members that `notes` have an error about; none if errors are about no member.
///
/// Members stand for themselves, so one that is wrong need not keep the others from having their effect.
pub fn without_errors(value: &Value, notes: &Notes) -> Option<Mesh> {
    let mut members = value.as_object()?.clone();
    let known = members.len();
    members.retain(|name, _| !notes.has_error_in(&marks::key("", name)));
    let left = Value::Object(members.clone());
    let mut notes = Notes::default();
    let mesh = parse(&left, &mut notes);
    match notes.failed() {
        // What was right beside the members that are gone can be wrong without them.
        true if members.len() < known => without_errors(&left, &notes),
        true => None,
        false => mesh,
    }
}

/// Other names of the trust domain, each once.
fn aliases(written: Vec<String>, notes: &mut Notes) -> Vec<Arc<str>> {
    let mut aliases: Vec<Arc<str>> = Vec::new();
    for (at, alias) in written.into_iter().enumerate() {
        let good = notes.check(&marks::index("trustDomainAliases", at), syntax::dns_name(&alias)).is_some();
        if good && !aliases.iter().any(|other| **other == *alias) {
            aliases.push(alias.into());
        }
    }
    aliases
}

/// A name, where one is given.
fn named(field: &str, written: String, notes: &mut Notes, check: fn(&str) -> Result<(), String>) -> Option<String> {
    if written.is_empty() {
        return None;
    }
    notes.check(field, check(&written)).map(|()| written)
}

/// Where captured connections arrive, outgoing and incoming: of two listeners at one address Envoy refuses the second.
fn ports(outbound: Option<Number>, inbound: Option<Number>, notes: &mut Notes) -> (u16, u16) {
    let default = Mesh::default();
    let written = if inbound.is_some() { "proxyInboundListenPort" } else { "proxyListenPort" };
    let outbound = port("proxyListenPort", outbound, notes).unwrap_or(default.outbound_port);
    let inbound = port("proxyInboundListenPort", inbound, notes).unwrap_or(default.inbound_port);
    if outbound == inbound {
        notes.error(written, format!("{inbound} is the port for the other direction as well; each needs its own"));
    }
    (outbound, inbound)
}

fn port(field: &str, written: Option<Number>, notes: &mut Notes) -> Option<u16> {
    // What is no whole number was noted by the walk along the field table.
    let number = written.filter(|written| !written.is_f64())?.as_i64().unwrap_or(0);
    let port = notes.check(field, syntax::port(number))?;
    if STATIC_PORTS.contains(&port) {
        notes.error(field, format!("{port} is a port that each proxy opens for itself"));
    }
    Some(port)
}
