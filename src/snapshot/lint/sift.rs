//! What of a change may go although something of it may not: what is at fault stays in its form before, and so does what
//! depends on that, so that the result is again one that Envoy takes.
//!
//! It starts with all that differs and goes on holding back until nothing is wrong: what names something that is not
//! there, what is gone but is named by a form that stays, what has the address or a domain of one. In the end that is at
//! most everything, which is what was there before. The unit of a route configuration is its virtual host.

use super::change::{HeldParts, Id, Sight, part_violation};
use super::index::{AddressHash, addresses};
use super::{SAME_ADDRESS, Violation, names_nothing, share_a_domain, violation};
use crate::snapshot::fragments::Fragments;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Fragment, Ref, Resource};
use crate::snapshot::set::Layer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What may go.
#[derive(Debug)]
pub struct Sifted {
    /// The layer after the change, but for what is held back.
    pub layer: Layer,
    /// What differs from the layer before.
    pub differs: BTreeSet<Id>,
    /// The virtual hosts that are held back, where it is not all of a route configuration.
    pub parts: HeldParts,
    /// Why anything is held back; none if nothing is.
    pub violations: BTreeSet<Violation>,
}

/// Sifts what differs between two layers, of which the first is good. `doubtful` is at fault, whatever it looks like.
pub fn sift(before: &Layer, after: &Layer, doubtful: &BTreeSet<Id>, sight: &Sight) -> Sifted {
    let candidates = |kind: Kind| after.differs_from(before, kind).into_iter().map(move |name| (kind, name));
    let candidates: Vec<Id> = Kind::ALL.into_iter().flat_map(candidates).collect();
    let mut sieve = Sieve::new(before, after, sight);
    sieve.examine(&candidates, doubtful);
    while sieve.hold_more(&candidates) {}
    let Sieve { next: layer, held, violations, .. } = sieve;
    let goes = |id: &Id| !matches!(held.get(id), Some(Held::Whole));
    let differs = candidates.into_iter().filter(goes).collect();
    let parts = held.into_iter().filter_map(|((_, name), held)| match held {
        Held::Whole => None,
        Held::Parts(parts) => Some((name, parts)),
    });
    Sifted { layer, differs, parts: parts.collect(), violations }
}

/// What of a resource is held back.
#[derive(Debug)]
enum Held {
    Whole,
    /// These virtual hosts.
    Parts(BTreeSet<Arc<str>>),
}

/// Something that can't go: the resource, the virtual host if it is one, and what is wrong, unless it only follows from what
/// is held back already.
struct Wrong {
    id: Id,
    part: Option<Arc<str>>,
    violations: Vec<Violation>,
}

struct Sieve<'a> {
    before: &'a Layer,
    after: &'a Layer,
    sight: &'a Sight<'a>,
    /// The layer after, with what is held back so far in its form before.
    next: Layer,
    held: BTreeMap<Id, Held>,
    /// What the forms name that stay.
    named: BTreeSet<Ref>,
    /// Where the listeners are that stay.
    addresses: BTreeMap<AddressHash, Arc<str>>,
    violations: BTreeSet<Violation>,
}

impl<'a> Sieve<'a> {
    fn new(before: &'a Layer, after: &'a Layer, sight: &'a Sight<'a>) -> Self {
        let (next, named, addresses) = (after.clone(), BTreeSet::new(), BTreeMap::new());
        Self { before, after, sight, next, held: BTreeMap::new(), named, addresses, violations: BTreeSet::new() }
    }

    /// Holds back what is wrong by itself.
    fn examine(&mut self, candidates: &[Id], doubtful: &BTreeSet<Id>) {
        for id in candidates {
            let Some(resource) = self.after.get(id.0, &id.1) else { continue };
            let mut found = self.sight.by_itself(resource);
            if doubtful.contains(id) {
                found.push(violation(resource, "was made twice".to_owned()));
            }
            if !found.is_empty() {
                self.hold(Wrong { id: id.clone(), part: None, violations: found });
            }
        }
    }

    /// Holds back what can't go beside what is held back already; whether there is any.
    fn hold_more(&mut self, candidates: &[Id]) -> bool {
        let held = &self.held;
        let left = || candidates.iter().filter(move |id| !matches!(held.get(*id), Some(Held::Whole)));
        let mut wrong: Vec<Wrong> = left().flat_map(|id| self.wrong(id)).collect();
        if wrong.is_empty() {
            // Only now, for what is held back names other things than it would.
            wrong = left().filter_map(|id| self.wrongly_gone(id)).collect();
        }
        let any = !wrong.is_empty();
        wrong.into_iter().for_each(|wrong| self.hold(wrong));
        any
    }

