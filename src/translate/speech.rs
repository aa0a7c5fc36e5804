//! Requests that say to a workload of the mesh that they are HTTP.
//!
//! The cluster of a port of which nobody says what it speaks is one for HTTP and for bytes, and offers in ALPN what means
//! bytes. A route that leads there offers something else for its requests, so that none gets past what HTTP is checked by.
//! Nothing is agreed on by it: the workload's proxy sees from the bytes which version follows.

use super::filter::FILTER_STATE;
use crate::snapshot::resource::any;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3 as envoy;
use envoy_types::pb::envoy::extensions::filters::common::set_filter_state::v3 as state;
use envoy_types::pb::envoy::extensions::filters::http::set_filter_state::v3::Config;
use envoy_types::pb::google::protobuf::Any;
use std::sync::Arc;

/// The filter state that is offered in ALPN in place of what the cluster says.
const PROTOCOLS: &str = "envoy.network.application_protocols";
/// HTTP, from a client of the mesh.
const HTTP: &str = "istio-http/1.1,istio";

/// A route whose requests say so at those clusters.
pub fn speak_up(mut route: envoy::Route, clusters: &[Arc<str>]) -> envoy::Route {
    use envoy::route_action::ClusterSpecifier;
    let told = |name: &str| clusters.iter().any(|cluster| **cluster == *name);
    let Some(envoy::route::Action::Route(action)) = &mut route.action else { return route };
    match &mut action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(only)) if told(only) => route.typed_per_filter_config = saying().into(),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            for cluster in weighted.clusters.iter_mut().filter(|cluster| told(&cluster.name)) {
                cluster.typed_per_filter_config = saying().into();
            }
        }
        _ => {}
    }
    route
}

/// What has a route say so.
fn saying() -> [(String, Any); 1] {
    let text = core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(HTTP.to_owned())),
        ..Default::default()
    };
    let format = core::SubstitutionFormatString {
        format: Some(core::substitution_format_string::Format::TextFormatSource(text)),
        ..Default::default()
    };
    let value = state::FilterStateValue {
        key: Some(state::filter_state_value::Key::ObjectKey(PROTOCOLS.to_owned())),
        value: Some(state::filter_state_value::Value::FormatString(format)),
        ..Default::default()
    };
    let config = Config { on_request_headers: vec![value], ..Default::default() };
    [(FILTER_STATE.to_owned(), any(&config))]
}
