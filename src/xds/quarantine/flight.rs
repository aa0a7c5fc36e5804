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
    /// What the client held before of those names, where it held anything, as far as is known when it is sent.
    before: BTreeMap<Arc<str>, Before>,
    /// The names of which it says that there is nothing.
    pub(super) absent: BTreeSet<Arc<str>>,
    /// The names in it whose owner was sent before it, and may wait for them.
    awaited: BTreeSet<Arc<str>>,
    /// The names in it that were not wanted any more before it was answered.
    dropped: BTreeSet<Arc<str>>,
    /// The names in it of which the client has rejected the same with an earlier response, and is taken not to hold it.
    pub(super) refused: BTreeSet<Arc<str>>,
}

impl Flight {
    /// A response of that nonce, which carried these and found those.
    pub(in crate::xds) fn new(nonce: u64, changed: Vec<Arc<Resource>>, before: BTreeMap<Arc<str>, Before>) -> Self {
        Self {
            nonce,
            roll: None,
            changed,
            before,
            absent: BTreeSet::new(),
            awaited: BTreeSet::new(),
            dropped: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    /// It also carried everything on a roll, of which the client held nothing.
    pub(in crate::xds) fn on_roll(self, roll: Option<Arc<Roll>>) -> Self {
        Self { roll, ..self }
    }

    /// It also says that there is nothing under these names.
    pub(in crate::xds) fn without(self, absent: BTreeSet<Arc<str>>) -> Self {
        Self { absent, ..self }
    }

    /// The owners of these may wait for them.
    pub(in crate::xds) fn for_owners_of(self, awaited: BTreeSet<Arc<str>>) -> Self {
        Self { awaited, ..self }
    }

    /// Whether the owner of a name may wait for it.
    pub(super) fn is_awaited(&self, name: &str) -> bool {
        self.awaited.contains(name)
    }

    /// The same with each resource on the roll among those that are new.
    pub(super) fn unrolled(mut self) -> Self {
        if let Some(roll) = self.roll.take() {
            self.changed.extend(roll.resources().iter().cloned());
            self.changed.sort_by(|one, other| one.name().cmp(other.name()));
        }
        self
    }

    /// What it carried of a name.
    pub(super) fn carried(&self, name: &str) -> Option<&Arc<Resource>> {
        let at = self.changed.binary_search_by(|sent| (**sent.name()).cmp(name)).ok();
        at.map(|at| &self.changed[at]).or_else(|| self.roll.as_ref()?.get(name))
    }

    /// What the client holds of a name once it has accepted it; none if that is what it held before.
    fn leaves(&self, name: &str) -> Option<Before> {
        match self.carried(name) {
            _ if self.dropped.contains(name) => None,
            Some(sent) => Some(Before::Form(sent.clone())),
            None => self.absent.contains(name).then_some(Before::Nothing),
        }
    }

    /// What the client is taken not to hold, and does if it accepts this.
    pub(super) fn surprises(&self) -> Vec<Arc<Resource>> {
        self.refused.iter().filter_map(|name| self.carried(name).cloned()).collect()
    }

    /// The two as one.
    fn then(self, later: Flight) -> Flight {
        let (mut earlier, mut later) = (self.unrolled(), later.unrolled());
        let said_later = |name: &Arc<str>| later.carried(name).is_some() || later.absent.contains(name);
        earlier.changed.retain(|sent| !said_later(sent.name()));
        for names in [&mut earlier.absent, &mut earlier.dropped, &mut earlier.refused] {
            names.retain(|name| !said_later(name));
        }
        later.changed.append(&mut earlier.changed);
        later.changed.sort_by(|one, other| one.name().cmp(other.name()));
        later.absent.append(&mut earlier.absent);
        later.awaited.append(&mut earlier.awaited);
        later.dropped.append(&mut earlier.dropped);
        later.refused.append(&mut earlier.refused);
        later
    }

    /// Everything it carried.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        let on_roll = self.roll.iter().flat_map(|roll| roll.resources());
        on_roll.chain(&self.changed)
    }

    /// The names of everything it carried.
    fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all().map(|sent| sent.name())
    }

    /// The names of everything it says something of.
    pub(super) fn said(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names().chain(&self.absent)
    }

    /// Only these names are still wanted.
    fn keep(&mut self, is_wanted: impl Fn(&str) -> bool) {
        let unwanted: Vec<_> = self.names().filter(|name| !is_wanted(name)).cloned().collect();
        self.dropped.extend(unwanted);
        self.absent.retain(|name| is_wanted(name));
    }
}

