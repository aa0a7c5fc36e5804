//! What an Envoy bootstrap says: a pure function from options to a value, which is an
//! `envoy.config.bootstrap.v3.Bootstrap` in proto JSON.

use super::input::{Host, HostPort, ServiceNode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What differs between bootstraps.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Where chancery listens.
    pub xds: HostPort,
    /// The port of Envoy's admin interface.
    pub admin_port: u16,
    /// The port where Envoy serves its metrics.
    pub stats_port: u16,
    /// Where the stats port is opened; where the admin port is, too, if this is a loopback address.
    pub bind: IpAddr,
    /// Who the proxy is; without it Envoy must be told by its own flags.
    pub node: Option<ServiceNode>,
    /// The node's metadata, beyond what follows from `node`.
    pub metadata: BTreeMap<String, Value>,
}

impl Options {
    /// Where the admin interface is opened. It can end the process and shows all configuration, so it never leaves the
    /// machine.
    fn admin(&self) -> IpAddr {
        match self.bind {
            bind if bind.is_loopback() => bind,
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

/// The bootstrap. Until chancery has answered for clusters and listeners, however long that takes, Envoy is not ready
/// and opens no port but the admin one.
pub fn bootstrap(options: &Options) -> Value {
    json!({
        "node": node(options),
        "admin": {"address": address(&options.admin(), options.admin_port), "profile_path": "/dev/null"},
        "dynamic_resources": dynamic_resources(),
        "stats_config": stats_config(),
        "stats_flush_interval": "10s",
        // Series appear at first use, which saves much memory where clusters are many.
        "deferred_stat_options": {"enable_deferred_creation_stats": true},
        "overload_manager": overload_manager(),
        "layered_runtime": layered_runtime(),
        "static_resources": {
            "clusters": [xds_cluster(&options.xds), admin_cluster(options)],
            "listeners": [stats_listener(options)],
        },
    })
}

fn node(options: &Options) -> Value {
    let mut metadata: Map<String, Value> = options.metadata.clone().into_iter().collect();
    metadata.entry("INTERCEPTION_MODE").or_insert("NONE".into());
    let mut node = json!({});
    if let Some(known) = &options.node {
        metadata.entry("NAMESPACE").or_insert(known.namespace.as_str().into());
        node = json!({"id": known.id, "cluster": known.workload});
    }
    node["metadata"] = metadata.into();
    node
}

fn dynamic_resources() -> Value {
    let source = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    // Envoy's own back-off grows to 30 s, which is how long a proxy would not notice that chancery is back.
    let back_off = json!({"retry_back_off": {"base_interval": "0.5s", "max_interval": "5s"}});
    json!({
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds", "retry_policy": back_off}}],
        },
        "cds_config": source,
        "lds_config": source,
    })
}

/// Stat names end their variable part with ";", so that names with dots stay whole. A leading `^token\.` keeps a tag
/// from being tried on every stat; a tag without a pattern is Envoy's built-in one, which is far cheaper.
fn stats_config() -> Value {
    let tag = |name: &str, regex: &str| json!({"tag_name": name, "regex": regex});
    json!({
        "use_all_default_tags": false,
        "stats_tags": [
            tag("cluster_name", r"^cluster\.(([^;]+);\.)"),
            tag("http_conn_manager_prefix", r"^http\.(([^;]+);\.)"),
            tag("http_conn_manager_prefix", r"^listener\.[^;]+;\.http\.(([^;]+);\.)"),
            tag("tcp_prefix", r"^tcp\.(([^;]+);\.)"),
            tag("listener_address", r"^listener\.(([^;]+);\.)"),
            {"tag_name": "envoy.response_code"},
            {"tag_name": "envoy.response_code_class"},
        ],
    })
}

/// Envoy rejects a whole route configuration for an expression whose compiled program is larger than 100 instructions,
/// which many harmless ones are. chancery limits expressions before it sends them, to less than this (Istio's value).
fn layered_runtime() -> Value {
    json!({"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 32768}}]})
}

fn overload_manager() -> Value {
    let limit = extension(
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        json!({"max_active_downstream_connections": 20000}),
    );
    json!({
        "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": limit,
        }],
    })
}

fn xds_cluster(xds: &HostPort) -> Value {
    let http2 = json!({"http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}});
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let limits = json!({"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000});
    let mut cluster = json!({
        "name": "xds",
        "alt_stat_name": "xds;",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {options: extension(options, json!({"explicit_http_config": http2}))},
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 30, "keepalive_interval": 10},
        },
        "circuit_breakers": {"thresholds": [limits]},
    });
    match &xds.host {
        Host::Ip(ip) => {
            cluster["type"] = "STATIC".into();
            cluster["load_assignment"] = load_assignment("xds", address(ip, xds.port));
        }
        Host::Name(name) => {
            cluster["cluster_type"] = dns();
            cluster["load_assignment"] = load_assignment("xds", address(name, xds.port));
        }
    }
    cluster
}

/// Every address of the name is an endpoint of its own, so that proxies spread over replicas. IPv4 where the name has
/// it: Envoy's default never tries it if there is an IPv6 address, such as that of localhost.
fn dns() -> Value {
    let config = json!({
        "respect_dns_ttl": true,
        "dns_lookup_family": "V4_PREFERRED",
        "all_addresses_in_single_endpoint": false,
    });
    let config = extension("envoy.extensions.clusters.dns.v3.DnsCluster", config);
    json!({"name": "envoy.clusters.dns", "typed_config": config})
}

fn admin_cluster(options: &Options) -> Value {
    json!({
        "name": "admin",
        "alt_stat_name": "admin;",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": load_assignment("admin", address(&options.admin(), options.admin_port)),
    })
}

/// Metrics and nothing else of the admin interface: the path is matched exactly.
fn stats_listener(options: &Options) -> Value {
    let route = json!({"match": {"path": "/stats/prometheus"}, "route": {"cluster": "admin"}});
    let router = extension("envoy.extensions.filters.http.router.v3.Router", json!({}));
    let manager = extension(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "prometheus;",
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
            "route_config": {"virtual_hosts": [{"name": "prometheus", "domains": ["*"], "routes": [route]}]},
        }),
    );
    let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    json!({
        "name": "prometheus",
        "address": address(&options.bind, options.stats_port),
        "stat_prefix": "prometheus;",
        // A proxy that is full or overloaded must still be seen.
        "ignore_global_conn_limit": true,
        "bypass_overload_manager": true,
        "filter_chains": [{"filters": [filter]}],
    })
}

fn address(host: &impl ToString, port: u16) -> Value {
    json!({"socket_address": {"address": host.to_string(), "port_value": port}})
}

fn load_assignment(cluster: &str, address: Value) -> Value {
    json!({"cluster_name": cluster, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]})
}

/// The content of an `Any` of the type with that full name.
fn extension(name: &str, mut content: Value) -> Value {
    content["@type"] = format!("type.googleapis.com/{name}").into();
    content
}
