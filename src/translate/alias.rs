//! Services of type ExternalName that name another Service: they share its requests and have nothing of their own, as in
//! Istio. Their ports don't matter, since a name is all they are.

use super::visible;
use crate::model::name::Host;
use crate::model::object::Stored;
use crate::model::service::Service;
use crate::model::tracked::Tracked;
use crate::model::view::View;
use std::collections::BTreeSet;

/// How many names may lead to one another; more is a circle, or as good as one.
const HOPS: usize = 8;

/// The Service that requests to a host are meant for: that of the host, or the one it is another name for.
pub fn resolve(world: &Tracked, host: &Host) -> Option<Stored<Service>> {
    chain(world, host).pop()
}

/// The Services from that of a host to the one that is meant, which comes last; none if the names lead nowhere.
pub fn chain(world: &Tracked, host: &Host) -> Vec<Stored<Service>> {
    let mut chain: Vec<_> = world.service_of(host).into_iter().collect();
    while let Some(meant) = chain.last().and_then(|service| service.alias().cloned()) {
        match world.service_of(&meant) {
            Some(service) if chain.len() <= HOPS => chain.push(service),
            _ => return Vec::new(),
        }
    }
    chain
}

/// The other names of a Service that the audience sees on a port, sorted by namespace and name, each once.
pub fn names(world: &Tracked, view: &View, service: &Service, port: u16) -> Vec<Stored<Service>> {
    let mut found = Vec::new();
    let mut met = BTreeSet::from([service.host.clone()]);
    let mut hosts = vec![service.host.clone()];
    for _ in 0..HOPS {
        let aliases = hosts.iter().flat_map(|host| world.aliases_of(host));
        let new: Vec<_> = aliases.filter(|alias| met.insert(alias.host.clone())).collect();
        hosts = new.iter().map(|alias| alias.host.clone()).collect();
        found.extend(new);
    }
    found.retain(|alias| visible::sees(world, view, alias, port));
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}
