//! Which DestinationRules apply to a host for an audience, and what they say together.

use crate::model::audience::Audience;
use crate::model::destination::{DestinationRule, Subset, TrafficPolicy};
use crate::model::name::{Namespace, ServiceKey};
use crate::model::object::Stored;
use crate::model::tracked::Tracked;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rules in effect for a service, oldest first: those of the audience's namespace, else those of the service's.
pub fn rules(world: &Tracked, audience: &Audience, service: &ServiceKey) -> Vec<Stored<DestinationRule>> {
    let all = world.rules_for(&service.host());
    let in_namespace = |namespace: &Namespace| -> Vec<_> {
        all.iter().filter(|rule| rule.key().namespace == *namespace).cloned().collect()
    };
    let mut rules = in_namespace(&audience.namespace);
    if rules.is_empty() {
        rules = in_namespace(&service.namespace);
    }
    rules.sort_by(|a, b| a.meta().age().cmp(&b.meta().age()));
    rules
}

/// The policy of the host: that of the oldest rule that states one.
fn host_policy(rules: &[Stored<DestinationRule>]) -> TrafficPolicy {
    let stated = rules.iter().map(|rule| &rule.policy).find(|policy| **policy != TrafficPolicy::default());
    stated.cloned().unwrap_or_default()
}

/// The policy towards a subset, or towards the host as a whole.
pub fn policy(rules: &[Stored<DestinationRule>], subset: Option<&str>) -> TrafficPolicy {
    let host = host_policy(rules);
    match subset.and_then(|name| find(rules, name)) {
        Some(subset) => host.overlaid(&subset.policy),
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
