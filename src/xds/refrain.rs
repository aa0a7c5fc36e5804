//! What a client says again and again: in SotW every answer repeats all names that are asked for. Where their bytes are
//! those of the request before, what they say is known, and they aren't taken apart.
//!
//! Nothing of the request before is kept but a hash of its names and their sum. Whatever is not exactly the same is taken
//! apart as usual, with the same outcome.

use super::decode::{BadRequest, Lists, Parts, take_apart};
use super::texts::{Summary, Texts};
use crate::snapshot::keyed::keyed;
use crate::snapshot::wire::{Field, fields};
use bytes::Bytes;
use prost::Message;
use std::ops::Range;

/// How long names are in all before it is worth knowing them again, in bytes.
const WORTHWHILE: usize = 4 * 1024;

/// Knows the names of the last long request again. One for each stream.
#[derive(Debug)]
pub struct Refrain {
    worthwhile: usize,
    known: Option<Known>,
}

/// How long the fields of the names were in all, a hash of them, and what they say.
#[derive(Clone, Copy, Debug)]
struct Known {
    length: usize,
    hash: u128,
    summary: Summary,
}

impl Default for Refrain {
    fn default() -> Self {
        Self { worthwhile: WORTHWHILE, known: None }
    }
}

impl Refrain {
    /// One that knows short names again too: for tests.
    pub fn of_anything() -> Self {
        Self { worthwhile: 1, known: None }
    }

    /// Takes a request message apart that has one list of names and no versions.
    pub(super) fn take_apart<M: Message + Default>(
        &mut self,
        message: &Bytes,
        lists: Lists,
    ) -> Result<(Texts, M), BadRequest> {
        let number = lists.names[0];
        if let Some((place, summary)) = self.find(message, number) {
            let rest = [&message[..place.start], &message[place.end..]].concat();
            // More names make other names, and what is not well-formed is for others to refuse.
            if fields(&rest).all(|field| field.is_some_and(|field| field.number != number)) {
                return Ok((Texts::again(message.clone(), place, summary), M::decode(rest.as_slice())?));
            }
        }
        let Parts { names, rest, .. } = take_apart(message, lists)?;
        let [names] = <[_; 1]>::try_from(names).expect("as many lists as are asked for");
        self.learn(message, number, &names);
        Ok((names, rest))
    }

    /// Where in a message the known names are, if they are there, and what they say.
    fn find(&self, message: &Bytes, number: u32) -> Option<(Range<usize>, Summary)> {
        let Known { length, hash, summary } = self.known?;
        let start = named(message, number).next()?.whole.start;
        let place = start..start.checked_add(length)?;
        let is_same = keyed(message.get(place.clone())?) == hash;
        is_same.then_some((place, summary))
    }

    /// Knows these names from now on, if they are long and nothing stands between them.
    fn learn(&mut self, message: &Bytes, number: u32, names: &Texts) {
        let mut places = named(message, number).map(|field| field.whole);
        let Some(first) = places.next() else { return };
        let whole = places.try_fold(first, |all, next| (all.end == next.start).then_some(all.start..next.end));
        let Some(place) = whole.filter(|place| place.len() >= self.worthwhile) else { return };
        self.known = Some(Known { length: place.len(), hash: keyed(&message[place]), summary: names.summary() });
    }
}

/// The fields of that number in a message.
fn named(message: &Bytes, number: u32) -> impl Iterator<Item = Field> {
    fields(message).map_while(|field| field).filter(move |field| field.number == number)
}
