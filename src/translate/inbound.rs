//! Inbound listeners and clusters: without interception they come from `Sidecar.ingress` only, as in Istio.

use super::cluster::{base, circuit_breakers, discovery, downstream_protocol, single};
use super::filter::{Http, RouteSource, http_chain, tcp_chain};
use super::unit::{InboundInputs, Inputs, Lifetime, Selection};
use super::{listener as outbound, names, route};
use crate::model::audience::Workload;
use crate::model::destination::ConnectionPool;
use crate::model::problem::{Problem, Severity};
use crate::model::provenance::{ObjectKey, Provenance};
use crate::model::service::Protocol;
use crate::model::sidecar::Ingress;
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use envoy_types::pb::envoy::config::cluster::v3 as envoy;
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;

/// Selects what a workload listens on.
pub fn select(world: &Tracked, workload: &Workload) -> Selection {
    let name = workload.sidecar.as_ref();
    let Some(sidecar) = name.and_then(|name| world.sidecar(&workload.namespace, name)) else {
        return Selection::default();
    };
    let ingress = sidecar.ingress.iter().enumerate();
    let (clashing, good): (Vec<_>, Vec<_>) = ingress.partition(|(_, ingress)| ingress.takes_its_own_endpoint());
    let provenance = Provenance::from_iter([sidecar.reference()]);
    let proxied = good.into_iter().filter(|(_, ingress)| ingress.protocol != Protocol::Udp);
    let inputs = proxied.map(|(_, ingress)| InboundInputs {
        port: ingress.port,
        protocol: ingress.protocol,
        bind: ingress.address(),
        endpoint: ingress.endpoint,
        provenance: provenance.clone(),
    });
    let inputs = inputs.flat_map(|inputs| [Inputs::InboundCluster(inputs.clone()), Inputs::InboundListener(inputs)]);
    let problems = clashing.iter().map(|(at, ingress)| clash(sidecar.key(), *at, ingress)).collect();
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

/// Builds the cluster that leads to the application.
pub fn cluster(inputs: &InboundInputs) -> Resource {
    let name = names::inbound(inputs.port);
    let cluster = envoy::Cluster {
        cluster_discovery_type: discovery(envoy::cluster::DiscoveryType::Static),
        load_assignment: Some(single(&name, inputs.endpoint)),
        circuit_breakers: Some(circuit_breakers(&ConnectionPool::default())),
        typed_extension_protocol_options: [downstream_protocol()].into(),
        ..base(&name)
    };
    Resource::new(Kind::Cluster, &name, &cluster, Vec::new(), inputs.provenance.clone())
}

/// Builds the listener.
pub fn listener(inputs: &InboundInputs) -> Resource {
    let cluster = names::inbound(inputs.port);
    let name = names::listener(inputs.bind, inputs.port);
    let chain = if outbound::is_http(inputs.protocol) {
        let routes = RouteSource::Inline(Box::new(route::inbound(&cluster, inputs.port)));
        http_chain(Http { name: name.clone(), stats: format!("inbound_{name}"), routes })
    } else {
        tcp_chain(&cluster, Lifetime::default())
    };
    let listener = outbound::bound(&name, (inputs.bind, inputs.port), TrafficDirection::Inbound, chain);
    let refs = vec![Ref { kind: Kind::Cluster, name: cluster.into() }];
    Resource::new(Kind::Listener, &name, &listener, refs, inputs.provenance.clone())
}
