//! Route configurations: which virtual hosts a port has, and which domains each may claim.
//!
//! Envoy refuses a whole route configuration if a domain stands in it twice, so domains are given out here, once,
//! oldest service first.

use super::listener::{claims, is_http};
use super::proto::bool_value;
use super::unit::{HostUnit, Selection, Table, Unit};
use super::{alias, headless};
use crate::model::audience::Audience;
use crate::model::name::CLUSTER_DOMAIN;
use crate::model::service::Service;
use crate::model::tracked::Tracked;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Selects the virtual hosts: those of a port, sorted by host, the catch-all last; or the one the address decided for.
pub fn select(world: &Tracked, audience: &Audience, table: &Table) -> Selection {
    if let Some(service) = &table.service {
        let host = HostUnit { table: table.clone(), service: service.clone(), domains: ["*".into()].into() };
        return Selection::of_children([Unit::VirtualHost(host)]);
    }
    let mut claimed: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut hosts = Vec::new();
    for claim in claims(world, audience, table.port).into_iter().filter(|claim| is_http(claim.protocol)) {
        let others = alias::names(world, audience, &claim.service, table.port);
        let names = std::iter::once(&claim.service).chain(&others);
        let mut wanted = names.flat_map(|service| domains(service, audience)).collect::<Vec<_>>();
        if headless::is_direct(audience, &claim.service, table.port) {
            // Its Pods have names of their own below each of these.
            wanted.extend(wanted.clone().iter().map(|domain| format!("*.{domain}").into()));
        }
        let domains: Arc<[_]> = wanted.into_iter().filter(|domain| claimed.insert(domain.clone())).collect();
        if !domains.is_empty() {
            hosts.push(HostUnit { table: table.clone(), service: claim.service.key.clone(), domains });
        }
    }
    hosts.sort_by_key(|host| host.service.host());
    Selection::of_children(hosts.into_iter().map(Unit::VirtualHost).chain([Unit::CatchAll(table.clone())]))
}

/// The names a client may use for a service: the short forms valid in its namespace, the full name with and without a
/// trailing dot, and the service's addresses. Ports are ignored in matching.
fn domains(service: &Service, audience: &Audience) -> Vec<Arc<str>> {
    let (name, namespace) = (&service.key.name, &service.key.namespace);
    let mut domains = Vec::new();
    if audience.namespace == *namespace {
        domains.push(name.to_string());
    }
    domains.push(format!("{name}.{namespace}"));
    domains.push(format!("{name}.{namespace}.svc"));
    domains.push(format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}"));
    domains.push(format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}."));
    domains.extend(service.addresses.iter().map(|address| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }));
    domains.into_iter().map(Arc::from).collect()
}

/// A route configuration without its virtual hosts.
pub fn head(name: &str) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        // A route may name a cluster the proxy does not hold yet; refusing the whole for that would be worse.
        validate_clusters: Some(bool_value(false)),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}