/// The responses of one kind that are not answered yet, oldest first, and what the client holds by the answers it gave.
#[derive(Debug, Default)]
pub(super) struct Flights {
    unanswered: Vec<Flight>,
    /// What the client holds of the names in them, and of those that something was rejected of.
    ground: BTreeMap<Arc<str>, Before>,
}

impl Flights {
    /// A response was sent. Returns one that is unanswered and not remembered any more.
    pub(super) fn push(&mut self, mut flight: Flight) -> Option<Flight> {
        let mut before = std::mem::take(&mut flight.before);
        if self.unanswered.is_empty() && self.ground.is_empty() {
            // As it is on nearly every stream: what was known when it was sent is all there is to know.
            std::mem::swap(&mut self.ground, &mut before);
        }
        for name in flight.changed.iter().map(|sent| sent.name()).chain(&flight.absent) {
            // Of what was sent and not answered yet the backlog knows less.
            let on_roll = || self.unanswered.iter().any(|flight| flight.carried(name).is_some());
            if !self.ground.contains_key(name) {
                let held = before.remove(name).filter(|_| !on_roll()).unwrap_or(Before::Nothing);
                self.ground.insert(name.clone(), held);
            }
        }
        // Who waited for what is in an earlier response waits for this.
        let waited = |name: &Arc<str>| self.unanswered.iter().any(|earlier| earlier.awaited.contains(name));
        let still = flight.changed.iter().map(|sent| sent.name()).filter(|name| waited(name)).cloned();
        flight.awaited.extend(still);
        let forgotten = (self.unanswered.len() == REMEMBERED).then(|| self.unanswered.remove(0));
        self.unanswered.push(flight);
        forgotten
    }

    /// Notes what of the earlier responses is not in the set any more.
    pub(super) fn leave_out(&self, flight: &mut Flight, is_in_set: impl Fn(&str) -> bool) {
        let names = self.unanswered.iter().flat_map(Flight::names);
        flight.absent.extend(names.filter(|name| !is_in_set(name)).cloned());
    }

    /// What an answer to that nonce is about: in SotW it answers for everything before as well.
    pub(super) fn take(&mut self, nonce: u64, wire: Wire) -> Option<Flight> {
        self.answered(nonce, wire)?.reduce(Flight::then)
    }

    /// The same for a rejection. What came before it on SotW without an answer of its own was applied as far as anybody
    /// knows: Envoy puts all answers that it withheld into one.
    pub(super) fn take_rejected(&mut self, nonce: u64, wire: Wire) -> Option<Flight> {
        let flights: Vec<_> = self.answered(nonce, wire)?.collect();
        let (last, earlier) = flights.split_last()?;
        for (flight, sent) in earlier.iter().flat_map(|flight| last.changed.iter().map(move |sent| (flight, sent))) {
            if let Some(held) = flight.leaves(sent.name()) {
                self.ground.insert(sent.name().clone(), held);
            }
        }
        flights.into_iter().reduce(Flight::then)
    }

    fn answered(&mut self, nonce: u64, wire: Wire) -> Option<impl Iterator<Item = Flight>> {
        self.unanswered.iter().find(|flight| flight.nonce == nonce)?;
        let answered = move |flight: &Flight| flight.nonce == nonce || (wire == Wire::Sotw && flight.nonce < nonce);
        Some(self.unanswered.extract_if(.., move |flight| answered(flight)))
    }

    /// If everything is answered and nothing was rejected, nobody will ask what the client held: it is forgotten. Whether
    /// that is so.
    pub(super) fn settle(&mut self) -> bool {
        if self.unanswered.is_empty() {
            self.ground.clear();
        }
        self.unanswered.is_empty()
    }

    /// A response was accepted.
    pub(super) fn accept(&mut self, flight: &Flight) {
        for name in flight.said() {
            if let (Some(before), Some(after)) = (self.ground.get_mut(name), flight.leaves(name)) {
                *before = after;
            }
        }
    }

    /// What the client holds of a name, by its answers.
    pub(super) fn ground(&self, name: &str) -> Option<&Before> {
        self.ground.get(name)
    }

    /// The same of all names that it is noted of.
    pub(super) fn grounds(&self) -> &BTreeMap<Arc<str>, Before> {
        &self.ground
    }

