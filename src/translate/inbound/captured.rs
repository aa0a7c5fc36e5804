//! The listener that takes every captured incoming connection: chains for the ports that are known, and some that take
//! whatever else arrives to where it wanted to go.
//!
//! Its listener filters never follow from the ports: a change of listener filters closes every connection of the
//! listener, a change of chains only those of the chain. Where a workload speaks first its proxy says so at start.

use super::chains::Chains;
use super::guard::Guard;
use super::tcp_options;
use crate::model::audience::Captured;
use crate::model::service::Protocol;
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use crate::translate::filter::{self, Silent, tcp_chain};
use crate::translate::unit::{InboundInputs, InboundPort, Inputs, Takes, TcpOptions, VirtualInboundInputs};
use crate::translate::{fixed, listener as outbound, names, settings, tls};
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::FilterChain;
use std::collections::BTreeSet;

/// Ports on which servers are known to speak first (Istio's list of ports that are never sniffed, and its kin): mail,
/// MySQL, MongoDB.
pub const SPEAKS_FIRST: [u16; 6] = [25, 110, 143, 587, 3306, 27017];

/// Selects the listener and the cluster for what nobody told us of.
pub fn select(world: &Tracked, captured: &Captured, guard: &Guard, ports: &[InboundInputs]) -> [Inputs; 2] {
    let mesh = world.mesh();
    let taken: Vec<_> = ports.iter().filter(|inputs| inputs.binds.is_empty()).collect();
    let sources = taken.iter().flat_map(|inputs| inputs.provenance.refs().iter().cloned()).chain(guard.sources());
    let provenance = settings::provenance(world, sources);
    let known = taken.iter().map(|inputs| port(inputs.port, inputs.protocol, tcp_options(&inputs.pool), guard));
    // Where a policy names a port that no Service leads to, it means it all the same.
    let apart = guard.apart().filter(|number| {
        let open = !taken.iter().any(|inputs| inputs.port == *number) && !fixed::is_own(&mesh, *number);
        open && guard.on(*number) != guard.rest()
    });
    let unknown =
        |number| InboundPort { known: false, ..port(number, Protocol::Unnamed, TcpOptions::default(), guard) };
    let mut all: Vec<_> = known.chain(apart.map(unknown)).collect();
    all.sort_unstable();
    let listener = VirtualInboundInputs {
        binds: captured.families.wildcards(),
        ports: all,
        rest: guard.rest(),
        trust: mesh.trust(),
        server_first: captured.server_first.clone(),
        certified: guard.is_certified(),
        port: mesh.inbound_port,
        detection: mesh.detection_timeout,
        log: settings::log(world),
        provenance,
    };
    [Inputs::Passthrough(names::INBOUND_PASSTHROUGH), Inputs::VirtualInbound(listener)]
}

fn port(port: u16, protocol: Protocol, options: TcpOptions, guard: &Guard) -> InboundPort {
    InboundPort {
        port,
        protocol,
        options,
        takes: guard.on(port),
        sniffed: protocol == Protocol::Unnamed,
        inspected: !SPEAKS_FIRST.contains(&port),
        known: true,
    }
}

/// Builds the listener.
pub fn listener(inputs: &VirtualInboundInputs) -> Resource {
    let name = "virtualInbound";
    let log = inputs.log.as_ref();
    let mut listener = outbound::at(name, &inputs.binds, inputs.port, TrafficDirection::Inbound, log);
    filter::restore_destination(&mut listener);
    filter::inspect(&mut listener, inputs.detection, &silent(inputs));
    let direct = filter::named(tcp_chain(names::BLACK_HOLE, TcpOptions::default(), log), "virtualInbound-blackhole");
    listener.filter_chains.push(filter::for_port(direct, inputs.port));
    for port in &inputs.ports {
        let chains = chains(inputs, port).into_iter().map(|chain| filter::for_port(chain, port.port));
        listener.filter_chains.extend(chains);
    }
    listener.filter_chains.extend(catch_all(inputs));
    // The black hole is in the other layer, and always there.
    let known = inputs.ports.iter().filter(|port| port.known && port.takes != Takes::Nothing);
    let clusters = known.map(|port| names::inbound(port.port)).chain([names::INBOUND_PASSTHROUGH.to_owned()]);
    let clusters = clusters.map(|name| Ref { kind: Kind::Cluster, name: name.into() });
    let mutual = listener.filter_chains.iter().any(|chain| chain.transport_socket.is_some());
    let mut refs: Vec<_> = clusters.chain(mutual.then(tls::refs).into_iter().flatten()).collect();
    refs.sort();
    Resource::new(Kind::Listener, name, &listener, refs, inputs.provenance.clone())
}

/// Who holds a certificate has to see TLS wherever clients may speak it without knowing better: of ports that the proxy
/// names they don't know.
fn silent(inputs: &VirtualInboundInputs) -> Silent {
    let http: BTreeSet<u16> = SPEAKS_FIRST.iter().chain(&inputs.server_first).copied().collect();
    let tls = if inputs.certified { SPEAKS_FIRST.into() } else { http.clone() };
    Silent { tls, http }
}

fn chains(inputs: &VirtualInboundInputs, port: &InboundPort) -> Vec<FilterChain> {
    let name = format!("0.0.0.0_{}", port.port);
    let cluster = if port.known { &*names::inbound(port.port) } else { names::INBOUND_PASSTHROUGH };
    let (names, stats) = ([&*name; 2], &*name);
    Chains { port, cluster, names, stats, trust: &inputs.trust, log: inputs.log.as_ref() }.all()
}

/// What arrives for a port that nobody told us of.
fn catch_all(inputs: &VirtualInboundInputs) -> Vec<FilterChain> {
    let port = InboundPort {
        port: 0,
        protocol: Protocol::Unnamed,
        options: TcpOptions::default(),
        takes: inputs.rest,
        sniffed: true,
        inspected: true,
        known: false,
    };
    let names = ["virtualInbound-catchall", "virtualInbound"];
    let (cluster, stats) = (names::INBOUND_PASSTHROUGH, "0.0.0.0_0");
    Chains { port: &port, cluster, names, stats, trust: &inputs.trust, log: inputs.log.as_ref() }.all()
}
