//! Which DestinationRules apply to a host in a view, and what they say together.

use crate::model::destination::{DestinationRule, Subset, TrafficPolicy};
use crate::model::name::{Namespace, ServiceKey};
use crate::model::object::{Stored, by_age};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules in effect for a service, oldest first. The audience's namespace is asked first, then the service's, then the
/// root namespace, which stands behind all; in the first that has any, those with the most specific host count (Istio's
/// choice), and there those that name the workload before those that name none. Rules that are not exported to the audience's namespace are not there.
pub fn rules(world: &Tracked, view: &View, service: &ServiceKey) -> Vec<Stored<DestinationRule>> {
    let mut all = world.rules_for(&service.host());
    if all.is_empty() {
        return all;
    }
    let mesh = world.mesh();
    all.retain(|rule| {
        let exports = rule.exports.as_ref().unwrap_or(&mesh.destination_rule_exports);
        match &rule.selector {
            // Whatever it is exported to, it is for workloads of its own namespace.
            Some(_) => view.is_chosen(rule.key()),
            None => exports.reach(&rule.key().namespace, view),
        }
    });
    let root = &mesh.root_namespace;
    let own = most_specific(&all, |namespace| namespace != root && view.is_in(namespace));
    let fallbacks = [&service.namespace, root].into_iter().map(|at| most_specific(&all, |namespace| namespace == at));
    std::iter::once(own).chain(fallbacks).find(|rules| !rules.is_empty()).unwrap_or_default()
}

/// Of the rules in the namespaces in question, those that name the most specific host any of them names, oldest first.
fn most_specific(all: &[Stored<DestinationRule>], of: impl Fn(&Namespace) -> bool) -> Vec<Stored<DestinationRule>> {
    let mut rules: Vec<_> = all.iter().filter(|rule| of(&rule.key().namespace)).cloned().collect();
    let best = rules.iter().map(|rule| rule.host.specificity()).max();
    rules.retain(|rule| Some(rule.host.specificity()) == best);
    rules.sort_by(by_age);
    // Those that name the workload come before those that name none, and of them those that do it as the oldest does.
    let selector = rules.iter().find_map(|rule| rule.selector.clone());
    rules.retain(|rule| rule.selector == selector);
    rules
}

/// The policy of the host: that of the oldest rule that states one.
fn host_policy(rules: &[Stored<DestinationRule>]) -> TrafficPolicy {
    let stated = rules.iter().map(|rule| &rule.policy).find(|policy| **policy != TrafficPolicy::default());
    stated.cloned().unwrap_or_default()
}

/// The policy towards a port of the host as a whole, or of a subset.
pub fn policy(rules: &[Stored<DestinationRule>], subset: Option<&str>, port: u16) -> TrafficPolicy {
    let host = host_policy(rules).on(port);
    match subset.and_then(|name| find(rules, name)) {
        Some(subset) => host.overlaid(&subset.policy, port),
        None => host,
    }
}

/// The subset of that name: the oldest rule that has it wins.
pub fn find<'r>(rules: &'r [Stored<DestinationRule>], name: &str) -> Option<&'r Subset> {
    rules.iter().flat_map(|rule| &rule.subsets).find(|subset| &*subset.name == name)
}

/// All subsets by name; rules for one host unite theirs.
pub fn subsets(rules: &[Stored<DestinationRule>]) -> BTreeMap<Arc<str>, &Subset> {
    let mut subsets = BTreeMap::new();
    for subset in rules.iter().flat_map(|rule| &rule.subsets) {
        subsets.entry(subset.name.clone()).or_insert(subset);
    }
    subsets
}
