//! The bytes of one framed gRPC message as a list of shared parts, joined only when they are written.
//!
//! A queue of these holds references to resources, never copies, however many streams are slow.

use super::fields::Fields;
use super::request::Wire;
use super::response::Response;
use super::{delta, sotw};
use crate::snapshot::wire;
use bytes::{BufMut, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;

/// Parts at least this long are written as they are; shorter ones are joined with what follows.
const WHOLE: usize = 8 * 1024;
/// Joined parts are written when they are this long: one HTTP/2 DATA frame.
const JOINED: usize = 16 * 1024;
/// The gRPC message prefix: the compression flag and the length.
const PREFIX: usize = 5;

/// The bytes of one framed gRPC message.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    parts: VecDeque<Bytes>,
    length: usize,
}

impl Frames {
    /// Frames a response. The order of protobuf fields is free: the header fields go first, the resources' own bytes
    /// follow untouched.
    pub fn new(response: &Response, wire: Wire) -> Self {
        let fields = match wire {
            Wire::Sotw => &sotw::FIELDS,
            Wire::Delta => &delta::FIELDS,
        };
        let entries: Vec<Bytes> = response.resources.iter().map(|resource| (fields.entry)(resource)).collect();
        let header = header(response, fields);
        let message: usize = header.len() + entries.iter().map(Bytes::len).sum::<usize>();
        let mut head = Vec::with_capacity(PREFIX + header.len());
        head.put_u8(0);
        head.put_u32(u32::try_from(message).expect("a snapshot is far below 4 GiB"));
        head.extend_from_slice(&header);
        let parts = std::iter::once(Bytes::from(head)).chain(entries).collect();
        Self { parts, length: PREFIX + message }
    }

    /// How many bytes are left, prefix included.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes the next bytes to be written: one long part as it is, or short parts joined.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        let first = self.parts.pop_front()?;
        let follows = |parts: &VecDeque<Bytes>| parts.front().is_some_and(|next| next.len() < WHOLE);
        let chunk = if first.len() >= WHOLE || !follows(&self.parts) {
            first
        } else {
            let mut joined = Vec::with_capacity(JOINED + WHOLE);
            joined.extend_from_slice(&first);
            while joined.len() < JOINED && follows(&self.parts) {
                let next = self.parts.pop_front().expect("it follows");
                joined.extend_from_slice(&next);
            }
            joined.into()
        };
        self.length -= chunk.len();
        Some(chunk)
    }
}

fn header(response: &Response, fields: &Fields) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    wire::put_field(&mut out, fields.version, response.version.to_string().as_bytes());
    wire::put_field(&mut out, fields.type_url, response.kind.type_url().as_bytes());
    wire::put_field(&mut out, fields.nonce, response.nonce.to_string().as_bytes());
    if let Some(field) = fields.removed {
        let names: &[Arc<str>] = &response.removed;
        names.iter().for_each(|name| wire::put_field(&mut out, field, name.as_bytes()));
    }
    out
}
