//! Which services an audience sees.

use super::route;
use crate::model::audience::Audience;
use crate::model::name::ServiceKey;
use crate::model::service::Service;
use crate::model::tracked::Tracked;
use std::collections::{BTreeMap, BTreeSet};

/// Whether a service is exported to the audience's namespace: by its annotation, else by the mesh's default.
pub fn exported(world: &Tracked, audience: &Audience, service: &Service) -> bool {
    let (owner, reader) = (&service.key.namespace, &audience.namespace);
    match &service.exports {
        Some(exports) => exports.reach(owner, reader),
        None => world.mesh().service_exports.reach(owner, reader),
    }
}

/// Whether the audience sees a service on a port: it is exported to it and in the port's scope.
pub fn sees(world: &Tracked, audience: &Audience, service: &Service, port: u16) -> bool {
    let seen = audience.outlook.on(port).is_some_and(|opening| opening.scope.sees(&service.key));
    seen && exported(world, audience, service)
}

/// Every service the audience needs clusters of: those it sees, and those that routes of these lead to, which a scope
/// need not name (Istio's rule).
pub fn needed(world: &Tracked, audience: &Audience) -> BTreeSet<ServiceKey> {
    let seen = services(world, audience);
    if audience.outlook.is_everything() {
        return seen.into_iter().collect();
    }
    let led = seen.iter().flat_map(|service| route::destinations(world, audience, service)).collect::<Vec<_>>();
    seen.into_iter().chain(led).collect()
}

/// Every service the audience sees, sorted. Looks only into services that say for whom they are.
fn services(world: &Tracked, audience: &Audience) -> Vec<ServiceKey> {
    let mesh = world.mesh();
    let said = world.services_exporting().into_iter();
    let said: BTreeMap<ServiceKey, bool> =
        said.map(|service| (service.key.clone(), exported(world, audience, &service))).collect();
    let by_default = |key: &ServiceKey| mesh.service_exports.reach(&key.namespace, &audience.namespace);
    let outlook = &audience.outlook;
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
