//! Filters: their order in one place, one file for each kind of connection.

mod http;
mod tcp;

pub use http::{Http, RouteSource, chain as http_chain};
pub use tcp::chain as tcp_chain;

use crate::snapshot::resource::any;
use envoy_types::pb::envoy::config::listener::v3 as envoy;
use envoy_types::pb::envoy::extensions::filters::http as filters;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::google::protobuf::Any;

/// The HTTP filters of every chain, in order. Statistics of gRPC come first, so that they count what a fault answers;
/// the router is last because it ends the chain. All are always there: adding one later would drain the listener.
const ORDER: [HttpFilter; 4] = [HttpFilter::GrpcStats, HttpFilter::Fault, HttpFilter::Cors, HttpFilter::Router];

/// An HTTP filter chancery uses.
#[derive(Clone, Copy)]
enum HttpFilter {
    GrpcStats,
    Fault,
    Cors,
    Router,
}

impl HttpFilter {
    fn name(self) -> &'static str {
        match self {
            HttpFilter::GrpcStats => "envoy.filters.http.grpc_stats",
            HttpFilter::Fault => "envoy.filters.http.fault",
            HttpFilter::Cors => "envoy.filters.http.cors",
            HttpFilter::Router => "envoy.filters.http.router",
        }
    }

    fn config(self) -> Any {
        match self {
            HttpFilter::GrpcStats => any(&grpc_stats()),
            HttpFilter::Fault => any(&filters::fault::v3::HttpFault::default()),
            HttpFilter::Cors => any(&filters::cors::v3::Cors::default()),
            HttpFilter::Router => any(&filters::router::v3::Router::default()),
        }
    }
}

fn grpc_stats() -> filters::grpc_stats::v3::FilterConfig {
    use envoy_types::pb::google::protobuf::BoolValue;
    use filters::grpc_stats::v3::filter_config::PerMethodStatSpecifier;
    filters::grpc_stats::v3::FilterConfig {
        emit_filter_state: true,
        per_method_stat_specifier: Some(PerMethodStatSpecifier::StatsForAllMethods(BoolValue { value: false })),
        ..Default::default()
    }
}

fn http_filters() -> Vec<hcm::HttpFilter> {
    let filter = |filter: HttpFilter| hcm::HttpFilter {
        name: filter.name().to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(filter.config())),
        ..Default::default()
    };
    ORDER.into_iter().map(filter).collect()
}

/// A network filter.
fn network(name: &str, config: Any) -> envoy::Filter {
    envoy::Filter { name: name.to_owned(), config_type: Some(envoy::filter::ConfigType::TypedConfig(config)) }
}
