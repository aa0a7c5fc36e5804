//! Outbound clusters: one per service port, and one per port and subset, with endpoints over EDS,
//! by DNS, or picked by clients.
//!
//! Defaults are Istio's where they differ from Envoy's: least request, no circuit breaker limits, no panic mode.

use super::names;
use super::proto::{ads, duration, u32_value};
use super::secure::{self, Decider, Way};
use super::unit::{ClusterInputs, EndpointsFrom, Inputs, Selection, Tls};
use super::{balance, destination, dns, headless, tls, visible};
use crate::model::destination::{
    ConnectionPool, DestinationRule, LoadBalancer, OutlierDetection, ServerCheck, Subset, TcpKeepalive, TrafficPolicy,
};
use crate::model::name::ServiceKey;
use crate::model::object::Stored;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::Provenance;
use crate::model::service::{Protocol, Service, ServicePort};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource, any};
use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::upstreams::http::v3 as upstream;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::Any;
use std::sync::Arc;
use std::time::Duration;

/// Istio's `connectTimeout` (Envoy: 5 s).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a warming cluster waits for its endpoints: Envoy's own way out of a stream lost in that moment.
const EDS_TIMEOUT: Duration = Duration::from_secs(15);
/// The key under which Envoy looks for a cluster's HTTP options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Selects the clusters of a service.
pub fn select(world: &Tracked, view: &View, key: &ServiceKey) -> Selection {
    let Some(service) = visible::exported_service(world, view, key) else { return Selection::default() };
    let rules = destination::rules(world, view, key);
    let (mesh, settings) = (world.mesh(), world.settings().map(|settings| settings.reference()));
    if service.alias().is_some() {
        return Selection::default();
    }
    let subsets = destination::subsets(&rules);
    let decider = Decider::new(world, view, &service, &mesh);
    let mut inputs = Vec::new();
    let is_direct = |port: &ServicePort| headless::is_direct(view, &service, port.number);
    for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
        let direct = is_direct(port);
        let mut add = |name: Arc<str>, subset: Option<&Subset>, from: EndpointsFrom| {
            let subset_name = subset.map(|subset| &*subset.name);
            let policy = destination::policy(&rules, subset_name, port.number);
            let way = Way { port, subset: subset_name, policy: &policy, from: &from };
            let (tls, deciding) = decider.decide(&way);
            inputs.push(Inputs::Cluster(ClusterInputs {
                name,
                service: service.clone(),
                port: port.number,
                protocol: port.protocol,
                subset: subset.map(|subset| subset.name.clone()),
                rules: rules.clone(),
                from,
                tls,
                connect_timeout: mesh.connect_timeout,
                others: settings.iter().cloned().chain(deciding).collect(),
            }));
        };
        for subset in std::iter::once(None).chain(subsets.values().copied().map(Some)) {
            let name = names::outbound(port.number, subset.map(|subset| &*subset.name), &service.host);
            let from = match dns::lookup(&service, view, &mesh, subset) {
                Some(lookup) => EndpointsFrom::Dns(lookup),
                None if direct && subset.is_none() => EndpointsFrom::Client(headless::other_port(port)),
                None => EndpointsFrom::List,
            };
            add(name, subset, from);
        }
        let twin = headless::listed(view, &service, port.number, &destination::policy(&rules, None, port.number));
        twin.filter(|_| direct).into_iter().for_each(|twin| add(twin, None, EndpointsFrom::List));
    }
    let unbalanced = service.ports.iter().any(is_direct).then(|| headless::unbalanced(&service, &rules)).flatten();
    let problems = address_unknown(view, &service, &rules).into_iter().chain(unbalanced);
    let problems = problems.chain(secure::impossible(view, &rules)).collect();
    Selection { inputs, problems, ..Selection::default() }
}

/// PASSTHROUGH for proxies that don't know the address asked for.
fn address_unknown(view: &View, service: &Service, rules: &[Stored<DestinationRule>]) -> Option<Problem> {
    if !service.ports.iter().any(|port| view.outlook().opened(port.number).is_some()) {
        return None;
    }
    let asks = |rule: &&Stored<DestinationRule>| {
        balance::is_passthrough(&rule.policy)
            || rule.subsets.iter().any(|subset| balance::is_passthrough(&subset.policy))
    };
    Some(Problem {
        object: rules.iter().find(asks)?.key().clone(),
        field: "spec.trafficPolicy.loadBalancer.simple".to_owned(),
        severity: Severity::Warning,
        text: "proxies without interception don't know the address asked for: with PASSTHROUGH their requests get 503"
            .to_owned(),
        cause: Cause::Conflict,
    })
}

