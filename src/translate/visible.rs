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

/// Whether the audience sees a service: it is exported to it and in its scope.
pub fn sees(world: &Tracked, audience: &Audience, service: &Service) -> bool {
    audience.scope.sees(&service.key) && exported(world, audience, service)
}

/// Every service the audience needs clusters of: those it sees, and those that routes of these lead to, which a scope
/// need not name (Istio's rule).
pub fn needed(world: &Tracked, audience: &Audience) -> BTreeSet<ServiceKey> {
    let seen = services(world, audience);
    if audience.scope.is_everything() {
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
    let mut services = world.services();
    services.retain(|key| audience.scope.sees(key));
    services.retain(|key| said.get(key).copied().unwrap_or_else(|| by_default(key)));
    services
}
