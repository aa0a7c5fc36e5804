//! What proxies reject, told to those who wrote it: the rejections of all connected proxies as problems of source objects.
//!
//! Kept up to date: a thousand things that five hundred proxies reject are not gathered anew because one of them has said
//! something.

use super::Proxy;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::Version;
use crate::xds::quarantine::{Charge, Charges};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is rejected by connected proxies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rejections {
    /// A problem for each object that shaped something that is held back: an error where it was found at fault, a warning
    /// where it was only rejected together with something else. What several proxies find is one problem, in the words of one
    /// of them.
    pub problems: BTreeSet<Problem>,
    /// How many things each kind has that some proxy was found to reject.
    pub counts: [usize; Kind::ALL.len()],
}

/// One thing that is rejected: kind, name, fragment and version.
type Rejected = (Kind, Arc<str>, Option<Arc<str>>, Version);

/// Who rejects what.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What was noted of each stream that holds anything back, and whose it is.
    streams: BTreeMap<u64, (Arc<str>, Arc<Charges>)>,
    culprits: BTreeMap<Rejected, Culprit>,
    told: Arc<Rejections>,
}

/// What is known of one thing.
#[derive(Debug, Default)]
struct Culprit {
    /// By node, and by stream: of several streams of one node all but one are about to end.
    by_node: BTreeMap<Arc<str>, BTreeMap<u64, Arc<Charge>>>,
    /// By how many streams it was found at fault.
    found: usize,
}

impl Ledger {
    /// Notes what these hold back, and nobody else.
    pub(super) fn survey(&mut self, proxies: &[(u64, Arc<Proxy>)]) -> Arc<Rejections> {
        let mut before = std::mem::take(&mut self.streams);
        let mut news = false;
        for (stream, proxy) in proxies {
            let Some(charges) = proxy.charges() else { continue };
            let last = before.remove(stream);
            let node = last.as_ref().map_or_else(|| proxy.node_id.as_str().into(), |(node, _)| node.clone());
            news |= self.turn(*stream, &node, last.as_ref().map(|(_, last)| last), Some(&charges));
            self.streams.insert(*stream, (node, charges));
        }
        for (stream, (node, last)) in before {
            news |= self.turn(stream, &node, Some(&last), None);
        }
        if news {
            self.told = Arc::new(self.told());
        }
        self.told.clone()
    }

    /// A stream holds back this and not that any more; whether they differ.
    fn turn(&mut self, stream: u64, node: &Arc<str>, old: Option<&Arc<Charges>>, new: Option<&Arc<Charges>>) -> bool {
        if let (Some(old), Some(new)) = (old, new)
            && Arc::ptr_eq(old, new)
        {
            return false;
        }
        let (gone, come) = (but(old, new), but(new, old));
        gone.iter().for_each(|(kind, charge)| self.lose(stream, node, *kind, charge));
        come.iter().for_each(|(kind, charge)| self.gain(stream, node, *kind, charge));
        !(gone.is_empty() && come.is_empty())
    }

    fn gain(&mut self, stream: u64, node: &Arc<str>, kind: Kind, charge: &Arc<Charge>) {
        let culprit = self.culprits.entry(key(kind, charge)).or_default();
        culprit.by_node.entry(node.clone()).or_default().insert(stream, charge.clone());
        culprit.found += usize::from(charge.found);
    }

    fn lose(&mut self, stream: u64, node: &Arc<str>, kind: Kind, charge: &Arc<Charge>) {
        let key = key(kind, charge);
        let Some(culprit) = self.culprits.get_mut(&key) else { return };
        let Some(streams) = culprit.by_node.get_mut(node) else { return };
        let lost = streams.remove(&stream);
        culprit.found -= usize::from(lost.is_some_and(|charge| charge.found));
        if streams.is_empty() {
            culprit.by_node.remove(node);
        }
        if culprit.by_node.is_empty() {
            self.culprits.remove(&key);
        }
    }

    fn told(&self) -> Rejections {
        let mut told = Rejections::default();
        for ((kind, ..), culprit) in &self.culprits {
            told.problems.extend(culprit.problems(*kind));
            told.counts[*kind as usize] += usize::from(culprit.found > 0);
        }
        told
    }
}

/// Those of the charges that are not among the others.
fn but<'c>(charges: Option<&'c Arc<Charges>>, others: Option<&Arc<Charges>>) -> Vec<&'c (Kind, Arc<Charge>)> {
    let address = |charge: &Arc<Charge>| Arc::as_ptr(charge).addr();
    let others: BTreeSet<_> = others.iter().flat_map(|others| others.iter()).map(|(_, other)| address(other)).collect();
    let charges = charges.into_iter().flat_map(|charges| charges.iter());
    charges.filter(|(_, charge)| !others.contains(&address(charge))).collect()
}

fn key(kind: Kind, charge: &Charge) -> Rejected {
    let unit = &charge.unit;
    (kind, unit.name.clone(), unit.part.clone(), unit.version)
}

impl Culprit {
    /// What one of them says, who has found it at fault if any has.
    fn charge(&self) -> Option<&Charge> {
        let mut all = self.by_node.values().flat_map(|streams| streams.values());
        let charge = if self.found > 0 { all.find(|charge| charge.found) } else { all.next() };
        charge.map(|charge| &**charge)
    }

    fn problems(&self, kind: Kind) -> Vec<Problem> {
        let Some(charge) = self.charge() else { return Vec::new() };
        let severity = if charge.found { Severity::Error } else { Severity::Warning };
        let (text, who) = (text(kind, charge), Arc::from(self.who()));
        let mut objects: BTreeSet<_> = charge.sources.refs().iter().map(|source| source.key.clone()).collect();
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
        match (self.by_node.len(), self.by_node.keys().next()) {
            (1, Some(node)) => format!("proxy {node} rejects"),
            (count, Some(node)) => format!("{count} proxies, among them {node}, reject"),
            (_, None) => "a proxy rejects".to_owned(),
        }
    }
}

fn text(kind: Kind, charge: &Charge) -> String {
    let Charge { unit, found, reason, .. } = charge;
    let what = match &unit.part {
        Some(part) => format!("virtual host {part} of {kind} {}", unit.name),
        None => format!("{kind} {}", unit.name),
    };
    let together = if *found { "" } else { ", together with others of which one is at fault" };
    format!("{what}, and keeps what it accepted last, if anything{together}: {reason}")
}
