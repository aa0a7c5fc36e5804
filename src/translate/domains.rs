//! The domains of a virtual host: under which names, and at which addresses, clients ask for a service.
//!
//! Envoy refuses a whole route configuration if a domain stands in it twice. Names can't: a service's name has no dot,
//! so each of its forms is its own. Addresses can, by mistake of who wrote them; the oldest service then has them.

use super::listener::{claim, is_http};
use super::unit::HostUnit;
use super::{alias, headless};
use crate::model::name::CLUSTER_DOMAIN;
use crate::model::object::Stored;
use crate::model::service::Service;
use crate::model::tracked::Tracked;
use crate::model::view::View;
use std::net::IpAddr;
use std::sync::Arc;

/// Domains, in order, each used once in its route configuration.
pub type Domains = Arc<[Arc<str>]>;

/// The service of a virtual host and its domains: the names of the service and of those that are other names for it, what
/// is below them where clients pick Pods, and the service's addresses; everything where the address decided already.
/// Ports are ignored in matching. None if the audience doesn't see the service there.
pub fn of(world: &Tracked, view: &View, unit: &HostUnit) -> Option<(Stored<Service>, Domains)> {
    let port = unit.table.port;
    let claim = claim(world, view, &unit.service, port)?;
    if unit.table.service.is_some() {
        return Some((claim.service, ["*".into()].into()));
    }
    let service = Some(claim.service).filter(|_| is_http(claim.protocol))?;
    let others = alias::names(world, view, &service, port);
    let mut domains: Vec<String> =
        std::iter::once(&service).chain(&others).flat_map(|service| names(service, view)).collect();
    if headless::is_direct(view, &service, port) {
        // Its Pods have names of their own below each of these.
        domains.extend(domains.clone().iter().map(|domain| format!("*.{domain}")));
    }
    for address in &service.addresses {
        let domain = written(*address);
        if !domains.contains(&domain) && oldest_at(world, view, *address, port) == Some(service.clone()) {
            domains.push(domain);
        }
    }
    Some((service, domains.into_iter().map(Arc::from).collect()))
}

/// The short forms valid in the client's namespace, and the full name with and without a trailing dot.
fn names(service: &Service, view: &View) -> Vec<String> {
    let (name, namespace) = (&service.key.name, &service.key.namespace);
    let short = view.is_in(namespace).then(|| name.to_string());
    let full = format!("{name}.{namespace}.svc.{CLUSTER_DOMAIN}");
    let absolute = format!("{full}.");
    short
        .into_iter()
        .chain([format!("{name}.{namespace}"), format!("{name}.{namespace}.svc"), full, absolute])
        .collect()
}

/// An address as it stands in a request.
fn written(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// The oldest service that has an address and speaks HTTP on the port, of those the audience sees.
fn oldest_at(world: &Tracked, view: &View, address: IpAddr, port: u16) -> Option<Stored<Service>> {
    let claims = world.services_at(address).filter_map(|service| claim(world, view, &service.key, port));
    claims.filter(|claim| is_http(claim.protocol)).map(|claim| claim.service).next()
}
