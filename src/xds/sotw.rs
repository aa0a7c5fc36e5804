//! The SotW wire form: `DiscoveryRequest` in, framed `DiscoveryResponse` out.

use super::fields::Fields;
use super::request::{Names, Request};
use crate::snapshot::resource::Resource;
use crate::snapshot::roll::Roll;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;

/// Field numbers of `envoy.service.discovery.v3.DiscoveryResponse`.
pub const FIELDS: Fields =
    Fields { version: 1, type_url: 4, nonce: 5, removed: None, entry: Resource::sotw_entry, roll: Roll::sotw_pieces };

impl From<DiscoveryRequest> for Request {
    fn from(request: DiscoveryRequest) -> Self {
        Request {
            type_url: request.type_url,
            node: request.node,
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
            stated: !request.version_info.is_empty(),
            names: Names::All(request.resource_names),
        }
    }
}
