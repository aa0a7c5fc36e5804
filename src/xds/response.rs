//! A response of either wire form, as the session gives it.

use super::frames::Frames;
use super::request::Wire;
use super::{delta, sotw};
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Resource, Version};
use std::sync::Arc;

/// A response of either wire form.
#[derive(Clone, Debug)]
pub struct Response {
    /// The type it is about.
    pub kind: Kind,
    /// The response's number on its stream.
    pub nonce: u64,
    /// The version of everything the client holds of the type once it has applied the response.
    pub version: Version,
    /// The resources carried; in SotW, of a whole-set type, all of them.
    pub resources: Vec<Arc<Resource>>,
    /// The names that don't exist or no longer do; Delta only.
    pub removed: Vec<Arc<str>>,
}

impl Response {
    /// The framed bytes of the response.
    pub fn frames(&self, wire: Wire) -> Frames {
        Frames::new(
            self,
            match wire {
                Wire::Sotw => &sotw::FIELDS,
                Wire::Delta => &delta::FIELDS,
            },
        )
    }
}
