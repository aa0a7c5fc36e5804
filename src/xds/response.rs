//! A response of either wire form, as the session gives it.

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
