//! The Delta wire form: `DeltaDiscoveryRequest` in, framed `DeltaDiscoveryResponse` out.

use super::decode::{BadRequest, Lists, Parts, take_apart};
use super::fields::Fields;
use super::request::{Names, Request};
use crate::snapshot::resource::Resource;
use crate::snapshot::roll::Roll;
use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

/// Field numbers of `envoy.service.discovery.v3.DeltaDiscoveryResponse`.
pub const FIELDS: Fields = Fields {
    version: 1,
    type_url: 4,
    nonce: 5,
    removed: Some(6),
    entry: Resource::delta_entry,
    roll: Roll::delta_pieces,
};

/// `resource_names_subscribe`, `resource_names_unsubscribe` and `initial_resource_versions` of the request.
const LISTS: Lists = Lists { names: &[3, 4], versions: Some(5) };

/// Reads an encoded `DeltaDiscoveryRequest`.
pub fn read(message: &Bytes) -> Result<Request, BadRequest> {
    let Parts { names, versions, rest } = take_apart::<DeltaDiscoveryRequest>(message, LISTS)?;
    let [subscribe, unsubscribe] = <[_; 2]>::try_from(names).expect("as many lists as are asked for");
    Ok(Request {
        type_url: rest.type_url,
        node: rest.node,
        nonce: rest.response_nonce,
        error: rest.error_detail.map(|status| status.message),
        stated: !versions.is_empty(),
        names: Names::Change { subscribe, unsubscribe, initial: versions },
    })
}
