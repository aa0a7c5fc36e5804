//! A change of the ports of the mesh that running proxies could not follow. Envoy refuses a listener at an address that
//! another one has, so of two that are to change places it refuses both, and whatever they are sent from then on.
//!
//! Reached by a file that was just read, and by the settings in effect; what it may not change stays as it is.

use super::file::{Entry, Loaded, Outcome};
use crate::model::mesh::Mesh;
use crate::model::object::{Object, Stored};
use crate::model::problem::Severity;
use crate::source::finding::{Finding, Note, Position, Subject};
use std::path::Path;
use std::sync::Arc;

/// Takes it for an error if settings give a port to one direction that the other has `before`.
pub(super) fn refuse(path: &Arc<Path>, loaded: &mut Loaded, before: &Mesh) {
    let Some(Entry { object, marks }) = loaded.entries.get_mut(&Mesh::key()) else { return };
    let (Outcome::Good(Object::MeshConfig(mesh)) | Outcome::Broken(Some(Object::MeshConfig(mesh)))) = &*object else {
        return;
    };
    let taken = [
        ("proxyListenPort", mesh.outbound_port, before.inbound_port),
        ("proxyInboundListenPort", mesh.inbound_port, before.outbound_port),
    ];
    let taken: Vec<_> = taken.into_iter().filter(|(_, port, other)| port == other).collect();
    if taken.is_empty() {
        return;
    }
    let (outbound_port, inbound_port) = (before.outbound_port, before.inbound_port);
    let part = Stored::new(mesh.meta().clone(), Mesh { outbound_port, inbound_port, ..(**mesh).clone() });
    *object = Outcome::Broken(Some(Object::MeshConfig(part)));
    loaded.findings.extend(taken.into_iter().map(|(field, port, _)| {
        let text = format!(
            "running proxies have {port} for the other direction and would refuse it; give that a port of its own first"
        );
        let position = Position { file: path.clone(), line: Some(marks.locate(field)) };
        let note = Note { field: field.into(), severity: Severity::Error, text };
        Finding::new(position, Subject::from(&Mesh::key()), note)
    }));
}
