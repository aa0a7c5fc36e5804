//! Placeholders for what does not exist, where the protocol has no other way to say so.
//!
//! Envoy ignores the removal of a route configuration (its listener stays warming, its port closed), and SotW cannot say
//! that endpoints do not exist; both get an empty message of that name.

use super::kind::Kind;
use super::resource::Resource;
use crate::model::provenance::Provenance;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use std::sync::Arc;

/// A route configuration without virtual hosts: every request is answered 404.
pub fn empty_routes(name: &str) -> Arc<Resource> {
    let message = RouteConfiguration { name: name.into(), ..Default::default() };
    Arc::new(Resource::new(Kind::Route, name, &message, Vec::new(), Provenance::default()))
}

/// A cluster without endpoints.
pub fn empty_endpoints(name: &str) -> Arc<Resource> {
    let message = ClusterLoadAssignment { cluster_name: name.into(), ..Default::default() };
    Arc::new(Resource::new(Kind::Endpoint, name, &message, Vec::new(), Provenance::default()))
}
