//! Resources made by hand, as small as Envoy takes them.

use crate::harness::authority::Certificate;
use chancery::model::provenance::Provenance;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Fragment, Ref, Resource, any};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType as SocketConfig;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, DataSource, SocketAddress, TransportSocket, data_source,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType as FilterConfig;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::direct_response::v3 as direct;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as manager;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret, TlsCertificate,
    UpstreamTlsContext, secret,
};
use envoy_types::pb::google::protobuf::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

/// The name of the only secret that clusters refer to.
pub const SECRET: &str = "trust";
/// The name of the only one that listeners refer to.
pub const SHOWN: &str = "shown";
/// The field of a route configuration that holds its virtual hosts.
const HOSTS: u32 = 2;

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

/// Over this stream, waited for for so long; 0 is for ever.
fn ads(wait: i64) -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        initial_fetch_timeout: seconds(wait),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

fn refs(refs: &[(Kind, &str)]) -> Vec<Ref> {
    refs.iter().map(|(kind, name)| Ref { kind: *kind, name: (*name).into() }).collect()
}

fn made<M: prost::Message + prost::Name>(kind: Kind, name: &str, message: &M, to: &[(Kind, &str)]) -> Resource {
    Resource::new(kind, name, message, refs(to), Provenance::default())
}

fn bare(name: &str, timeout: i64) -> Cluster {
    let eds_cluster_config = Some(EdsClusterConfig { eds_config: Some(ads(0)), service_name: name.to_owned() });
    let kind = Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()));
    let connect_timeout = seconds(timeout);
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: kind,
        eds_cluster_config,
        connect_timeout,
        ..Cluster::default()
    }
}

/// A cluster whose endpoints are waited for for ever.
pub fn cluster(name: &str, timeout: i64) -> Resource {
    made(Kind::Cluster, name, &bare(name, timeout), &[(Kind::Endpoint, name)])
}

/// A cluster that Envoy refuses: nothing provides the balancing it asks for.
pub fn unbalanced(name: &str) -> Resource {
    let cluster = Cluster { lb_policy: LbPolicy::ClusterProvided.into(), ..bare(name, 1) };
    made(Kind::Cluster, name, &cluster, &[(Kind::Endpoint, name)])
}

/// A cluster that trusts whom [`SECRET`] says. `wait`: how long it waits for that, part of how it refers to it.
pub fn trusting(name: &str, timeout: i64, wait: i64) -> Resource {
    let secret = sds(SECRET, wait);
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)),
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    let cluster = Cluster { transport_socket: Some(tls(&context)), ..bare(name, timeout) };
    made(Kind::Cluster, name, &cluster, &[(Kind::Endpoint, name), (Kind::Secret, SECRET)])
}

fn sds(name: &str, wait: i64) -> SdsSecretConfig {
    SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads(wait)) }
}

fn tls<C: prost::Message + prost::Name>(context: &C) -> TransportSocket {
    TransportSocket { name: "tls".to_owned(), config_type: Some(SocketConfig::TypedConfig(any(context))) }
}

/// One endpoint.
pub fn endpoints(name: &str, address: SocketAddr) -> Resource {
    assignment(name, at(address))
}

/// One endpoint at an address that is none, for which Envoy refuses it.
pub fn nowhere(name: &str) -> Resource {
    let socket = SocketAddress { address: "nowhere".to_owned(), ..SocketAddress::default() };
    let socket = SocketAddress { port_specifier: Some(PortSpecifier::PortValue(80)), ..socket };
    assignment(name, Address { address: Some(AddressKind::SocketAddress(socket)) })
}

fn assignment(name: &str, address: Address) -> Resource {
    let endpoint = Endpoint { address: Some(address), ..Endpoint::default() };
    let endpoint = LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() };
    let assignment =
        ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints: vec![locality], ..Default::default() };
    made(Kind::Endpoint, name, &assignment, &[])
}

/// Trust in one certificate, by its hash.
pub fn secret() -> Resource {
    trust(&"ab".repeat(32))
}

/// The same, and the hash is none: Envoy refuses it.
pub fn unreadable() -> Resource {
    trust("no hash")
}

fn trust(hash: &str) -> Resource {
    let context = CertificateValidationContext { verify_certificate_hash: vec![hash.to_owned()], ..Default::default() };
    let secret = Secret { name: SECRET.to_owned(), r#type: Some(secret::Type::ValidationContext(context)) };
    made(Kind::Secret, SECRET, &secret, &[])
}

/// The certificate that listeners show.
pub fn certificate(Certificate { chain, key }: &Certificate) -> Resource {
    let inline = |text: &str| {
        Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(text.to_owned())),
            ..Default::default()
        })
    };
    let pair = TlsCertificate { certificate_chain: inline(chain), private_key: inline(key), ..Default::default() };
    let secret = Secret { name: SHOWN.to_owned(), r#type: Some(secret::Type::TlsCertificate(pair)) };
    made(Kind::Secret, SHOWN, &secret, &[])
}

