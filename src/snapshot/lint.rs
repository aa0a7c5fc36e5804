//! What would make Envoy reject a whole message, or stall, found before it is posted.
//!
//! Every rule here is one that Envoy was seen to enforce. A violation is our own fault, never a user's: translation
//! must not produce it. [`change`] examines what a change makes, [`sift`] finds what of it may go all the same.

pub mod change;
pub mod index;
pub mod sift;

use super::kind::Kind;
use super::resource::{Fragment, OF_NAMESPACE, Ref, Resource};
use super::set::{Layer, Snapshot};
use crate::model::provenance::ObjectKey;
use envoy_types::pb::envoy::config::core::v3::Address;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint::HostIdentifier};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use index::addresses;
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
    /// The objects that shaped it.
    pub sources: BTreeSet<ObjectKey>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.name, self.text)
    }
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
        let both = snapshot.inbound.iter(kind).filter(|resource| snapshot.outbound.has(kind, resource.name()));
        found.extend(both.map(|resource| violation(resource, "stands in both layers".to_owned())));
    }
    found.extend(snapshot.outbound.iter(Kind::Cluster).flat_map(|cluster| ungranted(&snapshot.inbound, cluster)));
    let listeners: Vec<_> = snapshot.iter(Kind::Listener).collect();
    found.extend(same_address(listeners.into_iter()));
    found.sort();
    found.dedup();
    found
}

fn violation(resource: &Resource, text: String) -> Violation {
    let sources = resource.sources().map(|source| source.key.clone()).collect();
    Violation { kind: resource.kind(), name: resource.name().clone(), text, sources }
}

/// What Envoy would refuse of a resource by itself, as far as that is looked at with every change. Domains and endpoints are not
/// counted again: that would read every virtual host for the change of one, and translation gives each out once.
pub fn refusals(resource: &Resource) -> Vec<String> {
    let chains = if resource.kind() == Kind::Listener { equal_chains(resource) } else { None };
    chains.into_iter().chain(foreign_endpoints(resource)).collect()
}

fn examine(layer: &Layer, resource: &Resource) -> Vec<Violation> {
    let twice = match resource.kind() {
        Kind::Endpoint => duplicate_endpoint(resource),
        Kind::Route => duplicate_domain(resource),
        Kind::Listener | Kind::Cluster | Kind::Secret => None,
    };
    let refs = resource.refs().filter(|to| dangles(layer, to)).map(names_nothing);
    refs.chain(refusals(resource)).chain(twice).map(|text| violation(resource, text)).collect()
}

/// Whether a reference leads nowhere, of those that lead to what is shared.
fn dangles(layer: &Layer, to: &Ref) -> bool {
    !to.is_private() && !layer.has(to.kind, &to.name)
}

fn names_nothing(to: &Ref) -> String {
    format!("names {} {}, which is not there", to.kind, to.name)
}

/// Secrets of its namespace that a cluster names and the workload is not given: Envoy would wait for them, and acknowledge no
/// clusters meanwhile.
fn ungranted<'a>(inbound: &'a Layer, cluster: &'a Resource) -> impl Iterator<Item = Violation> {
    let lacks = |to: &&Ref| to.name.starts_with(OF_NAMESPACE) && !inbound.has(to.kind, &to.name);
    let text = |to: &Ref| format!("names {} {}, which the workload is not given", to.kind, to.name);
    cluster.refs().filter(lacks).map(move |to| violation(cluster, text(to)))
}

/// A cluster names its own endpoints only: of two clusters that name the same ones Envoy fetches them for the first, and the
/// second stalls until its timeout.
fn foreign_endpoints(resource: &Resource) -> impl Iterator<Item = String> {
    let is_cluster = resource.kind() == Kind::Cluster;
    let others =
        resource.refs().filter(move |to| is_cluster && to.kind == Kind::Endpoint && to.name != *resource.name());
    others.map(|to| format!("names eds {}, which is not its own", to.name))
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
    domains(host).zip(domains(other)).is_none_or(|(domains, others)| !domains.is_subset(&others))
}

/// Whether two virtual hosts have a domain in common, as far as they can be read.
fn share_a_domain(host: &Fragment, other: &Fragment) -> bool {
    domains(host).zip(domains(other)).is_some_and(|(domains, others)| !domains.is_disjoint(&others))
}

fn domains(host: &Fragment) -> Option<BTreeSet<String>> {
    let host: VirtualHost = host.message()?;
    Some(host.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect())
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
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for resource in listeners {
        let addresses = addresses(resource);
        if addresses.iter().any(|address| seen.contains(address)) {
            found.push(violation(resource, SAME_ADDRESS.to_owned()));
        }
        seen.extend(addresses);
    }
    found
}

const SAME_ADDRESS: &str = "has the address of another listener";
