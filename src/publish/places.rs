//! Where each seated proxy belongs: a tracked computation like any other.

use super::dependents::Dependents;
use crate::model::audience::{Placement, ProxyFacts, Subject};
use crate::model::tracked::Tracked;
use crate::model::world::{Key, World};
use std::collections::{BTreeMap, BTreeSet};

/// Placements of seated proxies.
#[derive(Default)]
pub struct Places {
    placements: BTreeMap<ProxyFacts, Option<Placement>>,
    readers: Dependents<ProxyFacts>,
    left: bool,
}

impl Places {
    /// Follows World and seats (none: the same as before); returns the proxies whose placement is new.
    pub fn update(
        &mut self,
        world: &World,
        touched: &BTreeSet<Key>,
        seated: Option<&BTreeSet<ProxyFacts>>,
    ) -> Vec<(ProxyFacts, Option<Placement>)> {
        self.left = false;
        let joined = seated.map(|seated| self.follow(seated)).unwrap_or_default();
        let mut again: BTreeSet<ProxyFacts> = self.readers.touched(touched).into_iter().cloned().collect();
        again.extend(joined);
        again.into_iter().filter_map(|facts| self.place(world, facts)).collect()
    }

    /// Forgets who left; returns who joined.
    fn follow(&mut self, seated: &BTreeSet<ProxyFacts>) -> Vec<ProxyFacts> {
        let left: Vec<_> = self.placements.keys().filter(|facts| !seated.contains(*facts)).cloned().collect();
        self.left |= !left.is_empty();
        for facts in left {
            self.placements.remove(&facts);
            self.readers.forget(&facts);
        }
        seated.iter().filter(|facts| !self.placements.contains_key(*facts)).cloned().collect()
    }

    fn place(&mut self, world: &World, facts: ProxyFacts) -> Option<(ProxyFacts, Option<Placement>)> {
        let tracked = Tracked::new(world);
        let placement = Placement::of(&tracked, &facts);
        self.readers.record(&facts, tracked.into_reads());
        let old = self.placements.insert(facts.clone(), placement.clone());
        (old.as_ref() != Some(&placement)).then_some((facts, placement))
    }

    /// Whether the last update saw a proxy leave.
    pub fn left(&self) -> bool {
        self.left
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
