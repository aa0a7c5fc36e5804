//! What would make Envoy reject a whole message, or stall, found before it is posted.
//!
//! Every rule here is one that Envoy was seen to enforce. A violation is our own fault, never a user's: translation
//! must not produce it.

use super::kind::Kind;
use super::resource::{Fragment, OF_NAMESPACE, Ref, Resource};
use super::set::{Layer, Set, Snapshot};
use envoy_types::pb::envoy::config::core::v3::Address;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint::HostIdentifier};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A broken rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Violation {
    /// The kind of the resource at fault.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.name, self.text)
    }
}

/// What a change made and removed.
#[derive(Default, Debug)]
pub struct Changed {
    /// Resources made new, those of fragments included.
    pub made: Vec<Arc<Resource>>,
    /// The fragments made new, with the name of the resource each is part of.
    pub fragments: Vec<(Arc<str>, Arc<Fragment>)>,
    /// What is there no more.
    pub removed: BTreeSet<(Kind, Arc<str>)>,
}

/// Examines what a change made and removed, given the layer after it. Domains and endpoints are not counted again, nor the
/// fragments that stayed: that would read every virtual host for the change of one, and translation gives each out once.
pub fn changes(layer: &Layer, changed: &Changed) -> Vec<Violation> {
    let Changed { made, fragments, removed } = changed;
    let whole = made.iter().filter(|resource| resource.fragments().is_none());
    let refs = whole.flat_map(|resource| resource.refs().map(|to| (resource.kind(), resource.name(), to)));
    let parts = fragments.iter().flat_map(|(of, part)| part.refs().iter().map(move |to| (Kind::Route, of, to)));
    let mut found: Vec<_> = refs.chain(parts).filter_map(|(kind, name, to)| dangling(layer, kind, name, to)).collect();
    let listeners = || made.iter().filter(|resource| resource.kind() == Kind::Listener);
    found.extend(
        listeners().filter_map(|listener| Some(violation(Kind::Listener, listener.name(), equal_chains(listener)?))),
    );
    found.extend(made.iter().flat_map(|resource| others_endpoints(resource)));
    found.extend(made_twice(made));
    found.extend(removed.iter().flat_map(|(kind, name)| still_named(layer, *kind, name)));
    if listeners().next().is_some() {
        found.extend(same_address(layer.iter(Kind::Listener)));
    }
    found
}

/// Examines a whole layer.
pub fn layer(layer: &Layer) -> Vec<Violation> {
    let all = Kind::ALL.into_iter().flat_map(|kind| layer.iter(kind));
    let mut found: Vec<_> = all.flat_map(|resource| examine(layer, resource)).collect();
    found.extend(same_address(layer.iter(Kind::Listener)));
    found
}

/// Examines everything a proxy is meant to hold: both layers, and what they must not share.
pub fn snapshot(snapshot: &Snapshot) -> Vec<Violation> {
    let mut found = layer(&snapshot.outbound);
    found.extend(layer(&snapshot.inbound));
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Endpoint) {
        let inbound = snapshot.inbound.iter(kind).map(|resource| resource.name());
        let both = inbound.filter(|name| snapshot.outbound.has(kind, name));
        found.extend(both.map(|name| violation(kind, name, "stands in both layers".to_owned())));
    }
    found.extend(snapshot.outbound.iter(Kind::Cluster).flat_map(|cluster| ungranted(&snapshot.inbound, cluster)));
    let listeners: Vec<_> = snapshot.iter(Kind::Listener).collect();
    found.extend(same_address(listeners.into_iter()));
    found.sort();
    found.dedup();
    found
}

fn violation(kind: Kind, name: &Arc<str>, text: String) -> Violation {
    Violation { kind, name: name.clone(), text }
}

fn examine(layer: &Layer, resource: &Resource) -> Vec<Violation> {
    let text = match resource.kind() {
        Kind::Endpoint => duplicate_endpoint(resource),
        Kind::Listener => equal_chains(resource),
        Kind::Route => duplicate_domain(resource),
        Kind::Cluster | Kind::Secret => None,
    };
    let found = text.map(|text| violation(resource.kind(), resource.name(), text));
    let refs = resource.refs().filter_map(|to| dangling(layer, resource.kind(), resource.name(), to));
    refs.chain(others_endpoints(resource)).chain(found).collect()
}

/// A reference that leads nowhere, of those that lead to what is shared.
fn dangling(layer: &Layer, kind: Kind, name: &Arc<str>, to: &Ref) -> Option<Violation> {
    let text = || format!("names {} {}, which is not there", to.kind, to.name);
    (!to.is_private() && !layer.has(to.kind, &to.name)).then(|| violation(kind, name, text()))
}

/// Secrets of its namespace that a cluster names and the workload is not given: Envoy would wait for them, and acknowledge no
/// clusters meanwhile.
fn ungranted<'a>(inbound: &'a Layer, cluster: &'a Resource) -> impl Iterator<Item = Violation> {
    let lacks = |to: &&Ref| to.name.starts_with(OF_NAMESPACE) && !inbound.has(to.kind, &to.name);
    let text = |to: &Ref| format!("names {} {}, which the workload is not given", to.kind, to.name);
    cluster.refs().filter(lacks).map(move |to| violation(Kind::Cluster, cluster.name(), text(to)))
}