/// Builds an outbound cluster.
pub fn build(inputs: &ClusterInputs) -> Resource {
    let name = &inputs.name;
    let mut policy = destination::policy(&inputs.rules, inputs.subset.as_deref(), inputs.port);
    if matches!(inputs.from, EndpointsFrom::Client(_)) {
        policy.load_balancer = Some(LoadBalancer::Passthrough);
    }
    let rules = inputs.rules.iter().map(|rule| rule.reference());
    let sources = std::iter::once(inputs.service.reference()).chain(rules).chain(inputs.others.iter().cloned());
    let provenance: Provenance = sources.collect();
    let pool = policy.connection_pool.as_ref();
    let mut cluster = governed(name, &policy, (inputs.protocol, &inputs.tls));
    cluster.connect_timeout =
        Some(duration(pool.and_then(|pool| pool.connect_timeout).unwrap_or(inputs.connect_timeout)));
    let mut refs = secured(&mut cluster, &inputs.tls, inputs.protocol);
    if inputs.tls == Tls::Impossible {
        // Without endpoints it answers 503.
        balance::apply(&mut cluster, &LoadBalancer::RoundRobin);
        cluster.cluster_discovery_type = discovery(envoy::cluster::DiscoveryType::Static);
    } else if balance::is_passthrough(&policy) {
        cluster.cluster_discovery_type = discovery(envoy::cluster::DiscoveryType::OriginalDst);
        if let EndpointsFrom::Client(Some(port)) = inputs.from {
            cluster.lb_config = Some(balance::on_port(port));
        }
    } else if let EndpointsFrom::Dns(lookup) = &inputs.from {
        dns::apply(&mut cluster, lookup, inputs.port);
    } else {
        cluster.cluster_discovery_type = discovery(envoy::cluster::DiscoveryType::Eds);
        let eds_config = Some(ads(EDS_TIMEOUT));
        cluster.eds_cluster_config =
            Some(envoy::cluster::EdsClusterConfig { eds_config, service_name: name.to_string() });
        refs.push(Ref { kind: Kind::Endpoint, name: name.clone() });
    }
    Resource::new(Kind::Cluster, name, &cluster, refs, provenance)
}

/// Sets how connections are made; returns the secrets that takes.
fn secured(cluster: &mut envoy::Cluster, how: &Tls, protocol: Protocol) -> Vec<Ref> {
    match how {
        Tls::Plain | Tls::Impossible => return Vec::new(),
        Tls::ByEndpoint(peer) => {
            cluster.transport_socket_matches = tls::by_endpoint(tls::workload(peer, protocol));
        }
        Tls::Mesh(peer) => cluster.transport_socket = Some(tls::workload(peer, protocol)),
        Tls::Server(server) => {
            cluster.transport_socket = Some(tls::to_server(server, protocol));
            return tls::to_server_refs(server);
        }
    }
    tls::refs().into()
}

/// The cluster without endpoints.
pub fn black_hole() -> Resource {
    let cluster = envoy::Cluster {
        cluster_discovery_type: discovery(envoy::cluster::DiscoveryType::Static),
        ..base(names::BLACK_HOLE)
    };
    Resource::new(Kind::Cluster, names::BLACK_HOLE, &cluster, Vec::new(), Provenance::default())
}

/// What every cluster has.
pub fn base(name: &str) -> envoy::Cluster {
    envoy::Cluster {
        name: name.to_owned(),
        alt_stat_name: names::stat(name),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        ..Default::default()
    }
}

/// A cluster's way of finding endpoints.
pub fn discovery(kind: envoy::cluster::DiscoveryType) -> Option<envoy::cluster::ClusterDiscoveryType> {
    Some(envoy::cluster::ClusterDiscoveryType::Type(kind.into()))
}

fn governed(name: &str, policy: &TrafficPolicy, (protocol, tls): (Protocol, &Tls)) -> envoy::Cluster {
    let pool = policy.connection_pool.clone().unwrap_or_default();
    let mut cluster = base(name);
    balance::apply(&mut cluster, policy.load_balancer.as_ref().unwrap_or(&LoadBalancer::LeastRequest));
    cluster.common_lb_config = Some(panic_threshold(policy.outlier_detection.as_ref()));
    cluster.circuit_breakers = Some(circuit_breakers(&pool));
    cluster.outlier_detection = policy.outlier_detection.as_ref().map(outlier_detection);
    cluster.upstream_connection_options = pool.tcp_keepalive.as_ref().map(keepalive);
    cluster.typed_extension_protocol_options = http_options(&pool, protocol, from_requests(tls, protocol))
        .into_iter()
        .map(|options| (HTTP_OPTIONS.to_owned(), options))
        .collect();
    cluster
}

