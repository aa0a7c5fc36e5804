//! Filters: their order in one place, one file for each kind of connection.

mod http;
mod log;
mod tcp;

pub use http::{Http, RouteSource, TRANSPORT_TIMEOUT, chain as http_chain};
pub use log::unmatched;
pub use tcp::chain as tcp_chain;

use super::proto::{duration, u32_value};
use crate::snapshot::resource::any;
use envoy_types::pb::envoy::config::listener::v3 as envoy;
use envoy_types::pb::envoy::extensions::filters::http as filters;
use envoy_types::pb::envoy::extensions::filters::listener as inspectors;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use envoy_types::pb::google::protobuf::Any;
use std::collections::BTreeSet;
use std::time::Duration;

/// The HTTP filters of every chain, in order. Statistics of gRPC come first, so that they count what a fault answers;
/// the router is last because it ends the chain. Which there are never depends on rules: adding one would drain the listener.
const ORDER: [HttpFilter; 5] =
    [HttpFilter::GrpcStats, HttpFilter::Fault, HttpFilter::Cors, HttpFilter::FilterState, HttpFilter::Router];

/// The filter by which a route decides what is offered in ALPN for its requests.
pub const FILTER_STATE: &str = "envoy.filters.http.set_filter_state";

/// An HTTP filter chancery uses.
#[derive(Clone, Copy)]
enum HttpFilter {
    GrpcStats,
    Fault,
    Cors,
    FilterState,
    Router,
}

impl HttpFilter {
    fn name(self) -> &'static str {
        match self {
            HttpFilter::GrpcStats => "envoy.filters.http.grpc_stats",
            HttpFilter::Fault => "envoy.filters.http.fault",
            HttpFilter::Cors => "envoy.filters.http.cors",
            HttpFilter::FilterState => FILTER_STATE,
            HttpFilter::Router => "envoy.filters.http.router",
        }
    }

    fn config(self) -> Any {
        match self {
            HttpFilter::GrpcStats => any(&grpc_stats()),
            HttpFilter::Fault => any(&filters::fault::v3::HttpFault::default()),
            HttpFilter::Cors => any(&filters::cors::v3::Cors::default()),
            // It does what routes say.
            HttpFilter::FilterState => any(&filters::set_filter_state::v3::Config::default()),
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

fn http_filters(speaks_up: bool) -> Vec<hcm::HttpFilter> {
    let filter = |filter: HttpFilter| hcm::HttpFilter {
        name: filter.name().to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(filter.config())),
        ..Default::default()
    };
    let wanted = |filter: &HttpFilter| speaks_up || !matches!(filter, HttpFilter::FilterState);
    ORDER.into_iter().filter(wanted).map(filter).collect()
}

/// The protocols the HTTP inspector finds in plain text.
const PLAIN_HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// The ports whose connections are not looked at: the server speaks first there, and the client would be waited for.
#[derive(Default)]
pub struct Silent {
    /// Whether it is TLS.
    pub tls: BTreeSet<u16>,
    /// Whether it is HTTP.
    pub http: BTreeSet<u16>,
}

/// Lets a listener look at the first bytes: is it TLS, is it HTTP. What shows neither in time is neither; none waits for
/// ever.
pub fn inspect(listener: &mut envoy::Listener, detection: Option<Duration>, except: &Silent) {
    inspect_tls(listener, detection, &except.tls);
    let http = listener_filter("http_inspector", any(&inspectors::http_inspector::v3::HttpInspector::default()));
    listener.listener_filters.push(envoy::ListenerFilter { filter_disabled: to_ports(&except.http), ..http });
}

/// Lets a listener look only at whether it is TLS.
pub fn inspect_tls(listener: &mut envoy::Listener, detection: Option<Duration>, except: &BTreeSet<u16>) {
    let tls = listener_filter("tls_inspector", any(&inspectors::tls_inspector::v3::TlsInspector::default()));
    listener.listener_filters.push(envoy::ListenerFilter { filter_disabled: to_ports(except), ..tls });
    listener.listener_filters_timeout = Some(duration(detection.unwrap_or_default()));
    listener.continue_on_listener_filters_timeout = true;
}

/// Lets a listener learn the original destination of a connection before anything else.
pub fn restore_destination(listener: &mut envoy::Listener) {
    let config = any(&inspectors::original_dst::v3::OriginalDst::default());
    listener.listener_filters.push(listener_filter("original_dst", config));
}

/// The condition that the destination port is one of some; none for none.
fn to_ports(ports: &BTreeSet<u16>) -> Option<envoy::ListenerFilterChainMatchPredicate> {
    use envoy::listener_filter_chain_match_predicate::{MatchSet, Rule};
    let predicate = |rule| envoy::ListenerFilterChainMatchPredicate { rule: Some(rule) };
    let range = |port: &u16| Int32Range { start: i32::from(*port), end: i32::from(*port) + 1 };
    let mut rules: Vec<_> = ports.iter().map(|port| predicate(Rule::DestinationPortRange(range(port)))).collect();
    match rules.len() {
        // Envoy wants at least two in a list.
        0 | 1 => rules.pop(),
        _ => Some(predicate(Rule::OrMatch(MatchSet { rules }))),
    }
}

/// A listener filter of Envoy's own.
fn listener_filter(name: &str, config: Any) -> envoy::ListenerFilter {
    envoy::ListenerFilter {
        name: format!("envoy.filters.listener.{name}"),
        config_type: Some(envoy::listener_filter::ConfigType::TypedConfig(config)),
        ..Default::default()
    }
}

/// A chain under another name.
pub fn named(chain: envoy::FilterChain, name: &str) -> envoy::FilterChain {
    envoy::FilterChain { name: name.to_owned(), ..chain }
}

/// A chain only for connections whose original destination has that port.
pub fn for_port(mut chain: envoy::FilterChain, port: u16) -> envoy::FilterChain {
    chain.filter_chain_match.get_or_insert_default().destination_port = Some(u32_value(port.into()));
    chain
}

/// A chain only for HTTP in plain text.
pub fn plain_http(mut chain: envoy::FilterChain) -> envoy::FilterChain {
    chain.filter_chain_match.get_or_insert_default().application_protocols = PLAIN_HTTP.map(str::to_owned).to_vec();
    for_transport(chain, "raw_buffer")
}

/// A chain only for `raw_buffer` or `tls`.
pub fn for_transport(mut chain: envoy::FilterChain, transport: &str) -> envoy::FilterChain {
    chain.filter_chain_match.get_or_insert_default().transport_protocol = transport.to_owned();
    chain
}

/// A network filter.
fn network(name: &str, config: Any) -> envoy::Filter {
    envoy::Filter { name: name.to_owned(), config_type: Some(envoy::filter::ConfigType::TypedConfig(config)) }
}
