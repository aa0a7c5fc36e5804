//! The bytes of one framed gRPC message as a list of shared parts, joined only when they are written.
//!
//! A queue of these holds references to resources, never copies, however many streams are slow.

use super::fields::Fields;
use super::request::Wire;
use super::response::Response;
use super::{delta, sotw};
use crate::snapshot::pieces::next_piece;
use crate::snapshot::roll::Roll;
use crate::snapshot::wire;
use bytes::{BufMut, Bytes};
use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

/// The gRPC message prefix: the compression flag and the length.
const PREFIX: usize = 5;

/// The bytes of one framed gRPC message.
#[derive(Clone, Debug)]
pub struct Frames {
    parts: Peekable<vec::IntoIter<Bytes>>,
    length: usize,
    /// Until all is written, so that whoever is told the same meanwhile shares the pieces.
    roll: Option<(Arc<Roll>, Arc<Vec<Bytes>>)>,
}

impl Frames {
    /// Frames a response. The order of protobuf fields is free: the header fields go first, the resources' own bytes
    /// follow untouched.
    pub fn new(response: &Response, wire: Wire) -> Self {
        let fields = match wire {
            Wire::Sotw => &sotw::FIELDS,
            Wire::Delta => &delta::FIELDS,
        };
        let held = response.roll.clone().map(|roll| (roll.clone(), (fields.roll)(&roll)));
        let roll = held.as_ref().map_or(&[][..], |(_, pieces)| pieces.as_slice());
        let mut head = head(response, fields);
        let mut parts = Vec::with_capacity(1 + roll.len() + response.resources.len());
        parts.push(Bytes::new());
        parts.extend_from_slice(roll);
        parts.extend(response.resources.iter().map(|resource| (fields.entry)(resource)));
        let message: usize = head.len() - PREFIX + parts.iter().map(Bytes::len).sum::<usize>();
        let length = u32::try_from(message).expect("a snapshot is far below 4 GiB");
        head[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        parts[0] = head.into();
        Self { parts: parts.into_iter().peekable(), length: PREFIX + message, roll: held }
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
        let chunk = next_piece(&mut self.parts)?;
        self.length -= chunk.len();
        self.roll.take_if(|_| self.length == 0);
        Some(chunk)
    }
}

impl Default for Frames {
    /// Nothing.
    fn default() -> Self {
        Self { parts: Vec::new().into_iter().peekable(), length: 0, roll: None }
    }
}

/// The prefix, with the length still to be filled in, and the fields that are the stream's own.
fn head(response: &Response, fields: &Fields) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    out.put_bytes(0, PREFIX);
    wire::put_field(&mut out, fields.version, &response.version.digits());
    wire::put_field(&mut out, fields.type_url, response.kind.type_url().as_bytes());
    wire::put_field(&mut out, fields.nonce, response.nonce.to_string().as_bytes());
    if let Some(field) = fields.removed {
        let names: &[Arc<str>] = &response.removed;
        names.iter().for_each(|name| wire::put_field(&mut out, field, name.as_bytes()));
    }
    out
}
