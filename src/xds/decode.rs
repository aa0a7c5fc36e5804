//! Requests as they come off the wire: names stay where they lie in the message, everything else is decoded as usual.
//!
//! A client that comes back states thousands of names and versions; most are only compared and forgotten.

use super::texts::{Texts, Versions};
use crate::snapshot::wire::{Field, fields};
use bytes::Bytes;
use prost::{DecodeError, Message};
use std::ops::Range;
use thiserror::Error;

/// Why a message is no request.
#[derive(Debug, Error)]
pub enum BadRequest {
    /// It is not well-formed, or a name in it is not UTF-8.
    #[error("it is not a well-formed message")]
    Malformed,
    /// What is left without its names is not one.
    #[error(transparent)]
    Rest(#[from] DecodeError),
}

/// The fields of a request message that are left where they lie, by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lists {
    /// Lists of names.
    pub(super) names: &'static [u32],
    /// A map from names to versions.
    pub(super) versions: Option<u32>,
}

/// A request message, taken apart.
pub(super) struct Parts<M> {
    /// The lists, in the order of [`Lists::names`].
    pub(super) names: Vec<Texts>,
    pub(super) versions: Versions,
    /// The message without them.
    pub(super) rest: M,
}

/// Takes a request message apart.
pub(super) fn take_apart<M: Message + Default>(message: &Bytes, lists: Lists) -> Result<Parts<M>, BadRequest> {
    let mut names = vec![Texts::of(message.clone()); lists.names.len()];
    let mut versions = Versions::of(message.clone());
    let mut rest = Vec::new();
    for field in fields(message) {
        let field = field.ok_or(BadRequest::Malformed)?;
        let list = lists.names.iter().position(|number| *number == field.number);
        let is_versions = lists.versions == Some(field.number);
        let done = match (field.value, list) {
            (None, Some(at)) => names[at].push(field.content).map(drop),
            (None, None) if is_versions => push_entry(&mut versions, message, &field),
            // prost reads an entry of a map whatever its wire type says.
            (Some(_), _) if is_versions => None,
            _ => {
                rest.extend_from_slice(&message[field.whole]);
                Some(())
            }
        };
        done.ok_or(BadRequest::Malformed)?;
    }
    Ok(Parts { names, versions, rest: M::decode(rest.as_slice())? })
}

/// Adds an entry of the map: key in field 1, value in field 2, the last of each counts, either may be left out.
fn push_entry(versions: &mut Versions, message: &Bytes, entry: &Field) -> Option<()> {
    let start = entry.content.start;
    let (mut key, mut value) = (start..start, start..start);
    for field in fields(&message[entry.content.clone()]) {
        let field = field?;
        let content = start + field.content.start..start + field.content.end;
        match field.number {
            1 | 2 if field.value.is_some() => return None,
            1 => replaced(message, &mut key, content)?,
            2 => replaced(message, &mut value, content)?,
            _ => {}
        }
    }
    versions.push(key, value)
}

/// Lets the later of a field's two contents count; the earlier has to be text as well, as prost has it.
fn replaced(message: &Bytes, earlier: &mut Range<usize>, later: Range<usize>) -> Option<()> {
    std::str::from_utf8(&message[std::mem::replace(earlier, later)]).ok().map(drop)
}
