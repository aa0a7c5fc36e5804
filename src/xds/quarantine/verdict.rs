//! What follows from a rejection: who is at fault or may be, what is held back, and what of the response goes again.

use super::abandoned::Abandoned;
use super::culprits::Culprits;
use super::rejected::{Accused, Rejected};
use super::search::Search;
use super::{Before, Charge, Consequence, ROOM, Returned, Unit, Ward, message};
use crate::snapshot::resource::Resource;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whether the client applied something of a response that it rejected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Refused,
    Applied,
    Perhaps,
}

impl Ward {
    /// The client has rejected this.
    pub(super) fn isolate(&mut self, rejected: Rejected<'_>) -> Consequence {
        let Accused { mut suspects, mut found, named, apart } = rejected.accused(&self.rejected);
        let mut open = self.untried();
        // What was found at fault while this was on its way is so in this, too, and no other has to be.
        let known: Vec<_> = suspects.extract_if(.., |unit| self.is_at_fault(unit)).collect();
        if !known.is_empty() {
            found.extend(known);
            open.append(&mut suspects);
        }
        let culprits = Culprits::new(&found);
        let (mut suspects, superseded): (Vec<_>, Vec<_>) =
            suspects.into_iter().partition(|unit| rejected.is_current(unit));
        if !superseded.is_empty() {
            // Perhaps it was one of those, of which there is another version now.
            open.append(&mut suspects);
        }
        // Who names a culprit needs no search, and is not at its end; unless it was not even sent it.
        let sent = |unit: &Unit| rejected.flight.carried(&unit.name).is_some();
        let patient = (named && found.iter().any(sent)) || self.strike(&rejected, suspects.len() + open.len());
        let innocent = |unit: &Unit| !culprits.include(unit);
        let (others, charged): (Vec<_>, Vec<_>) = rejected.units().into_iter().partition(innocent);
        let charged: BTreeSet<_> = charged.into_iter().collect();
        let again = found.iter().filter(|unit| rejected.is_current(unit) && !charged.contains(*unit));
        again.chain(&charged).for_each(|unit| self.hold(&rejected, unit, true));
        self.convict(&culprits);
        if patient {
            suspects.retain(innocent);
            open.retain(innocent);
            suspects.iter().chain(&open).for_each(|unit| self.hold(&rejected, unit, false));
            let until = rejected.now + ROOM;
            self.search = Search::of(suspects, open, rejected.source, until).map(Box::new);
            self.go_on();
        } else {
            others.iter().for_each(|unit| self.hold(&rejected, unit, false));
            self.abandoned = Abandoned::Yes;
        }
        let is_whole = rejected.nack.kind.is_whole_set();
        let fate = |sent: &Arc<Resource>| match (culprits.has(sent.name()), apart) {
            (true, _) => Fate::Refused,
            (false, true) => Fate::Applied,
            // Clusters and listeners are read before any is applied; of others those before the culprit are applied.
            (false, false) if is_whole => Fate::Refused,
            (false, false) => Fate::Perhaps,
        };
        let returned = rejected.flight.changed.iter();
        let returned = returned.filter_map(|sent| self.returned(sent, rejected.before(sent.name()), fate(sent)));
        let mut returned: Vec<_> = returned.collect();
        let (brings_news, flight) = (rejected.brings_news(), &rejected.flight);
        for returned in &mut returned {
            // At the end of patience nothing goes again for its own sake.
            returned.again &= patient && (is_whole || brings_news);
            returned.owed |= brings_news && flight.is_awaited(returned.sent.name()) && returned.is_known();
        }
        let lost = rejected.flight.absent.iter().filter(|name| !is_whole && !self.flights.touch(name));
        Consequence { returned, unsaid: lost.cloned().collect(), apart: None }
    }

    /// Whether a unit was found at fault, and is held back.
    fn is_at_fault(&self, unit: &Unit) -> bool {
        let charge = self.held.get(&unit.name).and_then(|held| held.charges.get(&unit.part));
        charge.is_some_and(|charge| charge.found && charge.unit == *unit)
    }

    /// One rejection more, of so many things; whether the culprit is still looked for. What was not sent before does not
    /// suffer for what was.
    fn strike(&mut self, rejected: &Rejected<'_>, count: usize) -> bool {
        let is_new =
            |sent: &Arc<Resource>| self.rejected.get(sent.name()).is_none_or(|version| *version != sent.version());
        if self.strikes == 0 || rejected.flight.changed.iter().any(is_new) {
            self.strikes = 0;
            self.allowed = usize::BITS - count.saturating_sub(1).leading_zeros() + 1;
        }
        self.strikes += 1;
        self.strikes <= self.allowed
    }

    /// What is held back is taken back, and what was at fault, even if there is another version of it now; and everything
    /// where nothing was applied.
    fn returned(&mut self, sent: &Arc<Resource>, before: Before, fate: Fate) -> Option<Returned> {
        let before = if fate == Fate::Applied { Before::Form(sent.clone()) } else { before };
        self.flights.found(sent.name(), before.clone());
        if let (Fate::Applied, Some(held)) = (fate, self.held.get_mut(sent.name())) {
            held.absolve(sent);
        }
        // What was said meanwhile is answered for itself; should that be rejected as well, either may be there.
        if self.flights.touch(sent.name()) {
            self.unsure.extend((fate == Fate::Perhaps).then(|| sent.name().clone()));
            return None;
        }
        let unsure = self.unsure.remove(sent.name());
        self.rejected.insert(sent.name().clone(), sent.version());
        let again = matches!(fate, Fate::Applied | Fate::Perhaps) && !self.held.contains_key(sent.name());
        let owed = unsure && matches!(before, Before::Form(_));
        Some(Returned { sent: sent.clone(), before, again, owed })
    }

    /// The set goes on as it is: leaving out what was rejected could take away what works.
    pub(super) fn tolerate(&mut self, rejected: Rejected<'_>) -> Consequence {
        let known = |name: &str| rejected.flight.carried(name).is_some();
        let accusation = message::read(rejected.nack.kind, rejected.nack.message, known);
        let (mut returned, apart) = (Vec::new(), accusation.apart);
        for sent in &rejected.flight.changed {
            let is_named = accusation.names.contains(&**sent.name());
            if apart && !is_named {
                self.flights.found(sent.name(), Before::Form(sent.clone()));
                continue;
            }
            let before = rejected.before(sent.name());
            self.flights.found(sent.name(), before.clone());
            self.rejected.insert(sent.name().clone(), sent.version());
            if is_named {
                let unit = Unit { name: sent.name().clone(), part: None, version: sent.version() };
                self.hold(&rejected, &unit, true);
                // It holds what it accepted on this stream, if only among what it rejected.
                let known = matches!(before, Before::Form(_)).then(|| self.returned(sent, before, Fate::Refused));
                returned.extend(known.flatten());
            }
        }
        let names = || accusation.names.iter().map(|name| Arc::from(*name)).collect();
        Consequence { returned, unsaid: Vec::new(), apart: apart.then(names) }
    }

    /// Holds something back.
    fn hold(&mut self, rejected: &Rejected<'_>, unit: &Unit, found: bool) {
        let reason = rejected.reason.clone();
        let charge = Charge { unit: unit.clone(), found, reason, sources: rejected.sources(unit), at: rejected.now };
        let charge = Arc::new(charge);
        self.flights.found(&unit.name, rejected.before(&unit.name));
        self.held.entry(unit.name.clone()).or_default().charges.insert(unit.part.clone(), charge);
    }
}
