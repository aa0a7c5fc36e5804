//! What Envoy does before it runs out of connections or memory: a limit comes in, an `OverloadManager` in proto JSON
//! leaves.

use super::extension;
use serde_json::{Value, json};

/// The overload manager. The heap is measured against a number, not against the container's limit: the monitor that reads
/// the limit (`cgroup_memory`) stops Envoy at start where no cgroup files are visible.
pub fn manager(max_heap_mib: Option<u64>) -> Value {
    let connections = extension(
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        json!({"max_active_downstream_connections": 20000}),
    );
    let mut monitors =
        vec![json!({"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": connections})];
    let Some(mib) = max_heap_mib else { return json!({"resource_monitors": monitors}) };
    let heap = extension(
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        // Proto JSON writes 64 bit numbers as text.
        json!({"max_heap_size_bytes": (mib << 20).to_string()}),
    );
    monitors.push(json!({"name": "envoy.resource_monitors.fixed_heap", "typed_config": heap}));
    json!({
        "refresh_interval": "0.25s",
        "resource_monitors": monitors,
        "actions": [
            action("envoy.overload_actions.shrink_heap", 0.90),
            action("envoy.overload_actions.stop_accepting_requests", 0.95),
        ],
    })
}

/// An action from this share of the heap limit on.
fn action(name: &str, share: f64) -> Value {
    json!({"name": name, "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": share}}]})
}
