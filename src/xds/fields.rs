//! How the two wire forms number the fields of a response.

use crate::snapshot::resource::Resource;
use crate::snapshot::roll::Roll;
use bytes::Bytes;
use std::sync::Arc;

/// The fields of a response message that both wire forms have, by number.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// The version of the whole.
    pub version: u32,
    /// The type URL.
    pub type_url: u32,
    /// The nonce.
    pub nonce: u32,
    /// The names of removed resources, where there are any.
    pub removed: Option<u32>,
    /// How a resource is written: the entry of field 2.
    pub entry: fn(&Resource) -> Bytes,
    /// How everything on a roll is written: the entries one after the other.
    pub roll: fn(&Roll) -> Arc<Vec<Bytes>>,
}
