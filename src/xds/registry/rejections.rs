//! What proxies reject, told to those who wrote it: the rejections of all connected proxies as problems of source objects.

use super::Proxy;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::Version;
use crate::xds::quarantine::Charge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One thing that is rejected: kind, name, fragment and version.
type Rejected = (Kind, Arc<str>, Option<Arc<str>>, Version);

/// What is known of it.
#[derive(Debug)]
struct Culprit {
    charge: Charge,
    nodes: BTreeSet<String>,
}

/// A problem for each object that shaped something that a connected proxy holds back: an error where it was found at fault,
/// a warning where it was only rejected together with something else. A culprit that several proxies find is one problem, in
/// the words of one of them. Costs what is held back, and a look at each proxy.
pub fn problems(proxies: &[Arc<Proxy>]) -> BTreeSet<Problem> {
    culprits(proxies).iter().flat_map(|((kind, ..), culprit)| culprit.problems(*kind)).collect()
}

/// How many things each kind has that some connected proxy was found to reject.
pub fn count(proxies: &[Arc<Proxy>]) -> [usize; Kind::ALL.len()] {
    let mut counts = [0; Kind::ALL.len()];
    let found = culprits(proxies);
    let found = found.iter().filter(|(_, culprit)| culprit.charge.found);
    found.for_each(|((kind, ..), _)| counts[*kind as usize] += 1);
    counts
}

fn culprits(proxies: &[Arc<Proxy>]) -> BTreeMap<Rejected, Culprit> {
    let mut culprits: BTreeMap<Rejected, Culprit> = BTreeMap::new();
    for proxy in proxies {
        for (kind, charge) in proxy.charges() {
            let unit = &charge.unit;
            let key = (kind, unit.name.clone(), unit.part.clone(), unit.version);
            let culprit =
                culprits.entry(key).or_insert_with(|| Culprit { charge: charge.clone(), nodes: BTreeSet::new() });
            if charge.found && !culprit.charge.found {
                culprit.charge = charge;
            }
            culprit.nodes.insert(proxy.node_id.clone());
        }
    }
    culprits
}

impl Culprit {
    fn problems(&self, kind: Kind) -> Vec<Problem> {
        let severity = if self.charge.found { Severity::Error } else { Severity::Warning };
        let (text, who) = (self.text(kind), Arc::from(self.who()));
        let mut objects: BTreeSet<_> = self.charge.sources.refs().iter().map(|source| source.key.clone()).collect();
        if objects.is_empty() {
            // What every proxy has, whatever objects there are, follows from the settings.
            objects.insert(ObjectKey::mesh());
        }
        let problem = |object| {
            let (field, text, cause) = (String::new(), text.clone(), Cause::Rejection(Arc::clone(&who)));
            Problem { object, field, severity, text, cause }
        };
        objects.into_iter().map(problem).collect()
    }

    fn who(&self) -> String {
        match (self.nodes.len(), self.nodes.first()) {
            (1, Some(node)) => format!("proxy {node} rejects"),
            (count, Some(node)) => format!("{count} proxies, among them {node}, reject"),
            (_, None) => "a proxy rejects".to_owned(),
        }
    }

    fn text(&self, kind: Kind) -> String {
        let Charge { unit, found, reason, .. } = &self.charge;
        let what = match &unit.part {
            Some(part) => format!("virtual host {part} of {kind} {}", unit.name),
            None => format!("{kind} {}", unit.name),
        };
        let together = if *found { "" } else { ", together with others of which one is at fault" };
        format!("{what}, and keeps what it accepted last, if anything{together}: {reason}")
    }
}
