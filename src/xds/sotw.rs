//! The SotW wire form: `DiscoveryRequest` in, framed `DiscoveryResponse` out.

use super::decode::{BadRequest, Lists, Parts, take_apart};
use super::fields::Fields;
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
    let Parts { names, rest, .. } = take_apart::<DiscoveryRequest>(message, LISTS)?;
    let [names] = <[_; 1]>::try_from(names).expect("as many lists as are asked for");
    Ok(Request {
        type_url: rest.type_url,
        node: rest.node,
        nonce: rest.response_nonce,
        error: rest.error_detail.map(|status| status.message),
        stated: !rest.version_info.is_empty(),
        names: Names::All(names),
    })
}