/// A cluster names its own endpoints only: of two clusters that name the same ones Envoy fetches them for the first, and the
/// second stalls until its timeout.
fn others_endpoints(resource: &Resource) -> Vec<Violation> {
    let is_cluster = resource.kind() == Kind::Cluster;
    let others = resource.refs().filter(|to| is_cluster && to.kind == Kind::Endpoint && to.name != *resource.name());
    let text = |to: &Ref| format!("names eds {}, which is not its own", to.name);
    others.map(|to| violation(resource.kind(), resource.name(), text(to))).collect()
}

/// Two resources of one name: which of them stays would be chance.
fn made_twice(made: &[Arc<Resource>]) -> Vec<Violation> {
    let mut seen = BTreeSet::new();
    let twice = made.iter().filter(|resource| !seen.insert((resource.kind(), resource.name())));
    twice.map(|resource| violation(resource.kind(), resource.name(), "was made twice".to_owned())).collect()
}

/// What of the layer's own still names a resource that was removed; what it has in common is examined for itself.
fn still_named(layer: &Layer, kind: Kind, name: &Arc<str>) -> Vec<Violation> {
    if layer.has(kind, name) {
        return Vec::new();
    }
    let namers: &[Kind] = match kind {
        Kind::Cluster => &[Kind::Listener, Kind::Route],
        Kind::Endpoint | Kind::Secret => &[Kind::Cluster, Kind::Listener],
        Kind::Route => &[Kind::Listener],
        Kind::Listener => &[],
    };
    let names = |set: &Set| {
        let names = set.values().filter(|resource| resource.refs().any(|to| to.kind == kind && to.name == *name));
        names
            .map(|resource| {
                violation(resource.kind(), resource.name(), format!("names {kind} {name}, which was removed"))
            })
            .collect::<Vec<_>>()
    };
    // Endpoints and their cluster share a name, so the common case needs no search.
    match kind {
        Kind::Endpoint if !layer.has(Kind::Cluster, name) => Vec::new(),
        _ => namers.iter().flat_map(|namer| names(layer.own(*namer))).collect(),
    }
}

/// Envoy: "Only unique values for domains are permitted", whatever their case.
pub fn duplicate_domain(resource: &Resource) -> Option<String> {
    let routes: RouteConfiguration = resource.message()?;
    let mut seen = BTreeSet::new();
    let mut domains = routes.virtual_hosts.iter().flat_map(|host| &host.domains);
    let twice = domains.find(|domain| !seen.insert(domain.to_ascii_lowercase()))?;
    Some(format!("has the domain {twice} twice"))
}

/// Whether a virtual host has a domain that the other has not.
pub fn has_other_domains(host: &Fragment, other: &Fragment) -> bool {
    let domains = |host: &Fragment| {
        let host: VirtualHost = host.message()?;
        Some(host.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect::<BTreeSet<_>>())
    };
    domains(host).zip(domains(other)).is_none_or(|(domains, others)| !domains.is_subset(&others))
}

/// Envoy: "filter chain has the same matching rules defined as ...".
fn equal_chains(resource: &Resource) -> Option<String> {
    let listener: Listener = resource.message()?;
    let mut seen = Vec::new();
    for chain in &listener.filter_chains {
        if seen.contains(&&chain.filter_chain_match) {
            return Some(format!("has two filter chains with one match, the second is {}", chain.name));
        }
        seen.push(&chain.filter_chain_match);
    }
    None
}

fn duplicate_endpoint(resource: &Resource) -> Option<String> {
    let assignment: ClusterLoadAssignment = resource.message()?;
    let mut seen: Vec<Option<Address>> = Vec::new();
    for endpoint in assignment.endpoints.into_iter().flat_map(|locality| locality.lb_endpoints) {
        if let Some(HostIdentifier::Endpoint(endpoint)) = endpoint.host_identifier {
            seen.push(endpoint.address);
        }
    }
    let distinct: BTreeSet<String> = seen.iter().map(|address| format!("{address:?}")).collect();
    (distinct.len() < seen.len()).then(|| "has an endpoint twice".to_owned())
}

/// Envoy can't bind two listeners to one address, and refuses the second even where neither binds.
fn same_address<'a>(listeners: impl Iterator<Item = &'a Arc<Resource>>) -> Vec<Violation> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for resource in listeners {
        let addresses = resource.message().map(addresses).unwrap_or_default();
        if addresses.iter().any(|address| seen.contains(address)) {
            found.push(violation(Kind::Listener, resource.name(), "has the address of another listener".to_owned()));
        }
        seen.extend(addresses);
    }
    found
}

fn addresses(listener: Listener) -> Vec<Address> {
    let additional = listener.additional_addresses.into_iter().filter_map(|additional| additional.address);
    listener.address.into_iter().chain(additional).collect()
}
