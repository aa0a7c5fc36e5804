//! Filter chains that pass bytes on.

use super::{log, network};
use crate::model::access_log::AccessLog;
use crate::snapshot::resource::any;
use crate::translate::names;
use crate::translate::proto::duration;
use crate::translate::unit::TcpOptions;
use envoy_types::pb::envoy::config::listener::v3 as envoy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3 as tcp;
use envoy_types::pb::envoy::r#type::v3::HashPolicy;
use envoy_types::pb::envoy::r#type::v3::hash_policy::{PolicySpecifier, SourceIp};

/// A chain that connects to one cluster; its name and stat prefix are those of the cluster.
pub fn chain(cluster: &str, options: TcpOptions, log: Option<&AccessLog>) -> envoy::FilterChain {
    let proxy = tcp::TcpProxy {
        stat_prefix: names::stat(cluster),
        idle_timeout: options.idle.map(duration),
        max_downstream_connection_duration: options.total.map(duration),
        hash_policy: if options.by_source { vec![by_source()] } else { Vec::new() },
        access_log: log::loggers(log),
        cluster_specifier: Some(tcp::tcp_proxy::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..Default::default()
    };
    envoy::FilterChain {
        name: cluster.to_owned(),
        filters: vec![network("envoy.filters.network.tcp_proxy", any(&proxy))],
        ..Default::default()
    }
}

fn by_source() -> HashPolicy {
    HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})) }
}
