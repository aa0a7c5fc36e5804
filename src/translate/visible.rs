//! Which services an audience sees.

use super::route;
use crate::model::name::ServiceKey;
use crate::model::object::Stored;
use crate::model::service::Service;
use crate::model::tracked::Tracked;
use crate::model::view::View;
use std::collections::{BTreeMap, BTreeSet};

/// Whether a service is exported to the audience's namespace: by its annotation, else by the mesh's default.
pub fn exported(world: &Tracked, view: &View, service: &Service) -> bool {
    let owner = &service.key.namespace;
    match &service.exports {
        Some(exports) => exports.reach(owner, view),
        None => world.mesh().service_exports.reach(owner, view),
    }
}

/// A service, if it is there for the audience.
pub fn exported_service(world: &Tracked, view: &View, key: &ServiceKey) -> Option<Stored<Service>> {
    world.service(key).filter(|service| exported(world, view, service))
}

/// Whether the audience sees a service on a port: it is exported to it and in the port's scope.
pub fn sees(world: &Tracked, view: &View, service: &Service, port: u16) -> bool {
    let seen = view.outlook().on(port).is_some_and(|opening| opening.scope.sees(&service.key));
    seen && exported(world, view, service)
}

/// Every service the audience may need clusters of: those it sees, and those that routes of these lead to, which a scope
/// need not name (Istio's rule). Where the scope is everything, whether a service is exported is left to each cluster.
pub fn needed(world: &Tracked, view: &View) -> BTreeSet<ServiceKey> {
    if view.outlook().is_everything() {
        return world.services().into_iter().collect();
    }
    let seen = services(world, view);
    let led = seen.iter().flat_map(|service| route::destinations(world, view, service)).collect::<Vec<_>>();
    seen.into_iter().chain(led).collect()
}

/// Every service the audience sees, sorted. Looks only into services that say for whom they are.
fn services(world: &Tracked, view: &View) -> Vec<ServiceKey> {
    let mesh = world.mesh();
    let said = world.services_exporting().into_iter();
    let said: BTreeMap<ServiceKey, bool> =
        said.map(|service| (service.key.clone(), exported(world, view, &service))).collect();
    let by_default = |key: &ServiceKey| mesh.service_exports.reach(&key.namespace, view);
    let outlook = view.outlook();
    let mut services = if outlook.rest().is_some() { world.services() } else { Vec::new() };
    services.retain(|key| outlook.rest().is_some_and(|rest| rest.scope.sees(key)));
    for (port, opening) in outlook.ports() {
        services.extend(world.services_on_port(port).into_iter().filter(|key| opening.scope.sees(key)));
    }
    services.sort();
    services.dedup();
    services.retain(|key| said.get(key).copied().unwrap_or_else(|| by_default(key)));
    services
}
