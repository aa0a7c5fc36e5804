//! Who asks: reads the facts about a proxy from the node of its first request, or says in a sentence what is wrong.

use super::refusal::Refusal;
use crate::model::audience::{Interception, ProxyFacts};
use crate::model::identity::Identity;
use crate::model::name::{Name, Namespace};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::value::Kind as Value;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What a connection has proven about the workload behind it. What a node states is a claim and can't say more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// Nothing.
    None,
    /// That it is this workload.
    Workload(Identity),
}

/// The only node type that is served.
const SIDECAR: &str = "sidecar";
/// Node metadata: how traffic reaches the proxy (Istio's key).
const INTERCEPTION_MODE: &str = "INTERCEPTION_MODE";
/// Node metadata: the address outbound listeners bind to.
const OUTBOUND_BIND: &str = "OUTBOUND_BIND";
/// Node metadata: ports where the workload speaks first, such as `9000,9001`.
const SERVER_FIRST_PORTS: &str = "SERVER_FIRST_PORTS";
/// Node metadata: the service account the workload runs as (Istio's key).
const SERVICE_ACCOUNT: &str = "SERVICE_ACCOUNT";
/// How many such ports a proxy may state.
const MAX_SERVER_FIRST: usize = 64;
/// The longest name of a Pod, in bytes (DNS-1123 subdomain).
const MAX_SUBDOMAIN: usize = 253;
/// The longest name of a namespace, in bytes (DNS-1123 label).
const MAX_LABEL: usize = 63;

/// As [`facts`], for a connection that may have proven something: a node must not claim to be somebody else, and its proxy
/// is authenticated.
pub fn admit(node: &Node, credential: &Credential) -> Result<ProxyFacts, Refusal> {
    let facts = facts(node)?;
    let Credential::Workload(identity) = credential else { return Ok(facts) };
    let Identity { namespace, service_account, pod } = identity;
    if facts.namespace != *namespace {
        return Err(Refusal::Denied(format!(
            "the node claims namespace {}, its credential is for {namespace}",
            facts.namespace
        )));
    }
    if pod.as_ref().is_some_and(|pod| pod.name != facts.pod) {
        return Err(Refusal::Denied(format!("the node claims Pod {}, its credential is for another", facts.pod)));
    }
    match metadata(node, SERVICE_ACCOUNT) {
        Some(claimed) if claimed != service_account.as_str() => Err(Refusal::Denied(format!(
            "the node claims another service account than {service_account}, which its credential is for"
        ))),
        _ => Ok(ProxyFacts { authenticated: true, identity: Some(identity.clone()), ..facts }),
    }
}

/// Reads what a node states about its proxy; what it states authenticates nobody.
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
    let interception = interception(node)?;
    let server_first = if interception == Interception::Redirect { server_first(node)? } else { Vec::new() };
    let (namespace, pod) = (Namespace::from(namespace), Name::from(pod));
    Ok(ProxyFacts { server_first, ..ProxyFacts::new(namespace, pod, interception) })
}

fn pod<'a>(node: &Node, workload: &'a str) -> Result<(&'a str, &'a str), Refusal> {
    let Some((pod, namespace)) = workload.rsplit_once('.') else {
        return Err(refused(node, &format!("has {workload:?} where <pod>.<namespace> is expected")));
    };
    if !is_name(pod) {
        return Err(refused(node, &format!("names {pod:?}, which can't be the name of a Pod")));
    }
    if !is_label(namespace) {
        return Err(refused(node, &format!("names {namespace:?}, which can't be the name of a namespace")));
    }
    Ok((pod, namespace))
}

fn interception(node: &Node) -> Result<Interception, Refusal> {
    match metadata(node, INTERCEPTION_MODE) {
        // Istio's default.
        Some("REDIRECT") | None => return Ok(Interception::Redirect),
        Some("NONE") => {}
        Some(other) => return Err(unsupported(other)),
    }
    let Some(bind) = metadata(node, OUTBOUND_BIND) else { return Ok(Interception::default()) };
    let bind = bind.parse().map_err(|_| {
        Refusal::identity(&format!("node metadata {OUTBOUND_BIND} has to be an IP address; it is {bind:?}"))
    })?;
    Ok(Interception::None { bind })
}

fn server_first(node: &Node) -> Result<Vec<u16>, Refusal> {
    let Some(text) = metadata(node, SERVER_FIRST_PORTS) else { return Ok(Vec::new()) };
    let ports: Result<BTreeSet<u16>, _> = text.split(',').map(|port| port.trim().parse()).collect();
    match ports {
        Ok(ports) if ports.len() <= MAX_SERVER_FIRST && !ports.contains(&0) => Ok(ports.into_iter().collect()),
        _ => Err(Refusal::identity(&format!(
            "node metadata {SERVER_FIRST_PORTS} has to be at most {MAX_SERVER_FIRST} ports, separated by commas",
        ))),
    }
}

fn metadata<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match node.metadata.as_ref()?.fields.get(key)?.kind.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn unsupported(mode: &str) -> Refusal {
    Refusal::identity(&format!("node metadata {INTERCEPTION_MODE}: REDIRECT and NONE are supported, not {mode:?}"))
}

fn refused(node: &Node, why: &str) -> Refusal {
    const SHOWN: usize = 300;
    let id: String = node.id.chars().take(SHOWN).collect();
    Refusal::identity(&format!("node id {id:?} {why}"))
}

/// Whether a text is a DNS-1123 label.
fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_part(text)
}

/// Whether a text is a DNS-1123 label but for its length.
fn is_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Whether a text can be the name of a Pod: Kubernetes bounds its parts by nothing but the whole.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_part)
}

/// Whether a text is a DNS-1123 subdomain.
fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_label)
}
