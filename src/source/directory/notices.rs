//! The words for what one file alone doesn't show: versions that stay, and objects that are in two files.

use super::catalog::Held;
use crate::model::problem::Severity;
use crate::model::provenance::ObjectKey;
use crate::source::finding::{Finding, Note, Position, Subject};
use std::path::Path;
use std::sync::Arc;

/// How many objects are named before the rest is only counted.
const NAMED: usize = 8;

/// Says which objects stay although a file no longer shows them.
pub fn kept<'k>(mut objects: impl Iterator<Item = &'k ObjectKey>) -> Option<String> {
    let named: Vec<_> = objects.by_ref().take(NAMED).map(ToString::to_string).collect();
    let more = objects.count();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let text = "what the file held before stays in effect until a restart";
    (!named.is_empty()).then(|| format!("{text}: {}{rest}", named.join(", ")))
}

/// What is to be said of an object in one file, given the file whose version is in effect.
pub(super) fn notice(key: &ObjectKey, at: (&Arc<Path>, &Held), winner: Option<(&Arc<Path>, &Held)>) -> Option<Finding> {
    let (path, held) = at;
    let (first, winning) = winner?;
    if path == first {
        return None;
    }
    let place = Position { file: first.clone(), line: winning.line() };
    let text = format!("the same object is in {place}, which is in effect; this one is not");
    let position = Position { file: path.clone(), line: held.line() };
    let note = Note { field: String::new(), severity: Severity::Error, text };
    Some(Finding::new(position, Subject::from(key), note))
}