    /// The client turns out to hold this.
    pub(super) fn found(&mut self, name: &Arc<str>, held: Before) {
        self.ground.insert(name.clone(), held);
    }

    /// Forgets what is of no use any more; `is_kept` says of which names it is.
    pub(super) fn prune(&mut self, is_kept: impl Fn(&str) -> bool) {
        let Self { unanswered, ground } = self;
        ground.retain(|name, _| is_kept(name) || unanswered.iter().any(|flight| flight.leaves(name).is_some()));
    }

    /// The same of one name.
    pub(super) fn prune_name(&mut self, name: &str, is_kept: bool) {
        if !is_kept && !self.touch(name) {
            self.ground.remove(name);
        }
    }

    /// The client wants only these from now on, and has forgotten all others.
    pub(super) fn keep(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.ground.retain(|name, _| is_wanted(name));
        self.unanswered.iter_mut().for_each(|flight| flight.keep(&is_wanted));
    }

    /// The names that were not wanted any more before they were answered, and are again: the client will hold what it is
    /// about to read, unless it has read it before.
    pub(super) fn regain(&mut self, is_wanted: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let mut carried = Vec::new();
        for flight in self.unanswered.iter_mut().filter(|flight| !flight.dropped.is_empty()) {
            let again: Vec<_> = flight.dropped.extract_if(.., |name| is_wanted(name)).collect();
            again.iter().for_each(|name| _ = self.ground.entry(name.clone()).or_insert(Before::Nothing));
            carried.extend(again.into_iter().filter(|name| flight.carried(name).is_some()));
        }
        carried
    }

    /// Later sets carry what an earlier one did: what goes again needs no other. Of what was at fault it is noted that they
    /// carry it; what `rejected` was noted of before is in none that came after.
    pub(super) fn take_over(&mut self, returned: &mut Vec<Returned>, rejected: &BTreeSet<Arc<str>>) {
        let Some(next) = self.unanswered.first_mut() else { return };
        let again = returned.extract_if(.., |returned| returned.again).map(|returned| returned.sent).collect();
        *next = Flight::new(0, again, BTreeMap::new()).then(next.clone());
        let refused = returned.iter().map(|returned| &returned.sent).filter(|sent| !rejected.contains(sent.name()));
        let refused: Vec<_> = refused.cloned().collect();
        for flight in &mut self.unanswered {
            let mut earlier = Flight::new(0, refused.clone(), BTreeMap::new());
            earlier.refused = refused.iter().map(|sent| sent.name().clone()).collect();
            *flight = earlier.then(flight.clone());
        }
    }

    /// The names of which something is said that is not answered yet; none where that is a whole roll.
    pub(super) fn unanswered(&self) -> Option<BTreeSet<Arc<str>>> {
        let whole = self.unanswered.iter().any(|flight| flight.roll.is_some());
        (!whole).then(|| self.said().cloned().collect())
    }

    /// The same, whatever they are.
    pub(super) fn said(&self) -> impl Iterator<Item = &Arc<str>> {
        self.unanswered.iter().flat_map(Flight::said)
    }

    /// The response of that nonce, if it is not answered yet.
    pub(super) fn of(&self, nonce: u64) -> Option<&Flight> {
        self.unanswered.iter().find(|flight| flight.nonce == nonce)
    }

    /// The next response after that nonce that carries a name and is not answered yet.
    pub(super) fn carried_after(&self, nonce: u64, name: &str) -> Option<u64> {
        let mut later = self.unanswered.iter().filter(|flight| flight.nonce > nonce && !flight.dropped.contains(name));
        later.find(|flight| flight.carried(name).is_some()).map(|flight| flight.nonce)
    }

    /// Whether something is said of a name that is not answered yet.
    pub(super) fn touch(&self, name: &str) -> bool {
        self.unanswered.iter().any(|flight| flight.leaves(name).is_some())
    }

    /// What the client will hold of a name if it accepts everything but what is `barred`.
    pub(super) fn prospect(&self, name: &str, barred: impl Fn(&Arc<Resource>) -> bool) -> Before {
        let mut later = self.unanswered.iter().rev().filter_map(|flight| flight.leaves(name));
        let later = later.find(|held| !matches!(held, Before::Form(form) if barred(form)));
        later.or_else(|| self.ground(name).cloned()).unwrap_or(Before::Nothing)
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
