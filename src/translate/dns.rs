//! Clusters of Services that stand for a name outside: each proxy looks it up itself, and every address that DNS gives is
//! an endpoint, as in Istio. The answer says how long it holds.
//!
//! Until the first answer the cluster warms, so that a changed one replaces its predecessor without a gap.

use super::proto::duration;
use super::unit::Lookup;
use crate::model::audience::Families;
use crate::model::destination::Subset;
use crate::model::mesh::Mesh;
use crate::model::service::Service;
use crate::model::view::View;
use crate::snapshot::resource::any;
use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::dns_cluster::RefreshRate;
use std::time::Duration;

/// When a name is first looked up again that no server answered for.
const SOON: Duration = Duration::from_secs(1);

/// How the endpoints of a cluster are looked up; none unless the service stands for a name outside.
pub fn lookup(service: &Service, view: &View, mesh: &Mesh, subset: Option<&Subset>) -> Option<Lookup> {
    Some(Lookup {
        name: service.outside()?.clone(),
        families: view.families(),
        refresh: mesh.dns_refresh,
        nobody: subset.is_some_and(|subset| !subset.labels.is_empty()),
    })
}

/// Has a cluster look up its endpoints.
pub fn apply(cluster: &mut envoy::Cluster, lookup: &Lookup, port: u16) {
    let config = DnsCluster {
        dns_refresh_rate: Some(duration(lookup.refresh)),
        // Where no server answers, it is tried again soon, and less and less often.
        dns_failure_refresh_rate: Some(RefreshRate {
            base_interval: Some(duration(SOON)),
            max_interval: Some(duration(lookup.refresh.max(SOON))),
        }),
        respect_dns_ttl: true,
        dns_lookup_family: family(lookup.families).into(),
        ..Default::default()
    };
    cluster.cluster_discovery_type =
        Some(envoy::cluster::ClusterDiscoveryType::ClusterType(envoy::cluster::CustomClusterType {
            name: "envoy.clusters.dns".to_owned(),
            typed_config: Some(any(&config)),
        }));
    let endpoints = if lookup.nobody { Vec::new() } else { vec![named(lookup.name.as_str(), port)] };
    cluster.load_assignment =
        Some(endpoint::ClusterLoadAssignment { cluster_name: cluster.name.clone(), endpoints, ..Default::default() });
}

/// A Pod's IPv6 address says nothing about the way out of the cluster, so IPv4 comes first where there is a choice.
fn family(families: Families) -> DnsLookupFamily {
    match families {
        Families { v4: true, v6: true } => DnsLookupFamily::V4Preferred,
        Families { v6: true, .. } => DnsLookupFamily::V6Only,
        _ => DnsLookupFamily::V4Only,
    }
}

fn named(name: &str, port: u16) -> endpoint::LocalityLbEndpoints {
    let address = core::SocketAddress {
        // The dot keeps it from being looked up in the Pod's own domains first.
        address: format!("{name}."),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    let address = core::Address { address: Some(core::address::Address::SocketAddress(address)) };
    let host = endpoint::Endpoint { address: Some(address), ..Default::default() };
    let lb_endpoint = endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(host)),
        ..Default::default()
    };
    endpoint::LocalityLbEndpoints { lb_endpoints: vec![lb_endpoint], ..Default::default() }
}
