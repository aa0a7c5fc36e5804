//! The Delta wire form: `DeltaDiscoveryRequest` in, framed `DeltaDiscoveryResponse` out.

use super::fields::Fields;
use super::request::{Names, Request};
use crate::snapshot::resource::Resource;
use crate::snapshot::roll::Roll;
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

impl From<DeltaDiscoveryRequest> for Request {
    fn from(request: DeltaDiscoveryRequest) -> Self {
        Request {
            type_url: request.type_url,
            node: request.node,
            nonce: request.response_nonce,
            error: request.error_detail.map(|status| status.message),
            stated: !request.initial_resource_versions.is_empty(),
            names: Names::Change {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
                initial: request.initial_resource_versions.into_iter().collect(),
            },
        }
    }
}
