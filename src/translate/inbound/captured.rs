//! The listener that takes every captured incoming connection: chains for the ports that are known, and three that take
//! whatever else arrives to where it wanted to go.
//!
//! Its listener filters never follow from the ports: a change of listener filters closes every connection of the
//! listener, a change of chains only those of the chain. Where a workload speaks first its proxy says so at start.

use super::{http, tcp_options};
use crate::model::access_log::AccessLog;
use crate::model::audience::Captured;
use crate::model::service::Protocol;
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use crate::translate::filter::{self, tcp_chain};
use crate::translate::unit::{InboundInputs, Inputs, TcpOptions, VirtualInboundInputs};
use crate::translate::{listener as outbound, names, settings};
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::FilterChain;

/// Ports on which servers are known to speak first (Istio's list of ports that are never sniffed, and its kin): mail,
/// MySQL, MongoDB.
const SPEAKS_FIRST: [u16; 6] = [25, 110, 143, 587, 3306, 27017];

/// Selects the listener and the cluster for what nobody told us of.
pub fn select(world: &Tracked, captured: &Captured, ports: &[InboundInputs]) -> [Inputs; 2] {
    let mesh = world.mesh();
    let taken: Vec<_> = ports.iter().filter(|inputs| inputs.binds.is_empty()).collect();
    let sources = taken.iter().flat_map(|inputs| inputs.provenance.refs().iter().cloned());
    let provenance = settings::provenance(world, sources);
    let mut known: Vec<_> =
        taken.iter().map(|inputs| (inputs.port, inputs.protocol, tcp_options(&inputs.pool))).collect();
    known.sort_unstable();
    let listener = VirtualInboundInputs {
        binds: captured.families.wildcards(),
        ports: known,
        server_first: captured.server_first.clone(),
        port: mesh.inbound_port,
        detection: mesh.detection_timeout,
        log: settings::log(world),
        provenance,
    };
    [Inputs::Passthrough(names::INBOUND_PASSTHROUGH), Inputs::VirtualInbound(listener)]
}

/// Builds the listener.
pub fn listener(inputs: &VirtualInboundInputs) -> Resource {
    let name = "virtualInbound";
    let log = inputs.log.as_ref();
    let mut listener = outbound::at(name, &inputs.binds, inputs.port, TrafficDirection::Inbound, log);
    filter::restore_destination(&mut listener);
    let silent = SPEAKS_FIRST.iter().chain(&inputs.server_first).copied().collect();
    filter::inspect(&mut listener, inputs.detection, &silent);
    let direct = filter::named(tcp_chain(names::BLACK_HOLE, TcpOptions::default(), log), "virtualInbound-blackhole");
    listener.filter_chains.push(filter::for_port(direct, inputs.port));
    for (port, protocol, options) in &inputs.ports {
        listener.filter_chains.extend(chains(*port, *protocol, *options, log));
    }
    listener.filter_chains.extend(catch_all(log));
    // The black hole is in the other layer, and always there.
    let known = inputs.ports.iter().map(|(port, _, _)| names::inbound(*port));
    let clusters = known.chain([names::INBOUND_PASSTHROUGH.to_owned()]);
    let mut refs: Vec<_> = clusters.map(|name| Ref { kind: Kind::Cluster, name: name.into() }).collect();
    refs.sort();
    Resource::new(Kind::Listener, name, &listener, refs, inputs.provenance.clone())
}

/// The chains of a port. Matching never steps back, so a port that tells HTTP from the rest needs a chain for each.
fn chains(port: u16, protocol: Protocol, options: TcpOptions, log: Option<&AccessLog>) -> Vec<FilterChain> {
    let (cluster, name) = (names::inbound(port), format!("0.0.0.0_{port}"));
    let bytes = tcp_chain(&cluster, options, log);
    let chains = match protocol {
        Protocol::Http | Protocol::Http2 => vec![http(&name, &name, &cluster, port, log)],
        Protocol::Tcp | Protocol::Udp => vec![filter::named(bytes, &name)],
        Protocol::Unnamed => {
            let http = http(&format!("{name}-http"), &name, &cluster, port, log);
            told_apart(http, &bytes, &name)
        }
    };
    chains.into_iter().map(|chain| filter::for_port(chain, port)).collect()
}

/// What arrives for a port that nobody told us of.
fn catch_all(log: Option<&AccessLog>) -> Vec<FilterChain> {
    let cluster = names::INBOUND_PASSTHROUGH;
    let http = http("virtualInbound-catchall-http", "0.0.0.0_0", cluster, 0, log);
    told_apart(http, &tcp_chain(cluster, TcpOptions::default(), log), "virtualInbound")
}

/// Three chains: plain HTTP, other plain text, TLS, which is not opened.
fn told_apart(http: FilterChain, other: &FilterChain, name: &str) -> Vec<FilterChain> {
    let bytes = |suffix: &str| filter::named(other.clone(), &format!("{name}{suffix}"));
    vec![
        filter::plain_http(http),
        filter::for_transport(bytes("-tcp"), "raw_buffer"),
        filter::for_transport(bytes("-tls"), "tls"),
    ]
}
