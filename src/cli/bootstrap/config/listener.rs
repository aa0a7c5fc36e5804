//! The two listeners a proxy has before any configuration arrives: metrics, and whether it is ready.
//!
//! Each shows one path of the admin interface, matched exactly, and nothing else of it: the admin interface can end the
//! process. What comes in is the options, a listener in proto JSON leaves.

use super::{Options, address, extension};
use serde_json::{Value, json};

/// Metrics at `/stats/prometheus`.
pub fn stats(options: &Options) -> Value {
    let route = json!({"match": {"path": "/stats/prometheus"}, "route": {"cluster": "admin"}});
    listener("prometheus", address(&options.bind, options.stats_port), route)
}

/// 200 at `/healthz/ready` once clusters and listeners have arrived and warmed, 503 while Envoy drains. Before, the port is
/// not open, which a probe takes for the same.
pub fn ready(options: &Options) -> Value {
    let target = json!({"cluster": "admin", "prefix_rewrite": "/ready"});
    let route = json!({"match": {"path": "/healthz/ready"}, "route": target});
    listener("ready", address(&options.bind, options.ready_port), route)
}

fn listener(name: &str, address: Value, route: Value) -> Value {
    let router = extension("envoy.extensions.filters.http.router.v3.Router", json!({}));
    let manager = extension(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": format!("{name};"),
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
            "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        }),
    );
    let filter = json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": manager});
    json!({
        "name": name,
        "address": address,
        "stat_prefix": format!("{name};"),
        // A proxy that is full or overloaded must still be seen.
        "ignore_global_conn_limit": true,
        "bypass_overload_manager": true,
        "filter_chains": [{"filters": [filter]}],
    })
}
