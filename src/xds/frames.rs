//! The bytes of one framed gRPC message as a list of shared parts, joined only when they are written.
//!
//! A queue of these holds references to resources, never copies, however many streams are slow.

use super::fields::Fields;
use super::request::Wire;
use super::response::Response;
use super::shelf::Joined;
use super::{delta, sotw};
use crate::snapshot::kind::Kind;
use crate::snapshot::pieces::{FRAME, WHOLE, next_piece};
use crate::snapshot::wire;
use bytes::{BufMut, Bytes};
use std::fmt;
use std::iter::{self, Peekable};
use std::sync::Arc;
use std::vec;
use zeroize::Zeroizing;

/// The gRPC message prefix: the compression flag and the length.
pub(super) const PREFIX: usize = 5;

/// The bytes of one framed gRPC message.
#[derive(Clone)]
pub struct Frames {
    parts: Peekable<vec::IntoIter<Bytes>>,
    length: usize,
    /// Whether there are keys among them: what is copied is overwritten in the end.
    is_secret: bool,
    /// Until all is written, so that whoever is told the same meanwhile shares the bytes.
    joined: Vec<Joined>,
}

/// How much there is of it: the bytes may be those of keys.
impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frames({} bytes)", self.length)
    }
}

impl Frames {
    /// Frames a response. The order of protobuf fields is free: the header fields go first, the resources' own bytes
    /// follow untouched.
    pub fn new(response: &Response, wire: Wire) -> Self {
        let fields = match wire {
            Wire::Sotw => &sotw::FIELDS,
            Wire::Delta => &delta::FIELDS,
        };
        let mut parts: Vec<Bytes> = response.resources.iter().map(|resource| (fields.entry)(resource)).collect();
        let mut joined = joined(response, &parts);
        let pieces = response.roll.clone().map(|roll| ((fields.roll)(&roll), roll));
        let roll = pieces.as_ref().map_or(&[][..], |(pieces, _)| pieces.as_slice());
        let own = head_len(response, fields);
        let message = own + roll.iter().chain(&parts).map(Bytes::len).sum::<usize>();
        let is_small = roll.is_empty() && message < WHOLE;
        let mut first = Vec::with_capacity(PREFIX + if is_small { message } else { own });
        put_prefix(&mut first, message);
        put_head(&mut first, response, fields);
        debug_assert_eq!(first.len(), PREFIX + own, "as long as reckoned");
        if is_small {
            // Most pushes: one piece, with nothing to be joined later.
            parts.drain(..).for_each(|part| first.extend_from_slice(&part));
        }
        let is_secret = response.kind == Kind::Secret;
        let first = if is_secret { Bytes::from_owner(Zeroizing::new(first)) } else { first.into() };
        parts.splice(..0, iter::once(first).chain(roll.iter().cloned()));
        joined.extend(pieces.map(|(pieces, roll)| Joined::Roll(roll, pieces)));
        Self { parts: parts.into_iter().peekable(), length: PREFIX + message, is_secret, joined }
    }

    /// Frames a message that is small, and sent to nobody else.
    pub fn of_message(message: &[u8]) -> Self {
        let mut whole = Vec::with_capacity(PREFIX + message.len());
        put_prefix(&mut whole, message.len());
        whole.extend_from_slice(message);
        let length = whole.len();
        Self { parts: vec![whole.into()].into_iter().peekable(), length, is_secret: false, joined: Vec::new() }
    }

    /// How many bytes are left, prefix included.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes the next bytes to be written.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        // Short parts of secrets are not joined, which would be one copy more.
        let chunk = if self.is_secret { self.parts.next() } else { next_piece(&mut self.parts, FRAME) }?;
        self.length -= chunk.len();
        if self.length == 0 {
            self.joined.clear();
        }
        Some(chunk)
    }

    /// What was joined to be sent with it, and is worth to be held for others who are told the same.
    pub fn joined(&self) -> &[Joined] {
        &self.joined
    }
}

impl Default for Frames {
    /// Nothing.
    fn default() -> Self {
        Self { parts: Vec::new().into_iter().peekable(), length: 0, is_secret: false, joined: Vec::new() }
    }
}

/// The large ones among a response's resources that consist of fragments, as the parts they are sent in.
fn joined(response: &Response, parts: &[Bytes]) -> Vec<Joined> {
    let all = response.resources.iter().zip(parts);
    let large = all.filter(|(resource, part)| part.len() >= WHOLE && resource.fragments().is_some());
    large.map(|(_, part)| Joined::Resource(part.clone())).collect()
}

/// The prefix of a message of so many bytes, which is not compressed.
fn put_prefix(out: &mut Vec<u8>, message: usize) {
    out.put_u8(0);
    out.put_u32(u32::try_from(message).expect("a message is far below 4 GiB"));
}

/// The fields that are the stream's own.
fn put_head(out: &mut Vec<u8>, response: &Response, fields: &Fields) {
    wire::put_field(out, fields.version, &response.version.digits());
    wire::put_field(out, fields.type_url, response.kind.type_url().as_bytes());
    wire::put_field(out, fields.nonce, response.nonce.to_string().as_bytes());
    removed(response, fields).for_each(|(field, name)| wire::put_field(out, field, name.as_bytes()));
}

/// How long they are.
fn head_len(response: &Response, fields: &Fields) -> usize {
    let nonce = response.nonce.checked_ilog10().unwrap_or(0) as usize + 1;
    wire::field_len(fields.version, response.version.digits().len())
        + wire::field_len(fields.type_url, response.kind.type_url().len())
        + wire::field_len(fields.nonce, nonce)
        + removed(response, fields).map(|(field, name)| wire::field_len(field, name.len())).sum::<usize>()
}

fn removed<'a>(response: &'a Response, fields: &Fields) -> impl Iterator<Item = (u32, &'a Arc<str>)> {
    let field = fields.removed;
    response.removed.iter().filter_map(move |name| Some((field?, name)))
}
