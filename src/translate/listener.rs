//! Outbound listeners: for each port what its services need, really bound or for captured connections.
//!
//! Of a connection to a port that is opened really, the original destination is not known, so the port stands for one
//! thing: HTTP, told apart by host, or one TCP service. The oldest service decides; the others are told. So it is without
//! interception, and where a Sidecar says so. For captured connections see [`captured`].

mod captured;

use super::filter::{self, Http, RouteSource, http_chain, tcp_chain};
use super::proto::{address, bool_value, u32_value};
use super::unit::{Chains, Inputs, ListenerInputs, Selection, Table, TcpOptions, Unit};
use super::{destination, fixed, names, settings, visible};
use crate::model::access_log::AccessLog;
use crate::model::audience::Interception;
use crate::model::destination::{HashKey, LoadBalancer};
use crate::model::name::ServiceKey;
use crate::model::object::{Stored, by_age};
use crate::model::outlook::Place;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::{ObjectRef, Provenance};
use crate::model::service::{Protocol, Service};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3 as envoy;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A service's claim on a port number.
pub struct Claim {
    /// The service.
    pub service: Stored<Service>,
    /// The port.
    pub port: u16,
    /// What it speaks there.
    pub protocol: Protocol,
}

/// Whether a protocol is routed by HTTP rules.
pub fn is_http(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Http | Protocol::Http2)
}

/// The services the audience sees on a port, oldest first; UDP is not proxied, and a service that is another name for one
/// has nothing of its own.
fn claims(world: &Tracked, view: &View, port: u16) -> Vec<Claim> {
    let services = world.services_on_port(port);
    let mut claims: Vec<_> = services.iter().filter_map(|key| claim(world, view, key, port)).collect();
    claims.sort_by(|a, b| by_age(&a.service, &b.service));
    claims
}

/// The claim of a service on a port, if the audience sees it there.
pub fn claim(world: &Tracked, view: &View, key: &ServiceKey, port: u16) -> Option<Claim> {
    let opening = view.outlook().on(port)?;
    let service = world.service(key)?;
    if service.alias().is_some() || !visible::sees(world, view, &service, port) {
        return None;
    }
    let said = service.ports.iter().find(|p| p.number == port && p.protocol != Protocol::Udp)?.protocol;
    Some(Claim { service, port, protocol: opening.protocol.unwrap_or(said) })
}

/// The services in a port's scope that may speak HTTP there, sorted, found without looking into any: a port may have
/// thousands.
pub fn speaking_http(world: &Tracked, view: &View, port: u16) -> Vec<ServiceKey> {
    let Some(opening) = view.outlook().on(port) else { return Vec::new() };
    let mut services = match opening.protocol {
        None => world.http_services_on_port(port),
        Some(protocol) if is_http(protocol) => world.services_on_port(port),
        Some(_) => Vec::new(),
    };
    services.retain(|key| opening.scope.sees(key));
    services
}

/// Selects the listeners of a port.
pub fn select(world: &Tracked, view: &View, port: u16) -> Selection {
    match view.outlook().on(port).map(|opening| opening.place) {
        None => Selection::default(),
        Some(Place::Captured) => captured::select(world, view, port),
        Some(Place::CapturedAt(at)) => captured::at(world, view, &claims(world, view, port), at, port),
        Some(Place::Opened(at)) => opened(world, view, &claims(world, view, port), (at, port)),
    }
}

/// A port that is opened really, with one listener.
fn opened(world: &Tracked, view: &View, claims: &[Claim], (at, port): (IpAddr, u16)) -> Selection {
    let Some(winner) = claims.first() else { return Selection::default() };
    if let Some(problems) = kept_shut(world, view, claims, (at, port)) {
        return Selection { problems, ..Selection::default() };
    }
    let (children, chains, provenance) = if is_http(winner.protocol) {
        let table = Table::of_port(port);
        let provenance = sources(world, view, [winner.service.reference()]);
        (vec![Unit::RouteTable(table.clone())], Chains::Http(table.name()), provenance)
    } else {
        let (options, provenance) = tcp_options(world, view, &winner.service, port);
        (Vec::new(), Chains::Tcp(names::outbound(port, None, &winner.service.host), options), provenance)
    };
    let (certified, log) = (view.certified(), settings::log(world));
    let inputs = ListenerInputs { address: at, port, bound: true, chains, detection: None, certified, log, provenance };
    let whence = match view.interception() {
        Interception::None { .. } => "from proxies without interception".to_owned(),
        Interception::Redirect => format!("at {at}"),
    };
    let problems = losers(claims, &whence);
    Selection { children, inputs: vec![Inputs::Listener(inputs)], problems, ..Selection::default() }
}

/// Why a port can't be opened: Envoy would refuse the listener.
fn kept_shut(world: &Tracked, view: &View, claims: &[Claim], (at, port): (IpAddr, u16)) -> Option<Vec<Problem>> {
    let captured = view.interception() == Interception::Redirect;
    if fixed::is_static(port) || captured && fixed::is_own(&world.mesh(), port) {
        return Some(claims.iter().map(|claim| captured::reserved(claim, port)).collect());
    }
    if view.taken().contains(&port) {
        return Some(vec![taken(claims.first()?, at, port)]);
    }
    let usual = matches!(view.interception(), Interception::None { bind } if bind == at);
    let source = view.outlook().source.as_ref().filter(|_| !usual && !at.is_loopback() && !at.is_unspecified())?;
    let text =
        format!("without interception ports are opened on loopback addresses, and {at} is none: nothing is there");
    let (object, field, severity) = (source.clone(), "spec.egress".to_owned(), Severity::Warning);
    Some(vec![Problem { object, field, severity, text, cause: Cause::Conflict }])
}

