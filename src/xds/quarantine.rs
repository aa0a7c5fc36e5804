//! What a stream holds back after a rejection: exactly what was at fault, a resource or one fragment of it, until it has a
//! new version. Everything else goes on.
//!
//! Envoy's words name the culprit, or it is looked for by halves. The stream is told what it accepted last in place of what
//! is held back; where that isn't known, nothing is said. Pure: told of responses and answers, it says what is barred. It
//! bars bytes that were not rejected only while it looks for those that were, and a stream that rejects whatever it is
//! sent is soon sent nothing.

mod abandoned;
mod barred;
pub mod barrier;
mod culprits;
mod flight;
mod held;
pub(super) mod message;
mod rejected;
mod returned;
mod search;
mod unit;
mod verdict;

use super::request::Wire;
use super::session::rejection::safe;
use super::session::unsettled::Names;
use super::session::view::View;
use crate::model::provenance::Provenance;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Resource, Version};
use crate::snapshot::set::Snapshot;
use abandoned::Abandoned;
use barred::Barred;
use barrier::Barriers;
use culprits::Culprits;
use flight::Flights;
use held::Held;
use rejected::Rejected;
use search::{Search, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use flight::Flight;
pub(super) use returned::{Consequence, Returned};
pub use unit::Unit;

/// How long a kind stands still for the search, should the client not answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long until something of it is sent, should the connection take nothing: longer than a dead one is there.
const ROOM: Duration = Duration::from_secs(60);

/// What the client held of a name before it was sent what it rejected.
#[derive(Clone, Debug)]
pub(super) enum Before {
    /// This, which it accepted.
    Form(Arc<Resource>),
    /// Nothing.
    Nothing,
    /// Perhaps something from an earlier stream.
    Unknown,
}

/// Something that is held back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charge {
    /// What.
    pub unit: Unit,
    /// Whether it was found at fault; else it is one of several that were rejected together.
    pub found: bool,
    /// What the client said.
    pub reason: Arc<str>,
    /// The objects that shaped it.
    pub sources: Provenance,
    /// When.
    pub at: Instant,
}

/// A rejection as the session sees it.
pub(super) struct Nack<'a> {
    pub(super) kind: Kind,
    pub(super) nonce: u64,
    pub(super) message: &'a str,
    /// Whether the client is one of SotW that came with something from another stream.
    pub(super) came: bool,
}

/// Everything that is held back on a stream.
pub type Charges = Vec<(Kind, Arc<Charge>)>;

/// Names that were barred and are no more, of which the client may hold either form.
pub(super) type Released = Vec<(Kind, Arc<str>)>;

/// One stream's quarantine.
#[derive(Debug)]
pub(super) struct Quarantine {
    wire: Wire,
    wards: [Ward; Kind::ALL.len()],
    /// Whether what is barred may have changed.
    stirred: bool,
    /// Whether any ward is [troubled](Ward::is_troubled). Hardly any stream's is, and then there is nothing to look at.
    troubled: bool,
    /// What is held back, as it was told last.
    told: Option<Arc<Charges>>,
    /// How many names were looked at, to find out what is barred.
    looks: u64,
}

/// One kind's part of it.
#[derive(Debug, Default)]
struct Ward {
    flights: Flights,
    held: BTreeMap<Arc<str>, Held>,
    barred: Barred,
    search: Option<Box<Search>>,
    abandoned: Abandoned,
    /// In Delta: what the client may hold that it does not state on its next stream.
    unsettled: Names,
    /// The version that was rejected last of each name, unless another has been accepted since.
    rejected: BTreeMap<Arc<str>, Version>,
    /// What may have been applied of something that was rejected, while a later response that carries it is not answered.
    unsure: BTreeSet<Arc<str>>,
    /// Whether anything was accepted on this stream.
    accepted: bool,
    /// How many rejections there were without anything accepted, and how many there may be.
    strikes: u32,
    allowed: u32,
}

