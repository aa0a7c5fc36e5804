//! A rejection: what was rejected, and who may be at fault by the client's words.

use super::flight::{Flight, units};
use super::{Before, Nack, Unit, message};
use crate::model::provenance::Provenance;
use crate::snapshot::resource::{Resource, Version};
use crate::snapshot::set::Snapshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What a rejected response carried.
pub(super) struct Rejected<'a> {
    pub(super) nack: &'a Nack<'a>,
    /// What is safe of the client's words.
    pub(super) reason: Arc<str>,
    pub(super) unknown: bool,
    pub(super) flight: Flight,
    /// What the client held before.
    pub(super) ground: BTreeMap<Arc<str>, Before>,
    pub(super) now: Instant,
    pub(super) source: &'a Snapshot,
}

/// Who may be at fault.
pub(super) struct Accused {
    /// One of these, if any.
    pub(super) suspects: Vec<Unit>,
    /// All of these.
    pub(super) found: Vec<Unit>,
    /// Whether the client said so.
    pub(super) named: bool,
    /// Whether the client holds everything else.
    pub(super) apart: bool,
}

impl Rejected<'_> {
    pub(super) fn before(&self, name: &str) -> Before {
        match self.ground.get(name) {
            Some(Before::Nothing) | None if self.unknown => Before::Unknown,
            Some(before) => before.clone(),
            None => Before::Nothing,
        }
    }

    fn units_of(&self, sent: &Arc<Resource>) -> Vec<Unit> {
        let newest = self.source.get(self.nack.kind, sent.name());
        units(sent, &self.before(sent.name()), newest)
    }

    /// All that it carried and that would be sent again.
    pub(super) fn units(&self) -> Vec<Unit> {
        let units = self.flight.changed.iter().flat_map(|sent| self.units_of(sent));
        units.filter(|unit| self.is_current(unit)).collect()
    }

    /// What was rejected before and is still what would be sent.
    fn still(&self, name: &str, earlier: &BTreeMap<Arc<str>, Version>) -> Option<Unit> {
        let (name, version) = earlier.get_key_value(name)?;
        // What was applied was not at fault.
        if matches!(self.ground.get(name), Some(Before::Form(form)) if form.version() == *version) {
            return None;
        }
        Some(Unit { name: name.clone(), part: None, version: *version }).filter(|unit| self.is_current(unit))
    }

    /// The objects that shaped a unit, as far as it is still there.
    pub(super) fn sources(&self, unit: &Unit) -> Provenance {
        let newest = || self.source.get(self.nack.kind, &unit.name);
        let Some(resource) = self.flight.carried(&unit.name).or_else(newest) else { return Provenance::default() };
        let part = unit.part.as_ref().and_then(|part| resource.fragments()?.get(part));
        part.map_or_else(|| resource.sources().cloned().collect(), |part| part.provenance().clone())
    }

    /// Whether it was accepted before: sent again, it is not what is at fault.
    fn holds(&self, sent: &Resource) -> bool {
        matches!(self.ground.get(&**sent.name()), Some(Before::Form(form)) if form.version() == sent.version())
    }

    /// Whether it carried anything that the client had not accepted before.
    pub(super) fn brings_news(&self) -> bool {
        self.flight.changed.iter().any(|sent| !self.holds(sent))
    }

    /// Whether a unit is what would be sent again.
    pub(super) fn is_current(&self, unit: &Unit) -> bool {
        unit.is_in(self.source.get(self.nack.kind, &unit.name))
    }

    /// Who it may have been, by the client's words.
    /// `earlier`: what was rejected before, and may have been in the response unchanged.
    pub(super) fn accused(&self, earlier: &BTreeMap<Arc<str>, Version>) -> Accused {
        let known = |name: &str| self.flight.carried(name).is_some() || earlier.contains_key(name);
        let accusation = message::read(self.nack.kind, self.nack.message, known);
        let (mut suspects, mut found) = (Vec::new(), Vec::new());
        for name in &accusation.names {
            let Some(sent) = self.flight.carried(name) else {
                found.extend(self.still(name, earlier));
                continue;
            };
            let units = self.units_of(sent);
            let host = accusation.host.and_then(|host| sent.fragments()?.iter().nth(host));
            let exact = host.and_then(|host| units.iter().find(|unit| unit.part.as_ref() == Some(host.name())));
            match (exact, &units[..]) {
                (Some(unit), _) | (None, [unit]) => found.push(unit.clone()),
                _ => suspects.extend(units),
            }
        }
        // Who is refused apart has a name, if only that of something that was sent before.
        if accusation.names.is_empty() && !accusation.apart {
            // Clusters and listeners that it holds were asked for again, and are in the next set whatever it says. Of others
            // what it accepted before is sent again with its owner, and is hardly what is at fault among things that are new.
            let is_whole = self.nack.kind.is_whole_set();
            let any_held = is_whole || self.brings_news();
            let new = self.flight.changed.iter().filter(|sent| !(any_held && self.holds(sent)));
            suspects = new.flat_map(|sent| self.units_of(sent)).collect();
        }
        // Who is alone is at fault, if only in a form that is not what would be sent next.
        if suspects.len() == 1 {
            found.append(&mut suspects);
        }
        Accused { suspects, found, named: !accusation.names.is_empty(), apart: accusation.apart }
    }
}
