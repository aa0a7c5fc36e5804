//! The listener that takes every captured incoming connection: chains for the ports that are known, and three that take
//! whatever else arrives to where it wanted to go.
//!
//! Its listener filters never follow from the ports: a change of listener filters closes every connection of the
//! listener, a change of chains only those of the chain. Where a workload speaks first its proxy says so at start.

use super::{http, said};
use crate::model::access_log::AccessLog;
use crate::model::audience::{Captured, Served};
use crate::model::object::Stored;
use crate::model::provenance::Provenance;
use crate::model::service::Protocol;
use crate::model::sidecar::Sidecar;
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use crate::translate::filter::{self, tcp_chain};
use crate::translate::unit::{InboundInputs, Inputs, Selection, TcpOptions, VirtualInboundInputs};
use crate::translate::{listener as outbound, names, settings};
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::FilterChain;
use std::net::{IpAddr, Ipv4Addr};

/// Ports on which servers are known to speak first (Istio's list of ports that are never sniffed, and its kin): mail,
/// MySQL, MongoDB.
const SPEAKS_FIRST: [u16; 6] = [25, 110, 143, 587, 3306, 27017];

/// Selects the listener and its clusters: for the ports of the Sidecar's ingress, else for those Services lead to.
pub fn select(world: &Tracked, captured: &Captured, sidecar: Option<&Stored<Sidecar>>) -> Selection {
    let said = sidecar.into_iter().flat_map(|sidecar| said(sidecar, sidecar.ingress.iter()));
    let served = captured.served.iter().filter_map(|served| original(world, served));
    let ports: Vec<InboundInputs> = said.chain(served).collect();
    let sources = ports.iter().flat_map(|inputs| inputs.provenance.refs().iter().cloned());
    let provenance = settings::provenance(world, sources);
    let mut known: Vec<_> = ports.iter().map(|inputs| (inputs.port, inputs.protocol)).collect();
    known.sort_unstable();
    let listener = VirtualInboundInputs {
        binds: captured.families.wildcards(),
        ports: known,
        server_first: captured.server_first.clone(),
        port: world.mesh().inbound_port,
        detection: world.mesh().detection_timeout,
        log: settings::log(world),
        provenance,
    };
    let fixed = [Inputs::Passthrough(names::INBOUND_PASSTHROUGH), Inputs::VirtualInbound(listener)];
    Selection::of_inputs(fixed.into_iter().chain(ports.into_iter().map(Inputs::InboundCluster)))
}

fn original(world: &Tracked, served: &Served) -> Option<InboundInputs> {
    let service = world.service(&served.service)?;
    Some(InboundInputs {
        port: served.port,
        protocol: served.protocol,
        bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        endpoint: None,
        provenance: Provenance::from_iter([service.reference()]),
    })
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
    for (port, protocol) in &inputs.ports {
        listener.filter_chains.extend(chains(*port, *protocol, log));
    }
    listener.filter_chains.extend(catch_all(log));
    // The black hole is in the other layer, and always there.
    let known = inputs.ports.iter().map(|(port, _)| names::inbound(*port));
    let clusters = known.chain([names::INBOUND_PASSTHROUGH.to_owned()]);
    let mut refs: Vec<_> = clusters.map(|name| Ref { kind: Kind::Cluster, name: name.into() }).collect();
    refs.sort();
    Resource::new(Kind::Listener, name, &listener, refs, inputs.provenance.clone())
}

/// The chains of a port. Matching never steps back, so a port that tells HTTP from the rest needs a chain for each.
fn chains(port: u16, protocol: Protocol, log: Option<&AccessLog>) -> Vec<FilterChain> {
    let (cluster, name) = (names::inbound(port), format!("0.0.0.0_{port}"));
    let chains = match protocol {
        Protocol::Http | Protocol::Http2 => vec![http(&name, &name, &cluster, port, log)],
        Protocol::Tcp | Protocol::Udp => vec![filter::named(tcp_chain(&cluster, TcpOptions::default(), log), &name)],
        Protocol::Unnamed => {
            let http = http(&format!("{name}-http"), &name, &cluster, port, log);
            told_apart(http, &cluster, &name, log)
        }
    };
    chains.into_iter().map(|chain| filter::for_port(chain, port)).collect()
}

/// What arrives for a port that nobody told us of.
fn catch_all(log: Option<&AccessLog>) -> Vec<FilterChain> {
    let cluster = names::INBOUND_PASSTHROUGH;
    let http = http("virtualInbound-catchall-http", "0.0.0.0_0", cluster, 0, log);
    told_apart(http, cluster, "virtualInbound", log)
}

/// Three chains: plain HTTP, other plain text, TLS, which is not opened.
fn told_apart(http: FilterChain, cluster: &str, name: &str, log: Option<&AccessLog>) -> Vec<FilterChain> {
    let bytes =
        |suffix: &str| filter::named(tcp_chain(cluster, TcpOptions::default(), log), &format!("{name}{suffix}"));
    vec![
        filter::plain_http(http),
        filter::for_transport(bytes("-tcp"), "raw_buffer"),
        filter::for_transport(bytes("-tls"), "tls"),
    ]
}
