//! What is there for every proxy, whatever the World: the cluster without endpoints and, where traffic is captured, the
//! listener that captures it and the cluster that leads on to the original destination.

use super::cluster::{self, base, discovery};
use super::filter::{self, tcp_chain};
use super::listener;
use super::proto::bool_value;
use super::unit::{Inputs, OutboundInputs, Selection, TcpOptions};
use super::{names, settings};
use crate::model::audience::Interception;
use crate::model::destination::ConnectionPool;
use crate::model::mesh::{Mesh, OutboundMode, STATIC_PORTS};
use crate::model::provenance::Provenance;
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use std::time::Duration;

/// How long a connection to an original destination may be idle, as in Istio.
const PASSTHROUGH_IDLE: Duration = Duration::from_secs(300);

/// Whether a port is one of the proxy's own: no listener of a service may have those of the bootstrap, nor those that capture.
pub fn is_own(mesh: &Mesh, port: u16) -> bool {
    is_static(port) || port == mesh.outbound_port || port == mesh.inbound_port
}

/// Whether a port is one that every proxy's bootstrap opens.
pub fn is_static(port: u16) -> bool {
    STATIC_PORTS.contains(&port)
}

/// Selects what is always there.
pub fn select(world: &Tracked, view: &View) -> Selection {
    let mut inputs = vec![Inputs::BlackHole];
    if view.interception() == Interception::Redirect {
        inputs.push(Inputs::Passthrough(names::PASSTHROUGH));
        inputs.push(Inputs::VirtualOutbound(OutboundInputs {
            binds: view.families().wildcards(),
            port: world.mesh().outbound_port,
            unknown: view.unknown(),
            log: settings::log(world),
            provenance: settings::provenance(world, []),
        }));
    }
    Selection::of_inputs(inputs)
}

/// The cluster for connections that no service is known for.
pub fn unknown_cluster(unknown: OutboundMode) -> &'static str {
    match unknown {
        OutboundMode::AllowAny => names::PASSTHROUGH,
        OutboundMode::RegistryOnly => names::BLACK_HOLE,
    }
}

/// The cluster that leads to the original destination of a connection.
pub fn passthrough(name: &str) -> Resource {
    let inbound = name == names::INBOUND_PASSTHROUGH;
    let mut cluster = envoy::Cluster {
        cluster_discovery_type: discovery(envoy::cluster::DiscoveryType::OriginalDst),
        lb_policy: envoy::cluster::LbPolicy::ClusterProvided.into(),
        upstream_bind_config: inbound.then(cluster::from_the_proxy),
        ..base(name)
    };
    cluster::limit(&mut cluster, &ConnectionPool { http_idle_timeout: Some(PASSTHROUGH_IDLE), ..Default::default() });
    Resource::new(Kind::Cluster, name, &cluster, Vec::new(), Provenance::default())
}

/// The listener that captures: it hands each connection to the listener of its original destination, keeps what no other
/// takes, and refuses who calls it directly, because that would lead back to itself.
pub fn virtual_outbound(inputs: &OutboundInputs) -> Resource {
    let name = "virtualOutbound";
    let log = inputs.log.as_ref();
    let mut listener = listener::at(name, &inputs.binds, inputs.port, TrafficDirection::Outbound, log);
    listener.use_original_dst = Some(bool_value(true));
    let rest = unknown_cluster(inputs.unknown);
    let direct = filter::named(tcp_chain(names::BLACK_HOLE, TcpOptions::default(), log), "virtualOutbound-blackhole");
    listener.filter_chains = vec![
        filter::for_port(direct, inputs.port),
        filter::named(tcp_chain(rest, TcpOptions::default(), log), "virtualOutbound-catchall-tcp"),
    ];
    let refs = [names::BLACK_HOLE, rest].map(|name| Ref { kind: Kind::Cluster, name: name.into() });
    let mut refs = refs.to_vec();
    refs.dedup();
    Resource::new(Kind::Listener, name, &listener, refs, inputs.provenance.clone())
}