/// The same as [`http`] for who shakes hands, with the certificate [`SHOWN`], for which it waits so long.
pub fn showing(name: &str, address: SocketAddr, routes: &str, wait: i64) -> Resource {
    let common =
        CommonTlsContext { tls_certificate_sds_secret_configs: vec![sds(SHOWN, wait)], ..CommonTlsContext::default() };
    let context = DownstreamTlsContext { common_tls_context: Some(common), ..DownstreamTlsContext::default() };
    let chain = FilterChain { transport_socket: Some(tls(&context)), ..routing(name, routes) };
    chained(name, address, chain, &[(Kind::Secret, SHOWN), (Kind::Route, routes)])
}

/// A listener that says `text` to whoever connects.
pub fn listener(name: &str, address: SocketAddr, text: &str) -> Resource {
    let response =
        DataSource { specifier: Some(data_source::Specifier::InlineString(format!("{text}\n"))), ..Default::default() };
    chained(name, address, chain(&direct::Config { response: Some(response) }), &[])
}

/// A listener that passes connections on to the cluster of that name.
pub fn passing(name: &str, address: SocketAddr, cluster: &str) -> Resource {
    let proxy = tcp::TcpProxy {
        stat_prefix: name.to_owned(),
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    chained(name, address, chain(&proxy), &[(Kind::Cluster, cluster)])
}

/// A listener that takes HTTP and routes it as the route configuration of that name says.
pub fn http(name: &str, address: SocketAddr, routes: &str) -> Resource {
    chained(name, address, routing(name, routes), &[(Kind::Route, routes)])
}

fn routing(name: &str, routes: &str) -> FilterChain {
    let rds = manager::Rds { config_source: Some(ads(0)), route_config_name: routes.to_owned() };
    let router = Some(manager::http_filter::ConfigType::TypedConfig(any(&Router::default())));
    let router = manager::HttpFilter { name: "router".to_owned(), config_type: router, ..Default::default() };
    chain(&manager::HttpConnectionManager {
        stat_prefix: name.to_owned(),
        route_specifier: Some(manager::http_connection_manager::RouteSpecifier::Rds(rds)),
        http_filters: vec![router],
        ..Default::default()
    })
}

fn chain<F: prost::Message + prost::Name>(filter: &F) -> FilterChain {
    let filter = Filter { name: "only".to_owned(), config_type: Some(FilterConfig::TypedConfig(any(filter))) };
    FilterChain { filters: vec![filter], ..FilterChain::default() }
}

fn chained(name: &str, address: SocketAddr, chain: FilterChain, refs: &[(Kind, &str)]) -> Resource {
    let (name, address, filter_chains) = (name.to_owned(), Some(at(address)), vec![chain]);
    let listener = Listener { name: name.clone(), address, filter_chains, ..Listener::default() };
    made(Kind::Listener, &name, &listener, refs)
}

/// Everything goes to one cluster.
pub fn routes(name: &str, cluster: &str) -> Resource {
    table(name, &[("everyone", "*", cluster)])
}

/// Routes made as they are served, host by host: the name of each, its domain, and the cluster that all of it goes to. A host
/// without a domain is one that Envoy refuses.
pub fn table(name: &str, hosts: &[(&str, &str, &str)]) -> Resource {
    let fragment = |(name, domain, cluster): &(&str, &str, &str)| {
        let domains = (!domain.is_empty()).then(|| (*domain).to_owned()).into_iter().collect();
        let routes = vec![all(cluster)];
        let host = route::VirtualHost { name: (*name).to_owned(), domains, routes, ..Default::default() };
        Arc::new(Fragment::new(name, HOSTS, &host, refs(&[(Kind::Cluster, cluster)]), Provenance::default()))
    };
    let head = route::RouteConfiguration { name: name.to_owned(), ..Default::default() };
    let hosts = hosts.iter().map(fragment).collect();
    Resource::of_fragments(Kind::Route, name, &head, hosts, Provenance::default())
}

fn all(cluster: &str) -> route::Route {
    let to = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    let path = Some(route::route_match::PathSpecifier::Prefix("/".to_owned()));
    route::Route {
        r#match: Some(route::RouteMatch { path_specifier: path, ..Default::default() }),
        action: Some(route::route::Action::Route(to)),
        ..Default::default()
    }
}

fn at(address: SocketAddr) -> Address {
    let socket = SocketAddress {
        address: address.ip().to_string(),
        port_specifier: Some(PortSpecifier::PortValue(address.port().into())),
        ..SocketAddress::default()
    };
    Address { address: Some(AddressKind::SocketAddress(socket)) }
}
