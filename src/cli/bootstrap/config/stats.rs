//! Which statistics Envoy keeps and with which labels: a choice comes in, a `StatsConfig` in proto JSON leaves.
//!
//! Names of ours end their variable part with ";" (`cluster.outbound|80||a.b.svc;.upstream_rq_total`), so that names with
//! dots stay whole. Cost counts here: each pattern is tried on each statistic of every cluster when it is created.

use serde_json::{Value, json};

/// Statistics that are kept whole, by what their names begin with.
const PREFIXES: [&str; 6] =
    ["cluster_manager.", "listener_manager.", "server.", "control_plane.", "overload.envoy.", "cluster.xds;."];

/// Statistics of every cluster: traffic, failures, limits and what is left of them, endpoints, ejections.
const CLUSTER: &str = concat!(
    r"cluster\.[^;]+;\.(",
    r"upstream_rq_(\d\d\d|\dxx|total|active|time|timeout|rx_reset|tx_reset|retry|retry_success|retry_overflow",
    r"|pending_active|pending_overflow|pending_failure_eject)",
    r"|upstream_cx_(total|active|overflow|connect_fail|connect_timeout|destroy_remote_with_active_rq|none_healthy",
    r"|rx_bytes_total|tx_bytes_total)",
    r"|membership_(total|healthy|degraded)|lb_healthy_panic|warming_state|ssl\.(handshake|connection_error)",
    r"|circuit_breakers\.default\..*|outlier_detection\.ejections_(active|enforced_total|overflow))",
);

/// Statistics of what clients did: by HTTP connection manager, by TCP proxy, by listener.
const DOWNSTREAM: &str = concat!(
    r"(http\.[^;]+;\.(downstream_rq_(\dxx|total|active|time|overload_close)|downstream_cx_(total|active)",
    r"|downstream_cx_[rt]x_bytes_total|no_route|no_cluster|rq_direct_response)",
    r"|tcp\.[^;]+;\.(downstream_cx_(total|no_route|[rt]x_bytes_total))",
    r"|listener\.[^;]+;\.(downstream_cx_(total|active|overflow|overload_reject)|no_filter_chain_match|ssl\..*))",
);

/// The statistics' configuration.
pub fn config(all: bool) -> Value {
    let mut config = json!({"use_all_default_tags": false, "stats_tags": tags()});
    if !all {
        config["stats_matcher"] = json!({"inclusion_list": {"patterns": patterns()}});
    }
    config
}

fn patterns() -> Vec<Value> {
    let whole = PREFIXES.iter().map(|prefix| json!({"prefix": prefix}));
    whole.chain([CLUSTER, DOWNSTREAM].map(|regex| json!({"safe_regex": {"regex": regex}}))).collect()
}

/// A leading `^token\.` keeps a tag from being tried on every statistic; a tag without a pattern is Envoy's built-in one,
/// which is far cheaper. The first group is cut out of the name, the second is the label's value.
fn tags() -> Value {
    let tag = |name: &str, regex: &str| json!({"tag_name": name, "regex": regex});
    json!([
        tag("cluster_name", r"^cluster\.(([^;]+);\.)"),
        tag("direction", r"^cluster\.((outbound|inbound)\|[^;]*;\.)"),
        tag("service_port", r"^cluster\.((?:outbound|inbound)\|(\d+)\|[^;]*;\.)"),
        tag("subset", r"^cluster\.((?:outbound|inbound)\|\d+\|([^|;]+)\|[^;]*;\.)"),
        tag("service_host", r"^cluster\.((?:outbound|inbound)\|\d+\|[^|;]*\|([^|;]+);\.)"),
        tag("http_conn_manager_prefix", r"^http\.(([^;]+);\.)"),
        tag("http_conn_manager_prefix", r"^listener\.[^;]+;\.http\.(([^;]+);\.)"),
        tag("tcp_prefix", r"^tcp\.(([^;]+);\.)"),
        tag("listener_address", r"^listener\.(([^;]+);\.)"),
        {"tag_name": "envoy.response_code"},
        {"tag_name": "envoy.response_code_class"},
    ])
}
