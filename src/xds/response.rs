//! A response of either wire form, as the session gives it.

use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Resource, Version};
use crate::snapshot::roll::Roll;
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
    /// Everything on it is carried.
    pub roll: Option<Arc<Roll>>,
    /// The other resources carried; in SotW, of a whole-set type, all that the client is to hold and the roll lacks.
    pub resources: Vec<Arc<Resource>>,
    /// The names that don't exist or no longer do; Delta only.
    pub removed: Vec<Arc<str>>,
}

impl Response {
    /// Every resource carried.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.roll.iter().flat_map(|roll| roll.resources()).chain(&self.resources)
    }
}
