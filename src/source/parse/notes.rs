//! Collects everything wrong with one object, so that all of it is reported and not only the first.

use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::source::finding::Note;

/// The notes about one object.
#[derive(Default, Debug)]
pub struct Notes {
    notes: Vec<Note>,
    /// What they have of text.
    bytes: usize,
}

/// How many notes one object may have, and how many bytes of text these: a hostile file must not fill memory with words, and the path
/// of a field may be as long as the file.
const LIMIT: usize = 1_000;
const BYTES: usize = 1 << 19;

impl Notes {
    /// Something that keeps the object from being applied.
    pub fn error(&mut self, field: impl Into<String>, text: impl Into<String>) {
        self.push(field.into(), Severity::Error, text.into());
    }

    /// Something that has no effect or is probably not meant; the object applies.
    pub fn warning(&mut self, field: impl Into<String>, text: impl Into<String>) {
        self.push(field.into(), Severity::Warning, text.into());
    }

    /// Adds with a severity decided elsewhere.
    pub fn push(&mut self, field: String, severity: Severity, text: String) {
        // An error is never dropped for want of room: that would apply an object that is wrong.
        let bytes = self.bytes + field.len() + text.len();
        let has_room = self.notes.len() < LIMIT && bytes <= BYTES;
        if has_room || (severity == Severity::Error && !self.failed()) {
            self.bytes = bytes;
            self.notes.push(Note { field, severity, text });
        }
    }

    /// Whether there is an error.
    pub fn failed(&self) -> bool {
        self.notes.iter().any(|note| note.severity == Severity::Error)
    }

    /// Whether there is an error about a member at the root, or about something in it.
    pub fn has_error_in(&self, member: &str) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        let errors = self.notes.iter().filter(|note| note.severity == Severity::Error);
        errors.into_iter().any(|note| note.field.strip_prefix(member).is_some_and(inside))
    }

    /// Notes the error of a check, if it failed.
    pub fn check<T>(&mut self, field: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|text| self.error(field, text)).ok()
    }

    /// The notes, sorted by field.
    pub fn into_notes(mut self) -> Vec<Note> {
        self.notes.sort();
        self.notes.dedup();
        self.notes
    }

    /// The notes as problems of an object.
    pub fn into_problems(self, object: &ObjectKey) -> Vec<Problem> {
        let problem = |Note { field, severity, text }| {
            let object = object.clone();
            Problem { object, field, severity, text, cause: Cause::Content }
        };
        self.into_notes().into_iter().map(problem).collect()
    }
}
