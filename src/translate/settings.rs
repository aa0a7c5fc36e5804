//! What listeners take from the settings of the mesh, wherever they stand.

use crate::model::access_log::AccessLog;
use crate::model::provenance::{ObjectRef, Provenance};
use crate::model::tracked::Tracked;

/// How requests and connections are logged.
pub fn log(world: &Tracked) -> Option<AccessLog> {
    world.mesh().access_log.clone()
}

/// The objects that shape a listener: these, and the settings, where somebody wrote them.
pub fn provenance(world: &Tracked, objects: impl IntoIterator<Item = ObjectRef>) -> Provenance {
    objects.into_iter().chain(world.settings().map(|settings| settings.reference())).collect()
}
