//! Who asks: reads the facts about a proxy from the node of its first request, or says in a sentence what is wrong.

use super::refusal::Refusal;
use crate::model::audience::{Interception, ProxyFacts};
use crate::model::name::{Name, Namespace};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::value::Kind as Value;
use std::net::IpAddr;

/// The only node type that is served.
const SIDECAR: &str = "sidecar";
/// Node metadata: how traffic reaches the proxy (Istio's key).
const INTERCEPTION_MODE: &str = "INTERCEPTION_MODE";
/// Node metadata: the address outbound listeners bind to.
const OUTBOUND_BIND: &str = "OUTBOUND_BIND";
/// The longest name of a Pod, in bytes (DNS-1123 subdomain).
const MAX_SUBDOMAIN: usize = 253;
/// The longest name of a namespace, in bytes (DNS-1123 label).
const MAX_LABEL: usize = 63;

/// Reads what a node states about its proxy.
///
/// The id has Istio's form `sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>`; a Pod's name may contain dots.
pub fn facts(node: &Node) -> Result<ProxyFacts, Refusal> {
    let parts: Vec<&str> = node.id.split('~').collect();
    let [kind, ip, workload, domain] = parts[..] else {
        return Err(refused(node, "has not the form sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>"));
    };
    if kind != SIDECAR {
        return Err(refused(node, &format!("is of type {kind:?}; only {SIDECAR:?} is served")));
    }
    if ip.parse::<IpAddr>().is_err() {
        return Err(refused(node, &format!("has {ip:?} where an IP address is expected")));
    }
    let (pod, namespace) = pod(node, workload)?;
    if !domain.strip_prefix(namespace).is_some_and(|rest| rest.starts_with(".svc.") && is_subdomain(&rest[1..])) {
        return Err(refused(node, &format!("names namespace {namespace:?} but domain {domain:?}")));
    }
    Ok(ProxyFacts { namespace: Namespace::from(namespace), pod: Name::from(pod), interception: interception(node)? })
}

fn pod<'a>(node: &Node, workload: &'a str) -> Result<(&'a str, &'a str), Refusal> {
    let Some((pod, namespace)) = workload.rsplit_once('.') else {
        return Err(refused(node, &format!("has {workload:?} where <pod>.<namespace> is expected")));
    };
    if !is_subdomain(pod) {
        return Err(refused(node, &format!("names {pod:?}, which can't be the name of a Pod")));
    }
    if !is_label(namespace) {
        return Err(refused(node, &format!("names {namespace:?}, which can't be the name of a namespace")));
    }
    Ok((pod, namespace))
}

fn interception(node: &Node) -> Result<Interception, Refusal> {
    match metadata(node, INTERCEPTION_MODE) {
        Some("NONE") => {}
        Some(other) => return Err(unsupported(&format!("{INTERCEPTION_MODE} is {other:?}"))),
        None => return Err(unsupported(&format!("{INTERCEPTION_MODE} is missing, which means \"REDIRECT\""))),
    }
    let Some(bind) = metadata(node, OUTBOUND_BIND) else { return Ok(Interception::default()) };
    let bind = bind.parse().map_err(|_| {
        Refusal::identity(&format!("node metadata {OUTBOUND_BIND} has to be an IP address; it is {bind:?}"))
    })?;
    Ok(Interception::None { bind })
}

fn metadata<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match node.metadata.as_ref()?.fields.get(key)?.kind.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn unsupported(what: &str) -> Refusal {
    Refusal::identity(&format!("node metadata {what}; only \"NONE\" is supported: set {INTERCEPTION_MODE}: NONE"))
}

fn refused(node: &Node, why: &str) -> Refusal {
    const SHOWN: usize = 300;
    let id: String = node.id.chars().take(SHOWN).collect();
    Refusal::identity(&format!("node id {id:?} {why}"))
}

/// Whether a text is a DNS-1123 label.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= MAX_LABEL
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text is a DNS-1123 subdomain.
fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_label)
}
