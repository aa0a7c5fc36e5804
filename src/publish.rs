//! Publishing: on a new World, recompute what the change reaches for everyone who sits at the board.
//!
//! [`Engine`] is pure: Worlds and seats in, layers and problems out. It never scans what it has computed; touched
//! look-up keys select the work. [`run`] is the loop around it.

mod checks;
mod dependents;
mod half;
mod memo;
mod places;
pub mod run;

use crate::model::audience::{Placement, ProxyFacts, Subject};
use crate::model::problem::Problem;
use crate::model::world::{Key, World};
use crate::snapshot::board::Seats;
use crate::snapshot::lint::Violation;
use crate::snapshot::set::Layer;
use crate::translate::unit::Unit;
use checks::Checks;
use dependents::Dependents;
use half::Half;
use memo::Memo;
use places::Places;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something computed: a unit for a subject.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Computation {
    /// For whom.
    pub subject: Subject,
    /// What.
    pub unit: Unit,
}

/// What one step changed and cost.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Proxies that joined, or belong elsewhere now; none where the Pod is not known.
    pub placed: Vec<(ProxyFacts, Option<Placement>)>,
    /// Layers that differ from those last returned.
    pub posts: Vec<(Subject, Arc<Layer>)>,
    /// Subjects for which nobody sits any more.
    pub forgotten: Vec<Subject>,
    /// What was selected again.
    pub recomputed: Vec<Computation>,
    /// How many resources and virtual hosts were built and encoded.
    pub built: usize,
    /// Whether [`Engine::problems`] may answer differently.
    pub problems_changed: bool,
    /// Faults of ours that kept a layer from being posted.
    pub violations: Vec<Violation>,
}

/// The incremental translator: what has been computed, for whom, and from which look-ups.
#[derive(Default)]
pub struct Engine {
    world: World,
    places: Places,
    checks: Checks,
    halves: BTreeMap<Subject, Half>,
    readers: Dependents<Computation>,
    memo: Memo,
}

impl Engine {
    /// Moves to `world`, with the proxies that came and went.
    pub fn advance(&mut self, world: &World, seats: &Seats) -> Outcome {
        let touched = world.touched_since(&self.world);
        self.world = world.clone();
        let mut outcome = Outcome { placed: self.places.update(world, &touched, seats), ..Outcome::default() };
        outcome.problems_changed = self.checks.update(world, &touched);
        if !outcome.placed.is_empty() || !seats.left.is_empty() {
            self.follow_subjects(&mut outcome);
        }
        self.recompute(self.work(&touched), &mut outcome);
        outcome
    }

    /// Mistakes in objects, as far as they show in what is computed; sorted.
    pub fn problems(&self) -> BTreeSet<Problem> {
        let computed = self.halves.values().flat_map(Half::problems);
        self.checks.problems().chain(computed).cloned().collect()
    }

    /// Where a seated proxy belongs.
    pub fn placement(&self, facts: &ProxyFacts) -> Option<&Placement> {
        self.places.get(facts)
    }

    /// The layer of a subject, if somebody sits for it.
    pub fn layer(&self, subject: &Subject) -> Option<&Layer> {
        self.halves.get(subject).map(Half::layer)
    }

    /// What a computation read when it was last done.
    pub fn reads(&self, computation: &Computation) -> Option<&BTreeSet<Key>> {
        self.readers.reads(computation)
    }

    /// Every computation there is, sorted.
    pub fn computations(&self) -> impl Iterator<Item = &Computation> {
        self.readers.ids()
    }

    fn follow_subjects(&mut self, outcome: &mut Outcome) {
        let live = self.places.subjects();
        outcome.forgotten = self.halves.keys().filter(|subject| !live.contains(*subject)).cloned().collect();
        for subject in &outcome.forgotten {
            if let Some(half) = self.halves.remove(subject) {
                outcome.problems_changed |= half.problems().next().is_some();
                half.dissolve(subject, &mut self.readers, &mut self.memo);
            }
        }
        for subject in live {
            self.halves.entry(subject).or_default();
        }
    }

    /// The units to select again, by subject; everything, for a subject that is new.
    fn work(&self, touched: &BTreeSet<Key>) -> BTreeMap<Subject, BTreeSet<Unit>> {
        let mut work: BTreeMap<Subject, BTreeSet<Unit>> = BTreeMap::new();
        for computation in self.readers.touched(touched) {
            work.entry(computation.subject.clone()).or_default().insert(computation.unit.clone());
        }
        for (subject, _) in self.halves.iter().filter(|(_, half)| half.is_new()) {
            work.insert(subject.clone(), BTreeSet::from([Unit::Roots]));
        }
        work
    }

    fn recompute(&mut self, work: BTreeMap<Subject, BTreeSet<Unit>>, outcome: &mut Outcome) {
        let built = self.memo.built();
        for (subject, units) in work {
            let Some(half) = self.halves.get_mut(&subject) else { continue };
            let mut step = half::Step {
                world: &self.world,
                subject: &subject,
                readers: &mut self.readers,
                memo: &mut self.memo,
                outcome,
            };
            half.update(units, &mut step);
        }
        outcome.built = self.memo.built() - built;
    }
}
