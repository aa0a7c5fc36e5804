//! The SotW wire form: `DiscoveryRequest` in, framed `DiscoveryResponse` out.

use super::decode::{BadRequest, Lists};
use super::fields::Fields;
use super::refrain::Refrain;
use super::request::{Names, Request};
use crate::snapshot::resource::Resource;
use crate::snapshot::roll::Roll;
use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

/// Field numbers of `envoy.service.discovery.v3.DiscoveryResponse`.
pub const FIELDS: Fields =
    Fields { version: 1, type_url: 4, nonce: 5, removed: None, entry: Resource::sotw_entry, roll: Roll::sotw_pieces };

/// `resource_names` of the request.
const LISTS: Lists = Lists { names: &[3], versions: None };

/// Reads an encoded `DiscoveryRequest`.
pub fn read(message: &Bytes) -> Result<Request, BadRequest> {
    read_next(message, &mut Refrain::default())
}

/// Reads the next one of a stream, which mostly repeats the names of the one before.
pub fn read_next(message: &Bytes, refrain: &mut Refrain) -> Result<Request, BadRequest> {
    let (names, rest) = refrain.take_apart::<DiscoveryRequest>(message, LISTS)?;
    Ok(Request {
        type_url: rest.type_url,
        node: rest.node,
        nonce: rest.response_nonce,
        error: rest.error_detail.map(|status| status.message),
        stated: !rest.version_info.is_empty(),
        names: Names::All(names),
    })
}
