//! Where each seated proxy belongs: a tracked computation like any other, and who is computed for because of that.

use super::Fault;
use super::dependents::Dependents;
use super::guard::guarded;
use crate::model::audience::{Placement, ProxyFacts, Subject};
use crate::model::tracked::Tracked;
use crate::model::world::{Key, World};
use crate::snapshot::board::Seats;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Placements of seated proxies.
#[derive(Default)]
pub struct Places {
    placements: BTreeMap<ProxyFacts, Option<Placement>>,
    readers: Dependents<ProxyFacts>,
    /// For whom somebody sits, and how many proxies do.
    seated: BTreeMap<Arc<Subject>, usize>,
    /// Subjects whose count was zero or has become zero since the last [`Places::news`], and whether it was zero.
    stirred: BTreeMap<Arc<Subject>, bool>,
}

/// Subjects for which somebody has come to sit, and those for which nobody does any more.
#[derive(Default, Debug)]
pub struct News {
    /// New ones.
    pub come: Vec<Arc<Subject>>,
    /// Those that are gone.
    pub gone: Vec<Arc<Subject>>,
}

impl Places {
    /// Follows World and seats; returns the proxies whose placement is new, and those that joined.
    pub fn update(
        &mut self,
        world: &World,
        touched: &BTreeSet<Key>,
        seats: &Seats,
        faults: &mut Vec<Fault>,
    ) -> Vec<(ProxyFacts, Option<Placement>)> {
        for facts in seats.left.iter().chain(&seats.joined) {
            let placement = self.placements.remove(facts).flatten();
            self.count(placement.as_ref(), false);
            self.readers.forget(facts);
        }
        let touched = self.readers.touched(touched).into_iter();
        let again: BTreeSet<ProxyFacts> = touched.chain(&seats.joined).cloned().collect();
        again.into_iter().filter_map(|facts| self.place(world, facts, faults)).collect()
    }

    fn place(
        &mut self,
        world: &World,
        facts: ProxyFacts,
        faults: &mut Vec<Fault>,
    ) -> Option<(ProxyFacts, Option<Placement>)> {
        let tracked = Tracked::new(world);
        let placement = guarded(|| Placement::of(&tracked, &facts));
        self.readers.record(&facts, &tracked.into_reads());
        // Where that fails, the proxy stays where it was.
        let placement = placement.unwrap_or_else(|text| {
            faults.push(Fault { what: format!("the place of {facts:?}"), text });
            self.placements.get(&facts).cloned().flatten()
        });
        let old = self.placements.insert(facts.clone(), placement.clone());
        self.count(placement.as_ref(), true);
        self.count(old.as_ref().and_then(Option::as_ref), false);
        (old.as_ref() != Some(&placement)).then_some((facts, placement))
    }

    /// One proxy more, or less, belongs there.
    fn count(&mut self, placement: Option<&Placement>, more: bool) {
        let Some(Placement { audience, workload }) = placement else { return };
        for subject in [Subject::Audience(audience.clone()), Subject::Workload(workload.clone())] {
            let subject =
                self.seated.get_key_value(&subject).map_or_else(|| Arc::new(subject), |(known, _)| known.clone());
            let count = self.seated.entry(subject.clone()).or_default();
            if *count == 0 || (*count == 1 && !more) {
                self.stirred.entry(subject.clone()).or_insert(*count == 0);
            }
            *count = if more { *count + 1 } else { *count - 1 };
            if *count == 0 {
                self.seated.remove(&subject);
            }
        }
    }

    /// Who came and who went since the last call.
    pub fn news(&mut self) -> News {
        let mut news = News::default();
        for (subject, was_new) in std::mem::take(&mut self.stirred) {
            match (was_new, self.seated.contains_key(&subject)) {
                (true, true) => news.come.push(subject),
                (false, false) => news.gone.push(subject),
                _ => {}
            }
        }
        news
    }

    /// Where a proxy belongs.
    pub fn get(&self, facts: &ProxyFacts) -> Option<&Placement> {
        self.placements.get(facts)?.as_ref()
    }
}
