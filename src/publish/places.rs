//! Where each seated proxy belongs: a tracked computation like any other.

use super::dependents::Dependents;
use crate::model::audience::{Placement, ProxyFacts, Subject};
use crate::model::tracked::Tracked;
use crate::model::world::{Key, World};
use crate::snapshot::board::Seats;
use std::collections::{BTreeMap, BTreeSet};

/// Placements of seated proxies.
#[derive(Default)]
pub struct Places {
    placements: BTreeMap<ProxyFacts, Option<Placement>>,
    readers: Dependents<ProxyFacts>,
}

impl Places {
    /// Follows World and seats; returns the proxies whose placement is new, and those that joined.
    pub fn update(
        &mut self,
        world: &World,
        touched: &BTreeSet<Key>,
        seats: &Seats,
    ) -> Vec<(ProxyFacts, Option<Placement>)> {
        for facts in seats.left.iter().chain(&seats.joined) {
            self.placements.remove(facts);
            self.readers.forget(facts);
        }
        let touched = self.readers.touched(touched).into_iter();
        let again: BTreeSet<ProxyFacts> = touched.chain(&seats.joined).cloned().collect();
        again.into_iter().filter_map(|facts| self.place(world, facts)).collect()
    }

    fn place(&mut self, world: &World, facts: ProxyFacts) -> Option<(ProxyFacts, Option<Placement>)> {
        let tracked = Tracked::new(world);
        let placement = Placement::of(&tracked, &facts);
        self.readers.record(&facts, tracked.into_reads());
        let old = self.placements.insert(facts.clone(), placement.clone());
        (old.as_ref() != Some(&placement)).then_some((facts, placement))
    }

    /// Where a proxy belongs.
    pub fn get(&self, facts: &ProxyFacts) -> Option<&Placement> {
        self.placements.get(facts)?.as_ref()
    }

    /// Everyone something is computed for.
    pub fn subjects(&self) -> BTreeSet<Subject> {
        let placements = self.placements.values().flatten();
        placements
            .flat_map(|placement| {
                [Subject::Audience(placement.audience.clone()), Subject::Workload(placement.workload.clone())]
            })
            .collect()
    }
}