impl Quarantine {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, wards: Default::default(), stirred: false, troubled: false, told: None, looks: 0 }
    }

    /// A response was sent.
    pub(super) fn on_sent(&mut self, kind: Kind, flight: Flight, now: Instant) {
        let ward = &mut self.wards[kind as usize];
        let carried = |unit: &Unit| flight.carried(&unit.name).is_some();
        if ward.search.as_mut().is_some_and(|search| search.is_sent_first(carried)) {
            ward.search.iter_mut().for_each(|search| search.until = now + PATIENCE);
        }
        flight.absent.iter().for_each(|name| _ = ward.rejected.remove(name));
        ward.touch(&flight);
        if let Some(forgotten) = ward.flights.push(flight) {
            ward.touch(&forgotten);
            ward.doubt(&forgotten, self.wire);
            ward.prune();
        }
    }

    /// A whole set also takes away what is in an earlier one that is not answered yet and is not in this.
    pub(super) fn leave_out(&self, flight: &mut Flight, kind: Kind, is_in_set: impl Fn(&str) -> bool) {
        self.wards[kind as usize].flights.leave_out(flight, is_in_set);
    }

    /// Whether an ACK proves nothing, and what was said before: Envoy remembers the bytes of a secret before it reads them, so
    /// it accepts what it has just rejected without a look.
    pub(super) fn doubts(&self, kind: Kind, nonce: u64) -> Option<Arc<str>> {
        let ward = &self.wards[kind as usize];
        let flight = ward.flights.of(nonce).filter(|_| kind == Kind::Secret)?;
        let charge = flight.changed.iter().find_map(|sent| ward.held.get(sent.name())?.charge_of(sent))?;
        Some(charge.reason.clone())
    }

    /// A response was accepted. Returns what it carried that the client had rejected before: it holds it after all.
    pub(super) fn on_ack(&mut self, kind: Kind, nonce: u64, now: Instant) -> Vec<Arc<Resource>> {
        let ward = &mut self.wards[kind as usize];
        let Some(flight) = ward.flights.take(nonce, self.wire) else { return Vec::new() };
        (ward.strikes, ward.accepted) = (0, true);
        ward.unsettled.settle(flight.said());
        if !ward.is_troubled() && ward.flights.settle() {
            return flight.surprises();
        }
        ward.flights.accept(&flight);
        self.stirred |= ward.is_heard();
        ward.touch(&flight);
        for sent in flight.all() {
            ward.rejected.remove(sent.name());
            ward.unsure.remove(sent.name());
            if let Some(held) = ward.held.get_mut(sent.name()) {
                held.absolve(sent);
                (self.stirred, self.told) = (true, None);
            }
        }
        let carried = |unit: &Unit| flight.carried(&unit.name).is_some();
        if ward.search.as_mut().is_some_and(|search| search.clear(carried)) {
            // A client that answers may take its time.
            ward.search.iter_mut().for_each(|search| search.until = now + ROOM);
            ward.go_on();
            (self.stirred, self.told) = (true, None);
        }
        ward.prune_names(flight.said());
        flight.surprises()
    }

    /// The client wants these of a kind from now on; `less`: and not all that it wanted before. Returns those of which it
    /// may hold what is in flight, since it did not want them for a time.
    pub(super) fn keep(&mut self, kind: Kind, less: bool, is_wanted: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let ward = &mut self.wards[kind as usize];
        if less {
            self.told = None;
            ward.barred.touch_all();
            self.stirred |= !ward.held.is_empty();
            ward.flights.keep(&is_wanted);
            let still = ward.search.as_ref().map(|search| search.still.clone());
            self.stirred |= still.is_some_and(|still| ward.start_over(&still, |unit| is_wanted(&unit.name)));
            // What was only suspected is suspected no more: nobody will look for it.
            ward.unsettled.keep(&is_wanted);
            ward.unsure.retain(|name| is_wanted(name));
            let drops = ward.held.keys().any(|name| !is_wanted(name));
            let unwanted = ward.held.iter_mut().filter(|(name, _)| !is_wanted(name));
            unwanted.for_each(|(_, held)| held.forget_suspicions());
            // What was at fault may be among what it dropped: of a search that was given up the rest is tried.
            self.stirred |= drops && ward.is_heard();
        }
        let again = ward.flights.regain(is_wanted);
        if !again.is_empty() {
            ward.barred.touch_all();
        }
        again
    }

    /// A response was rejected.
    pub(super) fn on_nack(&mut self, nack: &Nack<'_>, view: &View, now: Instant) -> Consequence {
        let ward = &mut self.wards[nack.kind as usize];
        let Some(flight) = ward.flights.take_rejected(nack.nonce, self.wire).map(Flight::unrolled) else {
            return Consequence::default();
        };
        ward.doubt(&flight, self.wire);
        if nack.kind.is_whole_set() {
            // What is removed of clusters and listeners is removed all the same.
            flight.absent.iter().for_each(|name| ward.flights.found(name, Before::Nothing));
        }
        (self.troubled, self.told) = (true, None);
        ward.barred.touch_all();
        if flight.changed.is_empty() {
            ward.prune();
            return Consequence::default();
        }
        let (ground, refused) = (ward.flights.grounds().clone(), flight.refused.clone());
        self.stirred = true;
        // Until it has accepted a set on this stream, it may hold what nobody told it of here.
        let unknown = nack.came && !ward.accepted;
        // One text, however many are suspected.
        let reason = safe(nack.message).into();
        let rejected = Rejected { nack, reason, unknown, flight, ground, now, source: view.source(nack.kind) };
        let mut consequence = match nack.kind.is_whole_set() && unknown {
            true => ward.tolerate(rejected),
            false => ward.isolate(rejected),
        };
        if self.wire == Wire::Sotw && nack.kind.is_whole_set() {
            // A later set in flight carries what is not at fault, and is answered for it.
            ward.flights.take_over(&mut consequence.returned, &refused);
        }
        ward.prune();
        consequence
    }

    /// The names of a kind of which the client has not answered what it was sent; none where that is everything.
    pub(super) fn unanswered(&self, kind: Kind) -> Option<BTreeSet<Arc<str>>> {
        self.wards[kind as usize].flights.unanswered()
    }

    /// What the client may hold of a kind that it does not state on its next stream, but for what is unanswered.
    pub(super) fn unsettled(&mut self, kind: Kind) -> &mut Names {
        &mut self.wards[kind as usize].unsettled
    }

    /// The same with what is unanswered, of which it may have rejected anything.
    pub(super) fn unsettled_yet(&self, kind: Kind) -> Names {
        let Ward { unsettled, flights, .. } = &self.wards[kind as usize];
        let mut names = unsettled.clone();
        if self.wire == Wire::Delta {
            names.extend(flights.said());
        }
        names
    }

    /// The next response after that nonce that carries a name and is not answered yet.
    pub(super) fn carried_after(&self, kind: Kind, nonce: u64, name: &str) -> Option<u64> {
        self.wards[kind as usize].flights.carried_after(nonce, name)
    }

    /// What the client holds of one of those names.
    pub(super) fn ground(&self, kind: Kind, name: &str) -> Option<&Before> {
        self.wards[kind as usize].flights.ground(name)
    }

    /// A search that has nothing to send goes on.
    pub(super) fn skip(&mut self, kind: Kind) {
        let ward = &mut self.wards[kind as usize];
        if let Some(search) = &mut ward.search {
            search.give_up_on_tried();
            ward.go_on();
            (self.stirred, self.told) = (true, None);
        }
    }

    /// The kinds in which a culprit is looked for.
    pub(super) fn searched(&self) -> impl Iterator<Item = Kind> {
        let kinds = Kind::ALL.into_iter().filter(|_| self.troubled);
        kinds.filter(|kind| self.wards[*kind as usize].search.is_some())
    }

    /// What is barred now, and the names that were barred and are no more, of which the client may hold either form.
    pub(super) fn barriers(&mut self, newest: &Snapshot, now: Instant) -> (Option<Arc<Barriers>>, Released) {
        self.stirred = false;
        if !self.troubled {
            return (None, Released::new());
        }
        let (mut barriers, mut released) = (Barriers::default(), Vec::new());
        for (kind, ward) in Kind::ALL.into_iter().zip(&mut self.wards) {
            ward.keep_time(kind, newest, now);
            if !ward.is_troubled() {
                continue;
            }
            if ward.search.as_mut().is_some_and(|search| search.has_news(kind, newest)) {
                ward.start_over(newest, |unit| unit.is_in(newest.get(kind, &unit.name)));
            }
            let still = ward.search.as_ref().map(|search| search.still.clone());
            let tolerant = self.wire == Wire::Sotw && kind.is_whole_set();
            let (names, looks) = ward.look_again(kind, still.as_ref().unwrap_or(newest), tolerant);
            released.extend(names.into_iter().map(|name| (kind, name)));
            self.looks += looks as u64;
            self.told.take_if(|_| looks > 0);
            barriers.bar(kind, ward.barred.by_name());
            still.into_iter().for_each(|still| barriers.stand_still(kind, still));
        }
        self.troubled = self.wards.iter().any(Ward::is_troubled);
        ((!barriers.is_empty()).then(|| Arc::new(barriers)), released)
    }

    /// Whether [`Quarantine::barriers`] may say something else than before.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.stirred || self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// When a search is given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let wards = self.wards.iter().filter(|_| self.troubled);
        wards.filter_map(|ward| Some(ward.search.as_ref()?.until)).min()
    }

    /// What of a kind is held back.
    pub(super) fn charges(&self, kind: Kind) -> impl Iterator<Item = &Arc<Charge>> {
        self.wards[kind as usize].held.values().flat_map(|held| held.charges.values())
    }

    /// What is held back of all kinds: the same allocation as long as that has not changed; none if it is nothing.
    pub(super) fn all_charges(&mut self) -> Option<Arc<Charges>> {
        if self.told.is_none() && self.troubled {
            let kinds = Kind::ALL.into_iter();
            let all = kinds.flat_map(|kind| self.charges(kind).map(move |charge| (kind, charge.clone()))).collect();
            self.told = Some(Arc::new(all));
        }
        self.told.clone().filter(|charges| !charges.is_empty())
    }

    /// How many names were looked at, to find out what is barred.
    pub(super) fn looks(&self) -> u64 {
        self.looks
    }
}