/// Istio's `minHealthPercent`, 0 unless stated: endpoints that are not ready are listed, and panic would pick them.
fn panic_threshold(outliers: Option<&OutlierDetection>) -> envoy::cluster::CommonLbConfig {
    let percent = outliers.and_then(|outliers| outliers.min_health_percent).unwrap_or(0);
    envoy::cluster::CommonLbConfig {
        healthy_panic_threshold: Some(Percent { value: percent.into() }),
        ..Default::default()
    }
}

/// Limits; unset and zero mean the largest number, as in Istio (Envoy: 1024, 1024, 1024 and 3).
pub fn circuit_breakers(pool: &ConnectionPool) -> envoy::CircuitBreakers {
    let limit = |value: Option<u32>| Some(u32_value(value.filter(|value| *value > 0).unwrap_or(u32::MAX)));
    let thresholds = envoy::circuit_breakers::Thresholds {
        max_connections: limit(pool.max_connections),
        max_pending_requests: limit(pool.max_pending_requests),
        max_requests: limit(pool.max_requests),
        max_retries: limit(pool.max_retries),
        track_remaining: true,
        ..Default::default()
    };
    envoy::CircuitBreakers { thresholds: vec![thresholds], ..Default::default() }
}

/// Istio's meaning of `outlierDetection`: only the checks asked for are enforced, success rate never.
fn outlier_detection(outliers: &OutlierDetection) -> envoy::OutlierDetection {
    let enforced = |value: Option<u32>| Some(u32_value(if value.is_some_and(|value| value > 0) { 100 } else { 0 }));
    let consecutive = |value: Option<u32>| value.filter(|value| *value > 0).map(u32_value);
    let positive = |value: Option<Duration>| value.filter(|value| !value.is_zero()).map(duration);
    let split = outliers.split_external_local_origin_errors;
    envoy::OutlierDetection {
        consecutive_5xx: consecutive(outliers.consecutive_5xx),
        enforcing_consecutive_5xx: outliers.consecutive_5xx.and_then(|value| enforced(Some(value))),
        consecutive_gateway_failure: consecutive(outliers.consecutive_gateway_errors),
        enforcing_consecutive_gateway_failure: enforced(outliers.consecutive_gateway_errors),
        enforcing_success_rate: Some(u32_value(0)),
        interval: positive(outliers.interval),
        base_ejection_time: positive(outliers.base_ejection_time),
        max_ejection_percent: consecutive(outliers.max_ejection_percent),
        split_external_local_origin_errors: split,
        consecutive_local_origin_failure: consecutive(outliers.consecutive_local_origin_failures).filter(|_| split),
        enforcing_consecutive_local_origin_failure: split.then(|| u32_value(100)),
        enforcing_local_origin_success_rate: split.then(|| u32_value(0)),
        ..Default::default()
    }
}

fn keepalive(keepalive: &TcpKeepalive) -> envoy::UpstreamConnectionOptions {
    let seconds =
        |value: Option<Duration>| value.map(|value| u32_value(u32::try_from(value.as_secs()).unwrap_or(u32::MAX)));
    let tcp_keepalive = core::TcpKeepalive {
        keepalive_probes: keepalive.probes.map(u32_value),
        keepalive_time: seconds(keepalive.time),
        keepalive_interval: seconds(keepalive.interval),
    };
    envoy::UpstreamConnectionOptions { tcp_keepalive: Some(tcp_keepalive), ..Default::default() }
}

/// Where nobody states what a server is asked for and must be called, the host of the request decides (Istio's rule).
fn from_requests(tls: &Tls, protocol: Protocol) -> Option<core::UpstreamHttpProtocolOptions> {
    let Tls::Server(server) = tls else { return None };
    let auto_san_validation = matches!(&server.check, ServerCheck::Checked { names, .. } if names.is_empty());
    let asked = server.sni.is_none() && !matches!(protocol, Protocol::Tcp | Protocol::Udp);
    asked.then(|| core::UpstreamHttpProtocolOptions { auto_sni: true, auto_san_validation, ..Default::default() })
}

