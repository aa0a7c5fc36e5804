//! What an Envoy bootstrap says: a pure function from options to a value, which is an
//! `envoy.config.bootstrap.v3.Bootstrap` in proto JSON.

mod listener;
mod overload;
mod stats;
pub mod xds;

use super::input::{HostPort, ServiceNode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use xds::Trust;

/// What differs between bootstraps.
#[derive(Clone, PartialEq, Debug)]
pub struct Options {
    /// Where chancery listens.
    pub xds: HostPort,
    /// How the proxy and chancery know each other; none in plain text.
    pub trust: Option<Trust>,
    /// The port of Envoy's admin interface.
    pub admin_port: u16,
    /// The port where Envoy serves its metrics.
    pub stats_port: u16,
    /// The port where Envoy says whether it is ready.
    pub ready_port: u16,
    /// Where the stats and readiness ports are opened; where the admin port is, too, if this is a loopback address.
    pub bind: IpAddr,
    /// Who the proxy is; without it Envoy must be told by its own flags.
    pub node: Option<ServiceNode>,
    /// The node's metadata, beyond what follows from `node`.
    pub metadata: BTreeMap<String, Value>,
    /// Above this share of memory Envoy sheds load, in MiB of its heap; none without a limit.
    pub max_heap_mib: Option<u64>,
    /// Whether all of Envoy's statistics are kept, or those of the inclusion list only.
    pub all_stats: bool,
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
/// and opens no port but the admin one. docs/reference/bootstrap.md gives the reason for every line.
pub fn bootstrap(options: &Options) -> Value {
    json!({
        "node": node(options),
        "admin": {"address": address(&options.admin(), options.admin_port), "profile_path": "/dev/null"},
        "dynamic_resources": dynamic_resources(),
        "stats_config": stats::config(options.all_stats),
        "stats_flush_interval": "10s",
        // Series appear at first use, which saves much memory where clusters are many.
        "deferred_stat_options": {"enable_deferred_creation_stats": true},
        "overload_manager": overload::manager(options.max_heap_mib),
        "layered_runtime": layered_runtime(),
        "typed_dns_resolver_config": dns_resolver(),
        "static_resources": {
            "clusters": [xds::cluster(options), admin_cluster(options)],
            "listeners": [listener::stats(options), listener::ready(options)],
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

/// Envoy rejects a whole route configuration for an expression whose compiled program is larger than 100 instructions,
/// which many harmless ones are. chancery limits expressions before it sends them, to less than this (Istio's value).
fn layered_runtime() -> Value {
    json!({"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 32768}}]})
}

/// A server that is silent is given up after seconds. Envoy's own limit is more than a minute, for which it accepts no
/// cluster.
fn dns_resolver() -> Value {
    let config = json!({"query_timeout_seconds": 1, "query_tries": 3});
    let config = extension("envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig", config);
    json!({"name": "envoy.network.dns_resolver.cares", "typed_config": config})
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
