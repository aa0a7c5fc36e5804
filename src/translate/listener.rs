//! Outbound listeners without interception: one really bound listener per service port.
//!
//! Without the original destination a port stands for one thing: HTTP, told apart by host, or one TCP service. The
//! oldest service decides; the others are told.

use super::filter::{Http, RouteSource, http_chain, tcp_chain};
use super::proto::{address, u32_value};
use super::unit::{Inputs, Lifetime, ListenerInputs, Selection, Unit};
use super::{destination, names, visible};
use crate::model::audience::{Audience, Interception};
use crate::model::object::Stored;
use crate::model::problem::{Problem, Severity};
use crate::model::provenance::Provenance;
use crate::model::service::{Protocol, Service};
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3 as envoy;
use std::net::IpAddr;
use std::sync::Arc;

/// A service's claim on a port number.
pub struct Claim {
    /// The service.
    pub service: Stored<Service>,
    /// What it speaks there.
    pub protocol: Protocol,
}

/// Whether a protocol is routed by HTTP rules.
pub fn is_http(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Http | Protocol::Http2)
}

/// The services the audience sees that have a port of that number, oldest first; UDP is not proxied.
pub fn claims(world: &Tracked, audience: &Audience, port: u16) -> Vec<Claim> {
    let services = world.services_on_port(port).into_iter().filter_map(|key| world.service(&key));
    let services = services.filter(|service| visible::sees(world, audience, service));
    let mut claims: Vec<_> = services
        .filter_map(|service| {
            let protocol = service.ports.iter().find(|p| p.number == port && p.protocol != Protocol::Udp)?.protocol;
            Some(Claim { service, protocol })
        })
        .collect();
    claims.sort_by(|a, b| a.service.meta().age().cmp(&b.service.meta().age()));
    claims
}

/// Selects the listener of a port.
pub fn select(world: &Tracked, audience: &Audience, port: u16) -> Selection {
    let Interception::None { bind } = audience.interception;
    let claims = claims(world, audience, port);
    let Some(winner) = claims.first() else { return Selection::default() };
    if audience.taken.contains(&port) {
        return Selection { problems: vec![taken(winner, bind, port)], ..Selection::default() };
    }
    let problems = losers(&claims, port);
    if is_http(winner.protocol) {
        let provenance = Provenance::from_iter([winner.service.reference()]);
        let target = port.to_string().into();
        let inputs = ListenerInputs { bind, port, target, lifetime: Lifetime::default(), provenance };
        Selection { children: vec![Unit::RouteTable(port)], inputs: vec![Inputs::HttpListener(inputs)], problems }
    } else {
        let inputs = tcp_inputs(world, audience, winner, (bind, port));
        Selection { inputs: vec![Inputs::TcpListener(inputs)], problems, ..Selection::default() }
    }
}

fn tcp_inputs(world: &Tracked, audience: &Audience, winner: &Claim, (bind, port): (IpAddr, u16)) -> ListenerInputs {
    let rules = destination::rules(world, audience, &winner.service.key);
    let pool = destination::policy(&rules, None).connection_pool.unwrap_or_default();
    let sources = std::iter::once(winner.service.reference()).chain(rules.iter().map(|rule| rule.reference()));
    ListenerInputs {
        bind,
        port,
        target: names::outbound(port, None, &winner.service.host),
        lifetime: Lifetime { idle: pool.tcp_idle_timeout, total: pool.tcp_max_connection_duration },
        provenance: sources.collect(),
    }
}

fn taken(claim: &Claim, bind: IpAddr, port: u16) -> Problem {
    Problem {
        object: claim.service.key().clone(),
        field: "spec.ports".to_owned(),
        severity: Severity::Warning,
        text: format!("port {port} is not reachable from workloads whose own Sidecar ingress listens on {bind}:{port}"),
    }
}

/// The services whose claim is not served: every other one on a TCP port, those that are not HTTP on an HTTP port.
fn losers(claims: &[Claim], port: u16) -> Vec<Problem> {
    let Some((winner, others)) = claims.split_first() else { return Vec::new() };
    let http = is_http(winner.protocol);
    let losers = others.iter().filter(|claim| !(http && is_http(claim.protocol)));
    losers
        .map(|claim| Problem {
            object: claim.service.key().clone(),
            field: "spec.ports".to_owned(),
            severity: Severity::Warning,
            text: format!(
                "port {port} is not reachable from proxies without interception: the older {} has it as {}",
                winner.service.key(),
                if http { "HTTP" } else { "TCP, which one service can have" },
            ),
        })
        .collect()
}

/// Builds an HTTP listener; its routes come over RDS.
pub fn http(inputs: &ListenerInputs) -> Resource {
    let name = names::listener(inputs.bind, inputs.port);
    let chain = http_chain(Http {
        name: name.clone(),
        stats: format!("outbound_{name}"),
        routes: RouteSource::Rds(inputs.target.to_string()),
    });
    resource(inputs, chain, Kind::Route)
}

/// Builds a TCP listener.
pub fn tcp(inputs: &ListenerInputs) -> Resource {
    resource(inputs, tcp_chain(&inputs.target, inputs.lifetime), Kind::Cluster)
}

fn resource(inputs: &ListenerInputs, chain: envoy::FilterChain, target: Kind) -> Resource {
    let name = names::listener(inputs.bind, inputs.port);
    let listener = bound(&name, (inputs.bind, inputs.port), TrafficDirection::Outbound, chain);
    let refs = vec![Ref { kind: target, name: Arc::clone(&inputs.target) }];
    Resource::new(Kind::Listener, &name, &listener, refs, inputs.provenance.clone())
}

/// A listener bound to its address, with one chain and no listener filters.
pub fn bound(
    name: &str,
    (bind, port): (IpAddr, u16),
    direction: TrafficDirection,
    chain: envoy::FilterChain,
) -> envoy::Listener {
    envoy::Listener {
        name: name.to_owned(),
        traffic_direction: direction.into(),
        address: Some(address(bind, port)),
        stat_prefix: names::stat(name),
        max_connections_to_accept_per_socket_event: Some(u32_value(1)),
        filter_chains: vec![chain],
        ..Default::default()
    }
}
