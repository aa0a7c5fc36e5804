//! Settings in a file that ask for ports which running proxies could not take; see [`crate::source::exchange`].

use super::file::{Entry, Loaded, Outcome};
use crate::model::mesh::Mesh;
use crate::model::object::Object;
use crate::source::exchange::refused;
use crate::source::finding::{Finding, Position, Subject};
use std::path::Path;
use std::sync::Arc;

/// Takes it for an error in a file that was just read if it asks for that; `before`: the settings in effect.
pub(super) fn refuse(path: &Arc<Path>, loaded: &mut Loaded, before: &Mesh) {
    let Some(Entry { object, marks }) = loaded.entries.get_mut(&Mesh::key()) else { return };
    let (Outcome::Good(Object::MeshConfig(mesh)) | Outcome::Broken(Some(Object::MeshConfig(mesh)))) = &*object else {
        return;
    };
    let Some(refused) = refused(mesh, before) else { return };
    *object = Outcome::Broken(Some(Object::MeshConfig(refused.part)));
    loaded.findings.extend(refused.notes.into_iter().map(|note| {
        let position = Position { file: path.clone(), line: Some(marks.locate(&note.field)) };
        Finding::new(position, Subject::from(&Mesh::key()), note)
    }));
}