/// HTTP options, only where something is asked for: HTTP/2 ports speak it with prior knowledge.
fn http_options(
    pool: &ConnectionPool,
    protocol: Protocol,
    names: Option<core::UpstreamHttpProtocolOptions>,
) -> Option<Any> {
    let common = common(pool);
    if protocol != Protocol::Http2 && common.is_none() && names.is_none() {
        return None;
    }
    let options = upstream::HttpProtocolOptions {
        common_http_protocol_options: common,
        upstream_http_protocol_options: names,
        upstream_protocol_options: Some(upstream::http_protocol_options::UpstreamProtocolOptions::ExplicitHttpConfig(
            explicit(pool, protocol),
        )),
        ..Default::default()
    };
    Some(any(&options))
}

/// What a pool says of every version of HTTP.
fn common(pool: &ConnectionPool) -> Option<core::HttpProtocolOptions> {
    let idle_timeout = pool.http_idle_timeout.or(pool.tcp_idle_timeout);
    let common = core::HttpProtocolOptions {
        idle_timeout: idle_timeout.map(duration),
        max_connection_duration: pool.tcp_max_connection_duration.map(duration),
        max_requests_per_connection: pool.max_requests_per_connection.filter(|value| *value > 0).map(u32_value),
        ..Default::default()
    };
    Some(common).filter(|common| *common != core::HttpProtocolOptions::default())
}

fn http2(pool: &ConnectionPool) -> core::Http2ProtocolOptions {
    let max_concurrent_streams = pool.max_concurrent_streams.filter(|value| *value > 0).map(u32_value);
    core::Http2ProtocolOptions { max_concurrent_streams, ..Default::default() }
}

fn explicit(pool: &ConnectionPool, protocol: Protocol) -> upstream::http_protocol_options::ExplicitHttpConfig {
    use upstream::http_protocol_options::explicit_http_config::ProtocolConfig;
    let config = match protocol {
        Protocol::Http2 => ProtocolConfig::Http2ProtocolOptions(http2(pool)),
        _ => ProtocolConfig::HttpProtocolOptions(Default::default()),
    };
    upstream::http_protocol_options::ExplicitHttpConfig { protocol_config: Some(config) }
}

/// HTTP options of a cluster that speaks what its client spoke.
pub fn downstream_protocol(pool: &ConnectionPool) -> (String, Any) {
    use upstream::http_protocol_options::{UpstreamProtocolOptions, UseDownstreamHttpConfig};
    let config = UseDownstreamHttpConfig {
        http_protocol_options: Some(Default::default()),
        http2_protocol_options: Some(http2(pool)),
        ..Default::default()
    };
    let options = upstream::HttpProtocolOptions {
        common_http_protocol_options: common(pool),
        upstream_protocol_options: Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(config)),
        ..Default::default()
    };
    (HTTP_OPTIONS.to_owned(), any(&options))
}

/// Limits a cluster as a pool says, towards an application that speaks what the client spoke.
pub fn limit(cluster: &mut envoy::Cluster, pool: &ConnectionPool) {
    cluster.circuit_breakers = Some(circuit_breakers(pool));
    cluster.upstream_connection_options = pool.tcp_keepalive.as_ref().map(keepalive);
    cluster.typed_extension_protocol_options = [downstream_protocol(pool)].into();
    if let Some(timeout) = pool.connect_timeout {
        cluster.connect_timeout = Some(duration(timeout));
    }
}

/// Connections to the application come from an address that says so: capture exempts it, or they would come back.
pub fn from_the_proxy() -> core::BindConfig {
    let source = |address: &str| core::SocketAddress {
        address: address.to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(0)),
        ..Default::default()
    };
    let v6 = core::ExtraSourceAddress { address: Some(source("::6")), ..Default::default() };
    core::BindConfig {
        source_address: Some(source("127.0.0.6")),
        extra_source_addresses: vec![v6],
        ..Default::default()
    }
}

/// The load assignment of a cluster with one endpoint that never changes.
pub fn single(
    name: &str,
    endpoint: core::Address,
) -> envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment {
    use envoy_types::pb::envoy::config::endpoint::v3 as endpoint_v3;
    let host = endpoint_v3::Endpoint { address: Some(endpoint), ..Default::default() };
    let lb_endpoint = endpoint_v3::LbEndpoint {
        host_identifier: Some(endpoint_v3::lb_endpoint::HostIdentifier::Endpoint(host)),
        ..Default::default()
    };
    let locality = endpoint_v3::LocalityLbEndpoints { lb_endpoints: vec![lb_endpoint], ..Default::default() };
    endpoint_v3::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![locality],
        ..Default::default()
    }
}
