//! Inbound listeners and clusters. Without interception they come from `Sidecar.ingress` only, as in Istio; captured
//! connections all arrive at one listener, see [`captured`], but for ports that are to be opened really.

pub mod captured;
mod chains;
mod guard;
mod ports;

use super::cluster::{base, discovery, from_the_proxy, limit, single};
use super::filter::{self, Http, RouteSource, Silent, http_chain};
use super::unit::{
    InboundEndpoint, InboundInputs, InboundListenerInputs, InboundPort, Inputs, Selection, Takes, TcpOptions,
};
use super::{listener as outbound, names, proto, route, settings, tls};
use crate::model::access_log::AccessLog;
use crate::model::audience::Workload;
use crate::model::destination::ConnectionPool;
use crate::model::service::Protocol;
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use captured::SPEAKS_FIRST;
use chains::Chains;
use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::core::v3::{Address, TrafficDirection};
use envoy_types::pb::envoy::config::listener::v3::FilterChain;
use guard::Guard;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Selects what a workload listens on.
pub fn select(world: &Tracked, workload: &Workload) -> Selection {
    let (ports, mut problems) = ports::of(world, workload);
    let guard = Guard::of(world, workload);
    let mut inputs = Vec::new();
    let captured = workload.captured.is_some();
    let apart = guard.apart().filter(|_| captured);
    let numbers: BTreeSet<u16> = ports.iter().map(|port| port.port).chain(apart).collect();
    problems.extend(guard.shut(&numbers, captured));
    if let Some(capture) = &workload.captured {
        inputs.extend(captured::select(world, capture, &guard, &ports));
    }
    for port in ports.into_iter().filter(|port| guard.on(port.port) != Takes::Nothing) {
        inputs.extend(port.binds.iter().map(|bind| Inputs::InboundListener(opened(world, &guard, &port, *bind))));
        inputs.push(Inputs::InboundCluster(port));
    }
    Selection { inputs, problems, ..Selection::default() }
}

/// A port that is really bound, at one address, as outbound.
fn opened(world: &Tracked, guard: &Guard, port: &InboundInputs, bind: IpAddr) -> InboundListenerInputs {
    let mesh = world.mesh();
    let inspected = guard.is_certified() && !SPEAKS_FIRST.contains(&port.port);
    InboundListenerInputs {
        inbound: InboundInputs { binds: vec![bind], ..port.clone() },
        port: InboundPort {
            port: port.port,
            protocol: port.protocol,
            options: tcp_options(&port.pool),
            takes: guard.on(port.port),
            sniffed: inspected && port.protocol == Protocol::Unnamed,
            inspected,
            known: true,
        },
        trust: mesh.trust(),
        detection: mesh.detection_timeout,
        log: settings::log(world),
        provenance: settings::provenance(world, port.provenance.refs().iter().cloned().chain(guard.sources())),
    }
}

/// How bytes of a port are passed on.
fn tcp_options(pool: &ConnectionPool) -> TcpOptions {
    TcpOptions { idle: pool.tcp_idle_timeout, total: pool.tcp_max_connection_duration, by_source: false }
}

/// Builds the cluster that leads to the application.
pub fn cluster(inputs: &InboundInputs) -> Resource {
    let name = names::inbound(inputs.port);
    let mut cluster = match &inputs.endpoint {
        InboundEndpoint::Original => envoy::Cluster {
            cluster_discovery_type: discovery(envoy::cluster::DiscoveryType::OriginalDst),
            lb_policy: envoy::cluster::LbPolicy::ClusterProvided.into(),
            upstream_bind_config: Some(from_the_proxy()),
            ..base(&name)
        },
        InboundEndpoint::At(endpoint, say_so) => envoy::Cluster {
            upstream_bind_config: say_so.then(from_the_proxy),
            ..fixed(&name, proto::socket(*endpoint))
        },
        InboundEndpoint::Socket(path) => fixed(&name, proto::pipe(path)),
    };
    limit(&mut cluster, &inputs.pool);
    Resource::new(Kind::Cluster, &name, &cluster, Vec::new(), inputs.provenance.clone())
}

fn fixed(name: &str, endpoint: Address) -> envoy::Cluster {
    envoy::Cluster {
        cluster_discovery_type: discovery(envoy::cluster::DiscoveryType::Static),
        load_assignment: Some(single(name, endpoint)),
        ..base(name)
    }
}

/// Builds a listener that is really bound.
pub fn listener(inputs: &InboundListenerInputs) -> Resource {
    let InboundListenerInputs { inbound, port, trust, log, provenance, .. } = inputs;
    let (cluster, log) = (names::inbound(inbound.port), log.as_ref());
    let name = names::listener(inbound.binds[0], inbound.port);
    let mut listener = outbound::at(&name, &inbound.binds, inbound.port, TrafficDirection::Inbound, log);
    if port.inspected {
        // Whatever is taken: listener filters that followed from that would close connections when it changes.
        match port.sniffed {
            true => filter::inspect(&mut listener, inputs.detection, &Silent::default()),
            false => filter::inspect_tls(&mut listener, inputs.detection, &BTreeSet::new()),
        }
    }
    let chains = Chains { port, cluster: &cluster, names: [&name, &cluster], stats: &name, trust, log };
    listener.filter_chains = chains.all();
    let mutual = listener.filter_chains.iter().any(|chain| chain.transport_socket.is_some());
    let refs = [Ref { kind: Kind::Cluster, name: cluster.as_str().into() }].into_iter();
    let refs = refs.chain(mutual.then(tls::refs).into_iter().flatten()).collect();
    Resource::new(Kind::Listener, &name, &listener, refs, provenance.clone())
}

/// A chain that passes every HTTP request on to a cluster.
fn http(chain: &str, stats: &str, cluster: &str, port: u16, log: Option<&AccessLog>) -> FilterChain {
    let routes = RouteSource::Inline(Box::new(route::inbound(cluster, port)));
    http_chain(Http { name: chain.to_owned(), stats: format!("inbound_{stats}"), routes, speaks_up: false, log })
}
