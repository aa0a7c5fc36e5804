//! What is wrong with Services of type ExternalName, and with rules for them.

use super::problem;
use crate::model::destination::DestinationRule;
use crate::model::name::{Host, ServiceKey};
use crate::model::object::Stored;
use crate::model::problem::{Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::model::service::Service;
use crate::model::tracked::Tracked;
use crate::translate::alias;

/// A name that leads nowhere, or that nothing is known of.
pub fn check(world: &Tracked, object: &Stored<Service>) -> Option<Problem> {
    let (field, text) = match object.alias() {
        Some(meant) if alias::resolve(world, &object.host).is_none() => {
            let why = if world.service_of(meant).is_none() { "no Service has" } else { "in the end no Service has" };
            ("spec.externalName", format!("{why} the host {meant}; requests are those to an unknown host"))
        }
        None if object.outside().is_some() && object.ports.is_empty() => {
            ("spec.ports", "without ports nothing is known of its traffic, which is that of an unknown host".to_owned())
        }
        _ => return None,
    };
    Some(problem(object.key(), field.to_owned(), Severity::Warning, text))
}

/// A rule for a host that is only another name: the rules of the Service that is meant count.
pub fn ruled(world: &Tracked, rule: &ObjectKey, field: &str, host: &Host) -> Option<Problem> {
    let service = world.service_of(host)?;
    let meant = service.alias()?;
    let text = format!("{host} is only another name for {meant}, whose rules count, so this has no effect");
    Some(problem(rule, field.to_owned(), Severity::Warning, text))
}

/// Subsets by labels of a name outside, where nothing has labels.
pub fn subsets(world: &Tracked, rule: &Stored<DestinationRule>, services: &[ServiceKey]) -> Vec<Problem> {
    let outside = |key| world.service(key).is_some_and(|service| service.outside().is_some());
    if services.is_empty() || !services.iter().all(outside) {
        return Vec::new();
    }
    let labelled = rule.subsets.iter().enumerate().filter(|(_, subset)| !subset.labels.is_empty());
    let text = || "nothing outside has labels: the subset has no endpoints, and requests get 503".to_owned();
    labelled
        .map(|(at, _)| problem(rule.key(), format!("spec.subsets[{at}].labels"), Severity::Warning, text()))
        .collect()
}
