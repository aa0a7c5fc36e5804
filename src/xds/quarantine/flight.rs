//! What responses carried that are not answered yet.

use super::{Before, Returned, Unit};
use crate::snapshot::resource::Resource;
use crate::snapshot::roll::Roll;
use crate::xds::request::Wire;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many responses without an answer are remembered; a client that owes more is not helped by this.
const REMEMBERED: usize = 16;

/// What one response carried.
#[derive(Clone, Debug)]
pub(in crate::xds) struct Flight {
    /// Its nonce.
    pub(in crate::xds) nonce: u64,
    /// Everything on it is new.
    roll: Option<Arc<Roll>>,
    /// What else is new or changed in it, sorted by name.
    pub(in crate::xds) changed: Vec<Arc<Resource>>,
    /// What the client held before of those names, where it held anything.
    pub(in crate::xds) before: BTreeMap<Arc<str>, Before>,
    /// The names of which it says that they are gone.
    pub(super) gone: BTreeSet<Arc<str>>,
    /// The names of which something was rejected or is unanswered since.
    doubted: BTreeSet<Arc<str>>,
}

impl Flight {
    /// A response of that nonce, which carried these and found those.
    pub(in crate::xds) fn new(nonce: u64, changed: Vec<Arc<Resource>>, before: BTreeMap<Arc<str>, Before>) -> Self {
        Self { nonce, roll: None, changed, before, gone: BTreeSet::new(), doubted: BTreeSet::new() }
    }

    /// It also carried everything on a roll, of which the client held nothing.
    pub(in crate::xds) fn on_roll(self, roll: Option<Arc<Roll>>) -> Self {
        Self { roll, ..self }
    }

    /// The same with each resource on the roll among those that are new.
    pub(super) fn unrolled(mut self) -> Self {
        if let Some(roll) = self.roll.take() {
            self.changed.extend(roll.resources().iter().cloned());
            self.changed.sort_by(|one, other| one.name().cmp(other.name()));
        }
        self
    }

    /// Whether it is about nothing that has to be looked at by name.
    pub(super) fn is_empty(&self) -> bool {
        self.roll.is_none() && self.changed.is_empty()
    }

    /// It also says that these are gone, as far as it doesn't carry them.
    pub(in crate::xds) fn without(mut self, outdated: &[Arc<Resource>]) -> Self {
        let gone = outdated.iter().filter(|resource| self.carried(resource.name()).is_none());
        self.gone = gone.map(|resource| resource.name().clone()).collect();
        self
    }

    /// What the client was told before was not accepted: it held this.
    pub(super) fn doubt(&mut self, name: &Arc<str>, before: &Before) {
        self.before.insert(name.clone(), before.clone());
        self.doubted.insert(name.clone());
    }

    /// What it carried of a name.
    pub(super) fn carried(&self, name: &str) -> Option<&Arc<Resource>> {
        let at = self.changed.binary_search_by(|sent| (**sent.name()).cmp(name)).ok();
        at.map(|at| &self.changed[at]).or_else(|| self.roll.as_ref()?.get(name))
    }

    /// The two as one, which follows what was before the first.
    fn then(self, later: Flight) -> Flight {
        let (mut earlier, later) = (self.unrolled(), later.unrolled());
        let mut changed: BTreeMap<_, _> = earlier.changed.into_iter().map(|sent| (sent.name().clone(), sent)).collect();
        for (name, before) in later.before {
            if !changed.contains_key(&name) {
                earlier.before.insert(name, before);
            }
        }
        changed.extend(later.changed.into_iter().map(|sent| (sent.name().clone(), sent)));
        earlier.doubted.extend(later.doubted);
        Flight { nonce: later.nonce, changed: changed.into_values().collect(), ..earlier }
    }
}

/// The responses of one kind that are not answered yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Flights(Vec<Flight>);

impl Flights {
    pub(super) fn push(&mut self, flight: Flight) {
        if self.0.len() == REMEMBERED {
            self.0.remove(0);
        }
        self.0.push(flight);
    }

    /// What an answer to that nonce is about: in SotW it answers for everything before as well.
    pub(super) fn take(&mut self, nonce: u64, wire: Wire) -> Option<Flight> {
        self.0.iter().find(|flight| flight.nonce == nonce)?;
        let answered = |flight: &Flight| flight.nonce == nonce || (wire == Wire::Sotw && flight.nonce < nonce);
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(answered);
        self.0 = left;
        let taken: Vec<Flight> = taken;
        taken.into_iter().reduce(Flight::then)
    }

    /// The oldest response carries again what goes again.
    pub(super) fn take_over(&mut self, returned: &mut Vec<Returned>) {
        let Some(next) = self.0.first_mut() else { return };
        let (again, back) = std::mem::take(returned).into_iter().partition(|returned| returned.again);
        *returned = back;
        let again: Vec<Returned> = again;
        let held = again.iter().map(|returned| (returned.sent.name().clone(), returned.before.clone())).collect();
        let changed = again.into_iter().map(|returned| returned.sent).collect();
        let earlier = Flight::new(0, changed, held);
        *next = earlier.then(next.clone());
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is said of a name.
    pub(super) fn touch(&self, name: &Arc<str>) -> bool {
        self.0.iter().any(|flight| flight.gone.contains(name) || flight.carried(name).is_some())
    }

    /// What was sent last under the name of what is at fault, other than that.
    pub(super) fn newest(&self, unit: &Unit) -> Option<&Arc<Resource>> {
        let mut sent = self.0.iter().rev().filter_map(|flight| flight.carried(&unit.name));
        sent.find(|sent| !unit.is_in(Some(sent)))
    }

    /// What was accepted is what the client holds before later responses.
    pub(super) fn build_on(&mut self, accepted: &Arc<Resource>) {
        let name = accepted.name();
        for flight in self.0.iter_mut().filter(|flight| flight.doubted.contains(name)) {
            flight.before.insert(name.clone(), Before::Form(accepted.clone()));
        }
    }

    /// What was rejected is not what the client holds before later responses.
    pub(super) fn follow(&mut self, rejected: &Resource, before: &Before) {
        let name = rejected.name();
        for flight in self.0.iter_mut().filter(|flight| flight.carried(name).is_some()) {
            let held = flight.before.get(name);
            if held.is_some_and(|held| held.is(rejected)) {
                flight.before.insert(name.clone(), before.clone());
            }
        }
    }
}

/// What of a resource can be at fault: the fragments that are others than before, or all of it.
pub(super) fn units(sent: &Resource, before: &Before, newest: Option<&Arc<Resource>>) -> Vec<Unit> {
    let name = sent.name();
    let parts: Vec<Unit> = match (sent.fragments(), before) {
        (None, _) | (_, Before::Unknown) => Vec::new(),
        (Some(fragments), Before::Nothing) => {
            let unit = |part: &Arc<_>| fragment(name, part);
            fragments.iter().map(unit).collect()
        }
        (Some(new), Before::Form(form)) => match form.fragments() {
            Some(old) => old.differences(new).filter_map(|(_, new)| Some(fragment(name, new?))).collect(),
            None => Vec::new(),
        },
    };
    if !parts.is_empty() {
        return parts;
    }
    // What is sent of a resource with fragments may be a mixture that is nowhere else.
    let version = newest.filter(|_| sent.fragments().is_some()).map_or(sent.version(), |newest| newest.version());
    vec![Unit { name: name.clone(), part: None, version }]
}

fn fragment(name: &Arc<str>, part: &crate::snapshot::resource::Fragment) -> Unit {
    Unit { name: name.clone(), part: Some(part.name().clone()), version: part.version() }
}
