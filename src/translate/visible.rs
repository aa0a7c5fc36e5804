//! Which services an audience sees.

use crate::model::audience::Audience;
use crate::model::name::ServiceKey;
use crate::model::service::Service;
use crate::model::tracked::Tracked;
use std::collections::BTreeMap;

/// Whether a service is exported to the audience's namespace: by its annotation, else by the mesh's default.
pub fn exported(world: &Tracked, audience: &Audience, service: &Service) -> bool {
    let (owner, reader) = (&service.key.namespace, &audience.namespace);
    match &service.exports {
        Some(exports) => exports.reach(owner, reader),
        None => world.mesh().service_exports.reach(owner, reader),
    }
}

/// Every service the audience sees, sorted. Looks only into services that say for whom they are.
pub fn services(world: &Tracked, audience: &Audience) -> Vec<ServiceKey> {
    let mesh = world.mesh();
    let said = world.services_exporting().into_iter();
    let said: BTreeMap<ServiceKey, bool> =
        said.map(|service| (service.key.clone(), exported(world, audience, &service))).collect();
    let by_default = |key: &ServiceKey| mesh.service_exports.reach(&key.namespace, &audience.namespace);
    let mut services = world.services();
    services.retain(|key| said.get(key).copied().unwrap_or_else(|| by_default(key)));
    services
}