impl Ward {
    /// Whether anything is held back, looked for or remembered as rejected.
    fn is_troubled(&self) -> bool {
        self.search.is_some() || !self.held.is_empty() || !self.rejected.is_empty()
    }

    /// A search among things of which one is not there any more, or not wanted, may look for just that: those that stay are
    /// tried all together.
    fn start_over(&mut self, still: &Snapshot, stays: impl Fn(&Unit) -> bool) -> bool {
        if let Some(search) = self.search.take_if(|search| !search.units().all(&stays)) {
            let until = search.until;
            let open = search.into_units().filter(stays).collect();
            self.search = Search::of(Vec::new(), open, still, until).map(Box::new);
            self.go_on();
            return true;
        }
        false
    }

    /// The client may have applied a part of this, which it does not state when it comes back.
    fn doubt(&mut self, flight: &Flight, wire: Wire) {
        if wire == Wire::Delta {
            self.unsettled.extend(flight.said());
        }
    }

    /// Forgets what is of no use any more.
    fn prune(&mut self) {
        let Self { flights, held, rejected, .. } = self;
        flights.prune(|name| held.contains_key(name) || rejected.contains_key(name));
    }

    /// The same of these names alone.
    fn prune_names<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        let Self { flights, held, rejected, .. } = self;
        let is_kept = |name: &str| held.contains_key(name) || rejected.contains_key(name);
        names.for_each(|name| flights.prune_name(name, is_kept(name)));
    }

    /// Something is said of these, or was answered.
    fn touch(&mut self, flight: &Flight) {
        if !self.held.is_empty() {
            let held = flight.said().filter(|name| self.held.contains_key(*name));
            held.for_each(|name| self.barred.touch(name));
        }
    }

    /// These are at fault, wherever they are.
    fn convict(&mut self, culprits: &Culprits<'_>) {
        let charges = self.held.values_mut().flat_map(|held| held.charges.values_mut());
        let suspects = charges.filter(|charge| !charge.found && culprits.include(&charge.unit));
        suspects.for_each(|charge| Arc::make_mut(charge).found = true);
    }

    /// What is to be tried now is not held back; what the search has found is at fault.
    fn go_on(&mut self) {
        let Some(mut search) = self.search.take() else { return };
        while let Some(Step::Found(unit)) = search.step() {
            self.convict(&Culprits::new(&[unit]));
        }
        for unit in search.tried() {
            if let Some(held) = self.held.get_mut(&unit.name) {
                held.charges.remove(&unit.part);
                self.barred.touch(&unit.name);
            }
        }
        self.search = (!search.is_over()).then_some(search);
    }
}
