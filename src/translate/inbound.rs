//! Inbound listeners and clusters. Without interception they come from `Sidecar.ingress` only, as in Istio; captured
//! connections all arrive at one listener, see [`captured`].

pub mod captured;

use super::cluster::{base, circuit_breakers, discovery, downstream_protocol, from_the_proxy, single};
use super::filter::{Http, RouteSource, http_chain, tcp_chain};
use super::unit::{InboundInputs, InboundListenerInputs, Inputs, Selection, TcpOptions};
use super::{listener as outbound, names, route, settings};
use crate::model::access_log::AccessLog;
use crate::model::audience::Workload;
use crate::model::destination::ConnectionPool;
use crate::model::object::Stored;
use crate::model::problem::{Problem, Severity};
use crate::model::provenance::{ObjectKey, Provenance};
use crate::model::service::Protocol;
use crate::model::sidecar::{Ingress, Sidecar};
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::FilterChain;

/// Selects what a workload listens on.
pub fn select(world: &Tracked, workload: &Workload) -> Selection {
    let name = workload.sidecar.as_ref();
    let sidecar = name.and_then(|name| world.sidecar(&workload.namespace, name));
    if let Some(capture) = &workload.captured {
        return captured::select(world, capture, sidecar.as_ref());
    }
    sidecar.map(|sidecar| bound(world, &sidecar)).unwrap_or_default()
}

/// Without interception: what the Sidecar says, but for listeners that would take their application's address.
fn bound(world: &Tracked, sidecar: &Stored<Sidecar>) -> Selection {
    let clashing = sidecar.ingress.iter().enumerate().filter(|(_, ingress)| ingress.takes_its_own_endpoint());
    let problems = clashing.map(|(at, ingress)| clash(sidecar.key(), at, ingress)).collect();
    let good = sidecar.ingress.iter().filter(|ingress| !ingress.takes_its_own_endpoint());
    let (log, provenance) = (settings::log(world), settings::provenance(world, [sidecar.reference()]));
    let inputs = said(sidecar, good).flat_map(|inbound| {
        let (log, provenance) = (log.clone(), provenance.clone());
        let listener = InboundListenerInputs { inbound: inbound.clone(), log, provenance };
        [Inputs::InboundCluster(inbound), Inputs::InboundListener(listener)]
    });
    Selection { inputs: inputs.collect(), problems, ..Selection::default() }
}

/// The listener would take the application's address: whoever comes first keeps the other out, or it calls itself.
fn clash(object: &ObjectKey, at: usize, ingress: &Ingress) -> Problem {
    let text = format!(
        "without interception the listener on {}:{} would take the address {} of the application; give one of them \
         another port or address",
        ingress.address(),
        ingress.port,
        ingress.endpoint,
    );
    Problem { object: object.clone(), field: format!("spec.ingress[{at}]"), severity: Severity::Error, text }
}

/// What a Sidecar says is listened on.
fn said<'s>(
    sidecar: &Stored<Sidecar>,
    ingress: impl Iterator<Item = &'s Ingress>,
) -> impl Iterator<Item = InboundInputs> {
    let provenance = Provenance::from_iter([sidecar.reference()]);
    let proxied = ingress.filter(|ingress| ingress.protocol != Protocol::Udp);
    proxied.map(move |ingress| InboundInputs {
        port: ingress.port,
        protocol: ingress.protocol,
        bind: ingress.address(),
        endpoint: Some(ingress.endpoint),
        provenance: provenance.clone(),
    })
}

/// Builds the cluster that leads to the application.
pub fn cluster(inputs: &InboundInputs) -> Resource {
    let name = names::inbound(inputs.port);
    let shared = envoy::Cluster {
        circuit_breakers: Some(circuit_breakers(&ConnectionPool::default())),
        typed_extension_protocol_options: [downstream_protocol()].into(),
        ..base(&name)
    };
    let cluster = match inputs.endpoint {
        Some(endpoint) => envoy::Cluster {
            cluster_discovery_type: discovery(envoy::cluster::DiscoveryType::Static),
            load_assignment: Some(single(&name, endpoint)),
            ..shared
        },
        None => envoy::Cluster {
            cluster_discovery_type: discovery(envoy::cluster::DiscoveryType::OriginalDst),
            lb_policy: envoy::cluster::LbPolicy::ClusterProvided.into(),
            upstream_bind_config: Some(from_the_proxy()),
            ..shared
        },
    };
    Resource::new(Kind::Cluster, &name, &cluster, Vec::new(), inputs.provenance.clone())
}

/// Builds a listener that is really bound.
pub fn listener(inputs: &InboundListenerInputs) -> Resource {
    let InboundListenerInputs { inbound, log, provenance } = inputs;
    let (cluster, log) = (names::inbound(inbound.port), log.as_ref());
    let name = names::listener(inbound.bind, inbound.port);
    let chain = if outbound::is_http(inbound.protocol) {
        http(&name, &name, &cluster, inbound.port, log)
    } else {
        tcp_chain(&cluster, TcpOptions::default(), log)
    };
    let mut listener = outbound::at(&name, &[inbound.bind], inbound.port, TrafficDirection::Inbound, log);
    listener.filter_chains = vec![chain];
    let refs = vec![Ref { kind: Kind::Cluster, name: cluster.into() }];
    Resource::new(Kind::Listener, &name, &listener, refs, provenance.clone())
}

/// A chain that passes every HTTP request on to a cluster.
fn http(chain: &str, stats: &str, cluster: &str, port: u16, log: Option<&AccessLog>) -> FilterChain {
    let routes = RouteSource::Inline(Box::new(route::inbound(cluster, port)));
    http_chain(Http { name: chain.to_owned(), stats: format!("inbound_{stats}"), routes, log })
}
