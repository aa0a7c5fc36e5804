//! How a cluster picks an endpoint, and what routes hash for those that pick by hash.

use super::proto::{duration, u32_value};
use crate::model::destination::{HashKey, HashTable, LoadBalancer, TrafficPolicy};
use envoy::cluster::{LbConfig, LbPolicy};
use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::route::v3::route_action::{HashPolicy, hash_policy};
use envoy_types::pb::google::protobuf::UInt64Value;

/// Sets the policy of a cluster, and what the policy needs.
pub fn apply(cluster: &mut envoy::Cluster, balancer: &LoadBalancer) {
    let (policy, config) = match balancer {
        LoadBalancer::LeastRequest => (LbPolicy::LeastRequest, None),
        LoadBalancer::RoundRobin => (LbPolicy::RoundRobin, None),
        LoadBalancer::Random => (LbPolicy::Random, None),
        LoadBalancer::Passthrough => (LbPolicy::ClusterProvided, None),
        LoadBalancer::ConsistentHash { table: HashTable::Ring(least), .. } => (LbPolicy::RingHash, Some(ring(*least))),
        LoadBalancer::ConsistentHash { table: HashTable::Maglev(size), .. } => (LbPolicy::Maglev, size.map(maglev)),
    };
    cluster.lb_policy = policy.into();
    cluster.lb_config = config;
}

fn ring(least: u32) -> LbConfig {
    let minimum_ring_size = Some(UInt64Value { value: least.into() });
    LbConfig::RingHashLbConfig(envoy::cluster::RingHashLbConfig { minimum_ring_size, ..Default::default() })
}

fn maglev(size: u32) -> LbConfig {
    let table_size = Some(UInt64Value { value: size.into() });
    LbConfig::MaglevLbConfig(envoy::cluster::MaglevLbConfig { table_size })
}

/// The original destination, but on another port.
pub fn on_port(port: u16) -> LbConfig {
    let upstream_port_override = Some(u32_value(port.into()));
    LbConfig::OriginalDstLbConfig(envoy::cluster::OriginalDstLbConfig { upstream_port_override, ..Default::default() })
}

/// Whether a cluster takes the address the client asked for, and so has no endpoints of its own.
pub fn is_passthrough(policy: &TrafficPolicy) -> bool {
    policy.load_balancer == Some(LoadBalancer::Passthrough)
}

/// What a route hashes for a cluster.
pub fn hash_policy(key: &HashKey) -> HashPolicy {
    use hash_policy::{ConnectionProperties, Cookie, Header, PolicySpecifier, QueryParameter};
    let specifier = match key {
        HashKey::Header(name) => {
            PolicySpecifier::Header(Header { header_name: name.to_string(), ..Default::default() })
        }
        HashKey::Cookie { name, path, ttl } => PolicySpecifier::Cookie(Cookie {
            name: name.to_string(),
            path: path.to_string(),
            ttl: ttl.map(duration),
            ..Default::default()
        }),
        HashKey::SourceIp => PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }),
        HashKey::QueryParameter(name) => PolicySpecifier::QueryParameter(QueryParameter { name: name.to_string() }),
    };
    HashPolicy { policy_specifier: Some(specifier), ..Default::default() }
}