/// The objects given, and the Sidecar that says where ports are.
fn sources(world: &Tracked, view: &View, given: impl IntoIterator<Item = ObjectRef>) -> Provenance {
    let sidecar = view.outlook().source.as_ref().and_then(|key| world.sidecar(key));
    settings::provenance(world, given.into_iter().chain(sidecar.map(|sidecar| sidecar.reference())))
}

/// How TCP connections to a service are passed on, and the objects that say so.
fn tcp_options(world: &Tracked, view: &View, service: &Stored<Service>, port: u16) -> (TcpOptions, Provenance) {
    let rules = destination::rules(world, view, &service.key);
    let policy = destination::policy(&rules, None, port);
    let pool = policy.connection_pool.unwrap_or_default();
    let by_source = matches!(policy.load_balancer, Some(LoadBalancer::ConsistentHash { key: HashKey::SourceIp, .. }));
    let given = std::iter::once(service.reference()).chain(rules.iter().map(|rule| rule.reference()));
    let options = TcpOptions { idle: pool.tcp_idle_timeout, total: pool.tcp_max_connection_duration, by_source };
    (options, sources(world, view, given))
}

fn taken(claim: &Claim, bind: IpAddr, port: u16) -> Problem {
    Problem {
        object: claim.service.key().clone(),
        field: "spec.ports".to_owned(),
        severity: Severity::Warning,
        text: format!("port {port} is not reachable from workloads that listen on {bind}:{port} themselves"),
        cause: Cause::Conflict,
    }
}

/// The services whose claim is not served: every other one on a TCP port, those that are not HTTP on an HTTP port.
fn losers(claims: &[Claim], whence: &str) -> Vec<Problem> {
    let Some((winner, others)) = claims.split_first() else { return Vec::new() };
    let http = is_http(winner.protocol);
    let losers = others.iter().filter(|claim| !(http && is_http(claim.protocol)));
    losers
        .map(|claim| Problem {
            object: claim.service.key().clone(),
            field: "spec.ports".to_owned(),
            severity: Severity::Warning,
            text: format!(
                "port {} is not reachable {whence}: the older {} has it as {}",
                winner.port,
                winner.service.key(),
                if http { "HTTP" } else { "TCP, which one service can have" },
            ),
            cause: Cause::Conflict,
        })
        .collect()
}

/// Builds an outbound listener.
pub fn build(inputs: &ListenerInputs) -> Resource {
    let (name, log) = (names::listener(inputs.address, inputs.port), inputs.log.as_ref());
    let http = |routes: &Arc<str>| {
        http_chain(Http {
            name: name.clone(),
            stats: format!("outbound_{name}"),
            routes: RouteSource::Rds(routes.to_string()),
            speaks_up: inputs.certified,
            log,
        })
    };
    let mut listener = at(&name, &[inputs.address], inputs.port, TrafficDirection::Outbound, log);
    let refs = match &inputs.chains {
        Chains::Http(routes) => {
            listener.filter_chains = vec![http(routes)];
            vec![(Kind::Route, routes.clone())]
        }
        Chains::HttpOr(routes, unknown) => {
            let cluster = fixed::unknown_cluster(*unknown);
            sniff(
                &mut listener,
                inputs.detection,
                http(routes),
                filter::named(tcp_chain(cluster, TcpOptions::default(), log), "unknown"),
            );
            vec![(Kind::Route, routes.clone()), (Kind::Cluster, cluster.into())]
        }
        Chains::Tcp(cluster, options) => {
            listener.filter_chains = vec![tcp_chain(cluster, *options, log)];
            vec![(Kind::Cluster, cluster.clone())]
        }
        Chains::Sniffed(routes, cluster, options) => {
            sniff(&mut listener, inputs.detection, http(routes), tcp_chain(cluster, *options, log));
            vec![(Kind::Route, routes.clone()), (Kind::Cluster, cluster.clone())]
        }
    };
    if !inputs.bound {
        listener.bind_to_port = Some(bool_value(false));
    }
    let refs = refs.into_iter().map(|(kind, name)| Ref { kind, name }).collect();
    Resource::new(Kind::Listener, &name, &listener, refs, inputs.provenance.clone())
}

/// Looks at the first bytes: HTTP goes to `http`, everything else to `other`.
fn sniff(
    listener: &mut envoy::Listener,
    detection: Option<Duration>,
    http: envoy::FilterChain,
    other: envoy::FilterChain,
) {
    filter::inspect(listener, detection, &filter::Silent::default());
    listener.filter_chains = vec![filter::plain_http(http)];
    listener.default_filter_chain = Some(other);
}

/// A listener at some addresses, without chains.
pub fn at(
    name: &str,
    addresses: &[IpAddr],
    port: u16,
    direction: TrafficDirection,
    log: Option<&AccessLog>,
) -> envoy::Listener {
    let additional = addresses[1..]
        .iter()
        .map(|bind| envoy::AdditionalAddress { address: Some(address(*bind, port)), ..Default::default() });
    envoy::Listener {
        name: name.to_owned(),
        traffic_direction: direction.into(),
        address: Some(address(addresses[0], port)),
        additional_addresses: additional.collect(),
        stat_prefix: names::stat(name),
        access_log: filter::unmatched(log),
        max_connections_to_accept_per_socket_event: Some(u32_value(1)),
        ..Default::default()
    }
}
