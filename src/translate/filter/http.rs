//! Filter chains that speak HTTP.

use super::{http_filters, log, network};
use crate::model::access_log::AccessLog;
use crate::snapshot::resource::any;
use crate::translate::names;
use crate::translate::proto::{ads, bool_value, duration};
use envoy_types::pb::envoy::config::listener::v3 as envoy;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::extensions::request_id::uuid::v3::UuidRequestIdConfig;
use hcm::http_connection_manager as manager;
use std::time::Duration;

/// How long a TLS handshake may take.
pub const TRANSPORT_TIMEOUT: Duration = Duration::from_secs(15);

/// What tells one HTTP chain from another.
pub struct Http<'l> {
    /// The chain's name.
    pub name: String,
    /// The stat prefix, without its terminator.
    pub stats: String,
    /// Where routes come from.
    pub routes: RouteSource,
    /// Whether routes may have requests say to a workload of the mesh that they are HTTP.
    pub speaks_up: bool,
    /// How requests are logged.
    pub log: Option<&'l AccessLog>,
}

/// Where an HTTP chain's routes come from; also its direction.
pub enum RouteSource {
    /// Outbound: the route configuration of that name, over the aggregated stream.
    Rds(String),
    /// Inbound: inline.
    Inline(Box<RouteConfiguration>),
}

/// A chain with the HTTP connection manager.
pub fn chain(http: Http) -> envoy::FilterChain {
    envoy::FilterChain {
        name: http.name.clone(),
        transport_socket_connect_timeout: Some(duration(TRANSPORT_TIMEOUT)),
        filters: vec![network("envoy.filters.network.http_connection_manager", any(&connection_manager(http)))],
        ..Default::default()
    }
}

fn connection_manager(http: Http) -> hcm::HttpConnectionManager {
    let common = hcm::HttpConnectionManager {
        stat_prefix: names::stat(&http.stats),
        stream_idle_timeout: Some(duration(Duration::ZERO)),
        use_remote_address: Some(bool_value(false)),
        normalize_path: Some(bool_value(true)),
        path_with_escaped_slashes_action: manager::PathWithEscapedSlashesAction::KeepUnchanged.into(),
        upgrade_configs: vec![manager::UpgradeConfig { upgrade_type: "websocket".to_owned(), ..Default::default() }],
        http_filters: http_filters(http.speaks_up),
        access_log: log::loggers(http.log),
        ..Default::default()
    };
    match http.routes {
        RouteSource::Rds(name) => outbound(common, name),
        RouteSource::Inline(routes) => inbound(common, *routes),
    }
}

fn outbound(common: hcm::HttpConnectionManager, routes: String) -> hcm::HttpConnectionManager {
    let request_id =
        UuidRequestIdConfig { use_request_id_for_trace_sampling: Some(bool_value(true)), ..Default::default() };
    let rds = hcm::Rds { route_config_name: routes, config_source: Some(ads(Duration::ZERO)) };
    hcm::HttpConnectionManager {
        route_specifier: Some(manager::RouteSpecifier::Rds(rds)),
        server_header_transformation: manager::ServerHeaderTransformation::PassThrough.into(),
        request_id_extension: Some(hcm::RequestIdExtension { typed_config: Some(any(&request_id)) }),
        ..common
    }
}

fn inbound(common: hcm::HttpConnectionManager, routes: RouteConfiguration) -> hcm::HttpConnectionManager {
    let details = manager::SetCurrentClientCertDetails {
        subject: Some(bool_value(true)),
        dns: true,
        uri: true,
        ..Default::default()
    };
    hcm::HttpConnectionManager {
        route_specifier: Some(manager::RouteSpecifier::RouteConfig(routes)),
        server_name: "istio-envoy".to_owned(),
        forward_client_cert_details: manager::ForwardClientCertDetails::AppendForward.into(),
        set_current_client_cert_details: Some(details),
        ..common
    }
}
