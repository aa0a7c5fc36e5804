//! What is wrong with a policy object given the rest of the World, whoever asks: unknown hosts, subsets and ports,
//! rules that lose against older ones.

mod authentication;
mod credential;
mod name;
mod sidecar;
mod slice;

use super::{alias, destination, route, visible};
use crate::model::audience::Audience;
use crate::model::destination::DestinationRule;
use crate::model::name::{Host, ServiceKey};
use crate::model::object::{Meta, Object, Stored, by_age};
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::model::route::{Destination, VirtualService};
use crate::model::service::{Protocol, Service};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Checks one object; kinds without references have nothing to check.
pub fn check(world: &Tracked, key: &ObjectKey) -> Vec<Problem> {
    match world.object(key) {
        Some(Object::VirtualService(object)) => virtual_service(world, object),
        Some(Object::DestinationRule(object)) => destination_rule(world, object),
        Some(Object::Service(object)) => service(world, object),
        Some(Object::Sidecar(object)) => sidecar::check(world, object),
        Some(Object::PeerAuthentication(object)) => authentication::check(world, object).into_iter().collect(),
        Some(Object::EndpointSlice(object)) => slice::check(world, object).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn service(world: &Tracked, object: &Stored<Service>) -> Vec<Problem> {
    let addresses = object.addresses.iter().filter_map(|address| shared_address(world, object, *address));
    unnamed_ports(object).into_iter().chain(name::check(world, object)).chain(addresses).collect()
}

/// An address and port that an older Service has as well; in a cluster there is no such thing.
fn shared_address(world: &Tracked, object: &Stored<Service>, address: IpAddr) -> Option<Problem> {
    let proxied = |service: &Service| {
        let ports = service.ports.iter().filter(|port| port.protocol != Protocol::Udp);
        ports.map(|port| port.number).collect::<BTreeSet<_>>()
    };
    let older = world.services_at(address).take_while(|other| other.key() != object.key());
    let (other, port) = older
        .filter_map(|other| {
            let port = proxied(&other).intersection(&proxied(object)).next().copied()?;
            Some((other, port))
        })
        .next()?;
    let text = format!(
        "{} is older and has the address {address} and the port {port} as well: connections there are its",
        other.key()
    );
    Some(problem(object.key(), "spec.clusterIP".to_owned(), Severity::Warning, text))
}

fn unnamed_ports(object: &Stored<Service>) -> Vec<Problem> {
    let ports = object.ports.iter().filter(|_| object.alias().is_none());
    let unnamed = ports.map(|port| (port.number, port.protocol));
    let unnamed = unnamed.filter(|(_, protocol)| *protocol == Protocol::Unnamed);
    let text = |port| {
        format!(
            "port {port} states no protocol (appProtocol, or a name such as http-{port}): captured connections are \
             looked at, others are passed on as TCP"
        )
    };
    unnamed.map(|(port, _)| problem(object.key(), "spec.ports".to_owned(), Severity::Warning, text(port))).collect()
}

fn problem(object: &ObjectKey, field: String, severity: Severity, text: String) -> Problem {
    Problem { object: object.clone(), field, severity, text, cause: Cause::Conflict }
}

/// A problem with what is named and isn't there.
fn unresolved(object: &ObjectKey, field: String, severity: Severity, text: String) -> Problem {
    Problem { cause: Cause::Reference, ..problem(object, field, severity, text) }
}

fn virtual_service(world: &Tracked, object: &Stored<VirtualService>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, host) in object.hosts.iter().enumerate() {
        problems.extend(host_problem(world, object, index, host));
    }
    // Which ports requests come from costs a look-up for each host: once, and not for each destination.
    let ports = route_ports(world, object);
    for (index, http) in object.http.iter().enumerate() {
        for (target, to) in http.destinations.iter().enumerate() {
            let field = format!("spec.http[{index}].route[{target}].destination");
            problems.extend(destination_problem(world, object, field, &to.destination, &ports));
        }
    }
    problems
}

fn host_problem(world: &Tracked, object: &Stored<VirtualService>, index: usize, host: &Host) -> Option<Problem> {
    let field = format!("spec.hosts[{index}]");
    if let Some(problem) = name::ruled(world, object.key(), &field, host) {
        return Some(problem);
    }
    let services = services_of(world, host);
    if services.is_empty() {
        return Some(unknown_host(object.key(), field, host));
    }
    let routes = world.routes_naming(host).into_iter();
    let older = routes.filter(|other| other.exports == object.exports && is_older(other.meta(), object.meta()));
    if let Some(older) = older.min_by(by_age) {
        let text = format!("{} is older and routes the host {host} in this namespace", older.key());
        return Some(problem(object.key(), field, Severity::Error, text));
    }
    no_http(object, world, &field, &services).or_else(|| short_reach(object.key(), field, host, &services))
}

/// The services that a host of a rule means.
fn services_of(world: &Tracked, host: &Host) -> Vec<ServiceKey> {
    if host.is_wildcard() {
        let mut services = world.services();
        services.retain(|service| host.covers(&service.host()));
        return services;
    }
    world.service_of(host).map(|service| service.key.clone()).into_iter().collect()
}

/// Routes for HTTP where nothing speaks it.
fn no_http(object: &Stored<VirtualService>, world: &Tracked, field: &str, services: &[ServiceKey]) -> Option<Problem> {
    let may_be = |protocol| matches!(protocol, Protocol::Http | Protocol::Http2 | Protocol::Unnamed);
    let speaks = |key| world.service(key).is_some_and(|service| service.ports.iter().any(|port| may_be(port.protocol)));
    let none = !object.http.is_empty() && !services.iter().any(speaks);
    let text = "no port of the Service speaks HTTP, so spec.http has no effect for it".to_owned();
    none.then(|| problem(object.key(), field.to_owned(), Severity::Warning, text))
}

/// A rule for a host that no Service has.
fn unknown_host(object: &ObjectKey, field: String, host: &Host) -> Problem {
    let text = if host.is_wildcard() {
        format!("no Service has a host that {host} covers, so this has no effect")
    } else {
        format!("no Service has the host {host}, so this has no effect")
    };
    unresolved(object, field, Severity::Warning, text)
}

/// A rule outside the namespace of the services acts for its own proxies only, which who comes from Istio may not expect.
fn short_reach(object: &ObjectKey, field: String, host: &Host, services: &[ServiceKey]) -> Option<Problem> {
    let mine = &object.namespace;
    let owner = services.iter().all(|service| service.namespace != *mine).then_some(&services.first()?.namespace)?;
    let text = format!("{host} belongs to namespace {owner}: this acts for proxies in namespace {mine} only");
    Some(problem(object, field, Severity::Warning, text))
}

/// Whether `other` wins against `this`: same namespace, older by Istio's rule.
fn is_older(other: &Meta, this: &Meta) -> bool {
    other.reference.key.namespace == this.reference.key.namespace && other.age() < this.age()
}

/// The ports of the services whose requests a rule routes, each once.
fn route_ports(world: &Tracked, object: &Stored<VirtualService>) -> Vec<u16> {
    let (mut ports, mut seen) = (Vec::new(), BTreeSet::new());
    for service in object.hosts.iter().filter_map(|host| world.service_of(host)) {
        ports.extend(service.ports.iter().map(|port| port.number).filter(|port| seen.insert(*port)));
    }
    ports
}

fn destination_problem(
    world: &Tracked,
    object: &Stored<VirtualService>,
    field: String,
    to: &Destination,
    route_ports: &[u16],
) -> Option<Problem> {
    let error =
        |part: &str, text: String| Some(unresolved(object.key(), format!("{field}{part}"), Severity::Error, text));
    let Some(service) = alias::resolve(world, &to.host) else {
        return error(".host", format!("no Service has the host {}; requests get 503", to.host));
    };
    let audience = Audience::of_everyone_in(object.key().namespace.clone());
    let view = View::new(&audience);
    if !visible::exported(world, &view, &service) {
        let text = format!("{} is not exported to this namespace; requests from here get 503", service.key());
        return error(".host", text);
    }
    let resolves = to.port.is_none() && service.ports.len() > 1;
    if !resolves && route::target_port(to, &service, 0).is_none() {
        let port = to.port.map(|port| port.to_string()).unwrap_or_default();
        return error(".port", format!("{} has no port {port}; requests get 503", service.key()));
    }
    let is_unresolved = |port: &&u16| route::target_port(to, &service, **port).is_none();
    if let Some(port) = resolves.then(|| route_ports.iter().find(is_unresolved)).flatten() {
        return error(
            "",
            format!(
                "{} has several ports and none is {port}, where the requests come from; name one in destination.port",
                service.key(),
            ),
        );
    }
    let subset = to.subset.as_deref()?;
    let rules = destination::rules(world, &view, &service.key);
    if destination::find(&rules, subset).is_none() {
        return error(
            ".subset",
            format!("no DestinationRule defines the subset {subset} of {}; requests get 503", to.host),
        );
    }
    None
}

fn destination_rule(world: &Tracked, object: &Stored<DestinationRule>) -> Vec<Problem> {
    let (host, field) = (&object.host, "spec.host".to_owned());
    if let Some(problem) = name::ruled(world, object.key(), &field, host) {
        return vec![problem];
    }
    let services = services_of(world, host);
    if services.is_empty() {
        return vec![unknown_host(object.key(), field, host)];
    }
    let rules = world.rules_naming(host).into_iter();
    let mut older: Vec<_> =
        rules.filter(|other| is_for_the_same(other, object) && is_older(other.meta(), object.meta())).collect();
    older.sort_by(by_age);
    let mut problems = shadowed(object, &older);
    problems.extend(credential::check(world, object));
    problems.extend(name::subsets(world, object, &services));
    // Those of the root namespace stand behind all others, and who names workloads knows whose they are.
    if object.key().namespace != world.mesh().root_namespace && object.selector.is_none() {
        problems.extend(short_reach(object.key(), field, host, &services));
    }
    problems
}

/// Whether two rules are for the same workloads.
fn is_for_the_same(one: &DestinationRule, other: &DestinationRule) -> bool {
    one.selector == other.selector && (one.selector.is_some() || one.exports == other.exports)
}

/// What of a rule has no effect because an older rule for the same host, in the same namespace, says it already.
fn shadowed(object: &Stored<DestinationRule>, older: &[Stored<DestinationRule>]) -> Vec<Problem> {
    let stated = older.iter().find(|rule| rule.policy != Default::default());
    let policy = stated.filter(|_| object.policy != Default::default()).map(|rule| {
        let text = format!("{} is older and states the traffic policy of {}", rule.key(), object.host);
        problem(object.key(), "spec.trafficPolicy".to_owned(), Severity::Error, text)
    });
    let subsets = object.subsets.iter().enumerate().filter_map(|(index, subset)| {
        let other = older.iter().find(|rule| rule.subsets.iter().any(|other| other.name == subset.name))?;
        let text = format!("{} is older and defines the subset {}", other.key(), subset.name);
        Some(problem(object.key(), format!("spec.subsets[{index}]"), Severity::Error, text))
    });
    policy.into_iter().chain(subsets).collect()
}
