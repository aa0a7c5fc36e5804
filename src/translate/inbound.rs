//! Inbound listeners and clusters. Without interception they come from `Sidecar.ingress` only, as in Istio; captured
//! connections all arrive at one listener, see [`captured`], but for ports that are to be opened really.

pub mod captured;
mod ports;

use super::cluster::{base, discovery, from_the_proxy, limit, single};
use super::filter::{Http, RouteSource, http_chain, tcp_chain};
use super::unit::{InboundEndpoint, InboundInputs, InboundListenerInputs, Inputs, Selection, TcpOptions};
use super::{listener as outbound, names, proto, route, settings};
use crate::model::access_log::AccessLog;
use crate::model::audience::Workload;
use crate::model::destination::ConnectionPool;
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::core::v3::{Address, TrafficDirection};
use envoy_types::pb::envoy::config::listener::v3::FilterChain;

/// Selects what a workload listens on.
pub fn select(world: &Tracked, workload: &Workload) -> Selection {
    let (ports, problems) = ports::of(world, workload);
    let mut inputs = Vec::new();
    if let Some(capture) = &workload.captured {
        inputs.extend(captured::select(world, capture, &ports));
    }
    for port in ports {
        for bind in &port.binds {
            let provenance = settings::provenance(world, port.provenance.refs().iter().cloned());
            // One address each, as outbound.
            let (inbound, log) = (InboundInputs { binds: vec![*bind], ..port.clone() }, settings::log(world));
            inputs.push(Inputs::InboundListener(InboundListenerInputs { inbound, log, provenance }));
        }
        inputs.push(Inputs::InboundCluster(port));
    }
    Selection { inputs, problems, ..Selection::default() }
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
    let InboundListenerInputs { inbound, log, provenance } = inputs;
    let (cluster, log) = (names::inbound(inbound.port), log.as_ref());
    let name = names::listener(inbound.binds[0], inbound.port);
    let chain = if outbound::is_http(inbound.protocol) {
        http(&name, &name, &cluster, inbound.port, log)
    } else {
        tcp_chain(&cluster, tcp_options(&inbound.pool), log)
    };
    let mut listener = outbound::at(&name, &inbound.binds, inbound.port, TrafficDirection::Inbound, log);
    listener.filter_chains = vec![chain];
    let refs = vec![Ref { kind: Kind::Cluster, name: cluster.into() }];
    Resource::new(Kind::Listener, &name, &listener, refs, provenance.clone())
}

/// A chain that passes every HTTP request on to a cluster.
fn http(chain: &str, stats: &str, cluster: &str, port: u16, log: Option<&AccessLog>) -> FilterChain {
    let routes = RouteSource::Inline(Box::new(route::inbound(cluster, port)));
    http_chain(Http { name: chain.to_owned(), stats: format!("inbound_{stats}"), routes, log })
}
