//! A change of the ports of the mesh that running proxies could not follow. Envoy refuses a listener at an address that
//! another one has, so of two that are to change places it refuses both, and whatever they are sent from then on.

use crate::model::mesh::Mesh;
use crate::model::object::Stored;
use crate::model::problem::Severity;
use crate::source::finding::Note;

/// What becomes of settings that ask for that.
pub struct Refused {
    /// The settings with the ports as they were.
    pub part: Stored<Mesh>,
    /// What is said of each port.
    pub notes: Vec<Note>,
}

/// Whether settings give a port to one direction that the other has `before`.
pub fn refused(mesh: &Stored<Mesh>, before: &Mesh) -> Option<Refused> {
    let taken = [
        ("proxyListenPort", mesh.outbound_port, before.inbound_port),
        ("proxyInboundListenPort", mesh.inbound_port, before.outbound_port),
    ];
    let note = |(field, port, _): (&str, u16, u16)| {
        let text = format!(
            "running proxies have {port} for the other direction and would refuse it; give that a port of its own first"
        );
        Note { field: field.into(), severity: Severity::Error, text }
    };
    let notes: Vec<_> = taken.into_iter().filter(|(_, port, other)| port == other).map(note).collect();
    let (outbound_port, inbound_port) = (before.outbound_port, before.inbound_port);
    let part = || Stored::new(mesh.meta().clone(), Mesh { outbound_port, inbound_port, ..(**mesh).clone() });
    (!notes.is_empty()).then(|| Refused { part: part(), notes })
}
