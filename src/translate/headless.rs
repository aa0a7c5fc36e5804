//! Headless Services where traffic is captured: their clients pick a Pod by its address or its own name, and what they
//! picked is where they get, as in Istio.
//!
//! So the cluster of such a Service leads to the original destination. A route of another host has picked nobody, and
//! gets a twin of the cluster that picks among the endpoints.

use super::{balance, names};
use crate::model::audience::Interception;
use crate::model::destination::{DestinationRule, TrafficPolicy};
use crate::model::name::Host;
use crate::model::object::Stored;
use crate::model::outlook::Place;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::service::{Protocol, Service, ServicePort, TargetPort};
use crate::model::view::View;
use std::sync::Arc;

/// Whether clients of a Service pick its Pods themselves. Not where a Sidecar opens or moves the port: what they connect to
/// there is nobody's address.
pub fn is_direct(view: &View, service: &Service, port: u16) -> bool {
    let usual = view.outlook().on(port).is_none_or(|opening| opening.place == Place::Captured);
    service.headless && view.interception() == Interception::Redirect && usual
}

/// The name of the cluster, or of its twin, that has a port's endpoints; none where policy says that clients pick, and for
/// picked Pods on a port of TCP, where no other host's route leads.
pub fn listed(view: &View, service: &Service, port: u16, policy: &TrafficPolicy) -> Option<Arc<str>> {
    if balance::is_passthrough(policy) {
        return None;
    }
    if !is_direct(view, service, port) {
        return Some(names::outbound(port, None, &service.host));
    }
    let tcp = |other: &ServicePort| other.number == port && other.protocol == Protocol::Tcp;
    (!service.ports.iter().any(tcp)).then(|| names::twin(port, &service.host))
}

/// The port of the Pods, where it is another than that of the Service and the same on all.
pub fn other_port(port: &ServicePort) -> Option<u16> {
    match port.target {
        TargetPort::Number(number) if number != port.number => Some(number),
        _ => None,
    }
}

/// A rule that says how to pick among endpoints that clients pick themselves. One for many hosts means others.
pub fn unbalanced(service: &Service, rules: &[Stored<DestinationRule>]) -> Option<Problem> {
    let states = |rule: &&Stored<DestinationRule>| {
        let balancer = rule.policy.load_balancer.is_some() && !balance::is_passthrough(&rule.policy);
        balancer && is_for_it_alone(&rule.host)
    };
    Some(Problem {
        object: rules.iter().find(states)?.key().clone(),
        field: "spec.trafficPolicy.loadBalancer".to_owned(),
        severity: Severity::Warning,
        text: format!(
            "{} is headless: captured requests to it go to the Pod their client picked, and this acts only where \
             routes of other hosts lead to it",
            service.host
        ),
        cause: Cause::Conflict,
    })
}

fn is_for_it_alone(host: &Host) -> bool {
    !host.is_wildcard()
}
