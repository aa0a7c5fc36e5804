//! Outbound listeners for captured connections: none is bound, connections are handed to them by original destination.
//!
//! HTTP services share a listener per port and are told apart by host. A service that speaks anything else, or does not
//! say, has one at its own addresses. What fits nowhere stays with the listener that captured it.

use super::{Claim, claim, claims, is_http, losers, sources, speaking_http, taken, tcp_options};
use crate::model::object::by_age;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectRef;
use crate::model::service::Protocol;
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::translate::unit::{Chains, Inputs, ListenerInputs, Selection, Table, Unit};
use crate::translate::{fixed, names, settings};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Selects the listeners of a port.
pub fn select(world: &Tracked, view: &View, port: u16) -> Selection {
    let mut selection = Selection::default();
    let mesh = world.mesh();
    if fixed::is_own(&mesh, port) {
        selection.problems = claims(world, view, port).iter().map(|claim| reserved(claim, port)).collect();
        return selection;
    }
    let http = speaking_http(world, view, port);
    let first = http.iter().filter_map(|key| claim(world, view, key, port)).find(|claim| is_http(claim.protocol));
    if let Some(first) = first {
        shared(world, view, &first, view.families().wildcards(), &mut selection);
    }
    let others = world.services_on_port(port).into_iter().filter(|key| http.binary_search(key).is_err());
    let mut others: Vec<_> = others.filter_map(|key| claim(world, view, &key, port)).collect();
    others.sort_by(|a, b| by_age(&a.service, &b.service));
    let mut taken = BTreeSet::new();
    for claim in &others {
        own(world, view, claim, places(world, view, claim, &mut taken), &mut selection);
    }
    selection
}

/// Selects the listener of a port at an address that a Sidecar chose; there the port stands for one thing.
pub fn at(world: &Tracked, view: &View, claims: &[Claim], at: IpAddr, port: u16) -> Selection {
    let mut selection = Selection::default();
    let Some(winner) = claims.first() else { return selection };
    if fixed::is_own(&world.mesh(), port) {
        selection.problems = claims.iter().map(|claim| reserved(claim, port)).collect();
        return selection;
    }
    if view.listens_at(at, port) {
        selection.problems = vec![taken(winner, at, port)];
        return selection;
    }
    if is_http(winner.protocol) {
        shared(world, view, winner, vec![at], &mut selection);
    } else {
        own(world, view, winner, vec![(at, None)], &mut selection);
    }
    selection.problems = losers(claims, &format!("at {at}"));
    selection
}

/// A service on a port that no listener may have.
pub fn reserved(claim: &Claim, port: u16) -> Problem {
    Problem {
        object: claim.service.key().clone(),
        field: "spec.ports".to_owned(),
        severity: Severity::Warning,
        text: format!("port {port} is one of the proxy's own and is passed on without rules where traffic is captured"),
        cause: Cause::Conflict,
    }
}

/// Connections that aren't HTTP carry the address they go to and not the name it was found by.
fn unrecognised(claim: &Claim) -> Problem {
    Problem {
        object: claim.service.key().clone(),
        field: "spec.ports".to_owned(),
        severity: Severity::Warning,
        text: format!(
            "port {} is not HTTP: captured connections to a name outside can't be told from those to unknown hosts",
            claim.port
        ),
        cause: Cause::Conflict,
    }
}

/// The listener that all HTTP services on a port share, because of one of them.
fn shared(world: &Tracked, view: &View, first: &Claim, addresses: Vec<IpAddr>, selection: &mut Selection) {
    let table = Table::of_port(first.port);
    selection.inputs.extend(addresses.into_iter().map(|address| {
        Inputs::Listener(ListenerInputs {
            address,
            port: first.port,
            bound: false,
            chains: Chains::HttpOr(table.name(), view.unknown()),
            detection: world.mesh().detection_timeout,
            certified: view.certified(),
            log: settings::log(world),
            provenance: sources(world, view, [first.service.reference()]),
        })
    }));
    selection.children.push(Unit::RouteTable(table));
}

/// A listener of a service: its address, and the slice that lists it, if one does.
type Place = (IpAddr, Option<ObjectRef>);

/// Where a service is: at its own addresses; a headless one at each of its endpoints, which come and go without touching
/// the others.
fn places(world: &Tracked, view: &View, claim: &Claim, taken: &mut BTreeSet<IpAddr>) -> Vec<Place> {
    let service = &claim.service;
    let own = || service.addresses.iter().map(|address| (*address, None)).collect();
    let mut places: Vec<Place> = if service.headless { endpoints(world, claim) } else { own() };
    places.retain(|(address, _)| {
        let apart = view.families().has(*address) && !view.listens_at(*address, claim.port);
        apart && taken.insert(*address)
    });
    places
}

/// The listeners of one service.
fn own(world: &Tracked, view: &View, claim: &Claim, places: Vec<Place>, selection: &mut Selection) {
    if places.is_empty() {
        selection.problems.extend(claim.service.outside().map(|_| unrecognised(claim)));
        return;
    }
    let (service, port) = (&claim.service, claim.port);
    let (options, sources) = tcp_options(world, view, service, port);
    let cluster = names::outbound(port, None, &service.host);
    let chains = if claim.protocol == Protocol::Unnamed {
        let table = Table { port, service: Some(service.key.clone()) };
        let chains = Chains::Sniffed(table.name(), cluster, options);
        selection.children.push(Unit::RouteTable(table));
        chains
    } else {
        Chains::Tcp(cluster, options)
    };
    let (detection, certified, log) = (world.mesh().detection_timeout, view.certified(), settings::log(world));
    selection.inputs.extend(places.into_iter().map(|(address, slice)| {
        let provenance = sources.refs().iter().cloned().chain(slice).collect();
        let (chains, log) = (chains.clone(), log.clone());
        Inputs::Listener(ListenerInputs { address, port, bound: false, chains, detection, certified, log, provenance })
    }));
}

/// The addresses of a service's endpoints that have the port, ready or not, since a client may have picked any of them;
/// and the slices that list them.
fn endpoints(world: &Tracked, claim: &Claim) -> Vec<Place> {
    let ports = claim.service.ports.iter().filter(|port| port.number == claim.port && port.protocol != Protocol::Udp);
    let names: BTreeSet<_> = ports.map(|port| &port.name).collect();
    let slices = world.slices_of(&claim.service.key);
    let having = slices.iter().filter(|slice| slice.ports.iter().any(|(name, _)| names.contains(name)));
    let each = having.flat_map(|slice| {
        let reference = slice.reference();
        slice.endpoints.iter().map(move |endpoint| (endpoint.address, Some(reference.clone())))
    });
    each.collect()
}