    /// What is wrong with something that is there.
    fn wrong(&self, id: &Id) -> Vec<Wrong> {
        let Some(resource) = self.next.get(id.0, &id.1) else { return Vec::new() };
        if let Some(fragments) = resource.fragments() {
            return self.wrong_parts(id, fragments);
        }
        let dangling = resource.refs().filter(|to| self.sight.dangles(&self.next, to));
        let mut violations: Vec<_> = dangling.map(|to| violation(resource, names_nothing(to))).collect();
        if id.0 == Kind::Listener && self.has_rival(resource) {
            violations.push(violation(resource, SAME_ADDRESS.to_owned()));
        }
        if violations.is_empty() { Vec::new() } else { vec![Wrong { id: id.clone(), part: None, violations }] }
    }

    /// Whether another listener has its address: one that stays as it is, or, of two that are new there, the first by name.
    fn has_rival(&self, listener: &Resource) -> bool {
        let name = listener.name();
        let stays =
            addresses(listener).iter().any(|address| self.addresses.get(address).is_some_and(|other| other != name));
        let is_held = |other: &Arc<str>| self.held.contains_key(&(Kind::Listener, other.clone()));
        let is_new = |other: &Arc<str>| {
            let form = |layer: &Layer| layer.get(Kind::Listener, other).map(|listener| addresses(listener));
            form(self.before) != form(&self.next)
        };
        let mut rivals = self.sight.rivals(&self.next, listener);
        stays || rivals.any(|other| !is_held(other) && (other < name || !is_new(other)))
    }

    /// The virtual hosts that can't go.
    fn wrong_parts(&self, id: &Id, fragments: &Fragments) -> Vec<Wrong> {
        let none = Fragments::default();
        let before = self.before.get(id.0, &id.1).and_then(|routes| routes.fragments()).unwrap_or(&none);
        let own = match self.held.get(id) {
            Some(Held::Parts(parts)) => Some(parts),
            _ => None,
        };
        let beneath = self.sight.held.and_then(|held| held.get(&id.1));
        let stay = own.into_iter().chain(beneath).flatten();
        let stay: Vec<_> = stay.filter_map(|name| fragments.get(name)).collect();
        let new = before.differences(fragments).filter_map(|(_, new)| new);
        new.filter_map(|part| self.wrong_part(id, part, &stay)).collect()
    }

    fn wrong_part(&self, id: &Id, part: &Fragment, stay: &[&Arc<Fragment>]) -> Option<Wrong> {
        let dangling = part.refs().iter().filter(|to| self.sight.dangles(&self.next, to));
        let violations: Vec<_> = dangling.map(|to| part_violation(&id.1, part, names_nothing(to))).collect();
        let clashes = || stay.iter().any(|other| other.name() != part.name() && share_a_domain(other, part));
        let wrong = !violations.is_empty() || clashes();
        wrong.then(|| Wrong { id: id.clone(), part: Some(part.name().clone()), violations })
    }

    /// What is wrong with something that is gone.
    fn wrongly_gone(&self, id: &Id) -> Option<Wrong> {
        if self.next.has(id.0, &id.1) {
            return None;
        }
        let stays = self.named.contains(&Ref { kind: id.0, name: id.1.clone() });
        let violations = if stays { Vec::new() } else { self.sight.still_named(&self.next, id) };
        (stays || !violations.is_empty()).then(|| Wrong { id: id.clone(), part: None, violations })
    }

    fn hold(&mut self, wrong: Wrong) {
        let Wrong { id, part, violations } = wrong;
        self.violations.extend(violations);
        match part {
            None => self.hold_whole(id),
            Some(part) => self.hold_part(id, part),
        }
    }

    fn hold_whole(&mut self, id: Id) {
        match self.before.get(id.0, &id.1) {
            Some(before) => {
                self.named.extend(before.refs().cloned());
                if id.0 == Kind::Listener {
                    self.addresses.extend(addresses(before).into_iter().map(|address| (address, id.1.clone())));
                }
                self.next.insert(before.clone());
            }
            None => {
                self.next.remove(id.0, &id.1);
                if self.next.has(id.0, &id.1) {
                    self.next.hide(id.0, id.1.clone());
                }
            }
        }
        self.held.insert(id, Held::Whole);
    }

    fn hold_part(&mut self, id: Id, part: Arc<str>) {
        let Some(routes) = self.next.get(id.0, &id.1).cloned() else { return };
        let before = self.before.get(id.0, &id.1).and_then(|routes| routes.fragments());
        let before = before.and_then(|fragments| fragments.get(&part));
        let mut fragments = routes.fragments().cloned().unwrap_or_default();
        fragments.remove(&part);
        if let Some(before) = before {
            self.named.extend(before.refs().iter().cloned());
            fragments.insert(before.clone());
        }
        self.next.insert(Arc::new(routes.with_fragments(fragments)));
        if let Held::Parts(parts) = self.held.entry(id).or_insert_with(|| Held::Parts(BTreeSet::new())) {
            parts.insert(part);
        }
    }
}
