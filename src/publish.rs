//! Publishing: on a new World, recompute what the change reaches for everyone who sits at the board.
//!
//! [`Engine`] is pure: Worlds and seats in, layers and problems out. It never scans what it has computed; touched
//! look-up keys select the work. What audiences have in common is computed once, for the common audience; each of them
//! [follows](over) it. [`run`] is the loop around it.

mod checks;
mod dependents;
mod edits;
mod guard;
mod half;
mod interner;
pub mod losses;
mod memo;
mod over;
mod places;
mod post;
pub mod run;

use crate::model::audience::{Placement, ProxyFacts, Subject};
use crate::model::problem::Problem;
use crate::model::provenance::ObjectKey;
use crate::model::tracked::Tracked;
use crate::model::world::{Key, World};
use crate::snapshot::board::Seats;
use crate::snapshot::fragments::Fragments;
use crate::snapshot::lint::{Violation, refusals};
use crate::snapshot::resource::Resource;
use crate::snapshot::set::Layer;
use crate::translate::unit::{Built, Inputs, Selection, Table, Unit};
use crate::translate::{assemble, build, select};
use checks::Checks;
use dependents::Dependents;
use half::{Half, Step};
use losses::Loss;
use memo::Memo;
use over::{Beneath, Concern, common_of};
use places::Places;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Something computed: a unit for a subject.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Computation {
    /// For whom.
    pub subject: Arc<Subject>,
    /// What.
    pub unit: Unit,
}

/// A computation that failed, which is a fault of ours: what it gave before is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What failed.
    pub what: String,
    /// Why.
    pub text: String,
}

/// The steps of translation.
#[derive(Clone, Copy)]
pub struct Translator {
    /// Selects what a unit is built from.
    pub select: fn(&Tracked, &Subject, &Unit) -> Selection,
    /// Builds and encodes it.
    pub build: fn(&Inputs) -> Built,
    /// Assembles a route configuration from its virtual hosts.
    pub assemble: fn(&Table, Fragments) -> Resource,
    /// What Envoy would refuse of a resource by itself.
    pub refusals: fn(&Resource) -> Vec<String>,
}

impl Default for Translator {
    fn default() -> Self {
        Self { select, build, assemble, refusals }
    }
}

/// What one step changed and cost.
#[derive(Default, Debug)]
pub struct Outcome {
    /// Proxies that joined, or belong elsewhere now; none where the Pod is not known.
    pub placed: Vec<(ProxyFacts, Option<Placement>)>,
    /// Layers that differ from those last returned.
    pub posts: Vec<(Arc<Subject>, Arc<Layer>)>,
    /// Subjects for which nobody sits any more.
    pub forgotten: Vec<Arc<Subject>>,
    /// What was selected again.
    pub recomputed: Vec<Computation>,
    /// How many resources and virtual hosts were built and encoded.
    pub built: usize,
    /// How often lint looked something up.
    pub looked_up: usize,
    /// Whether [`Engine::problems`] may answer differently.
    pub problems_changed: bool,
    /// Faults of ours that keep something of a layer from being posted.
    pub violations: Vec<Violation>,
    /// Faults of ours that kept something from being computed.
    pub faults: Vec<Fault>,
    /// Much that is gone at once.
    pub losses: Vec<Loss>,
}

/// The incremental translator: what has been computed, for whom, and from which look-ups.
#[derive(Default)]
pub struct Engine {
    tools: Tools,
    places: Places,
    checks: Checks,
    /// The halves of common audiences, each with those that follow it.
    commons: BTreeMap<Arc<Subject>, Common>,
    /// The halves of everyone somebody sits for.
    halves: BTreeMap<Arc<Subject>, Half>,
}

/// What every computation works with.
#[derive(Default)]
struct Tools {
    translator: Translator,
    world: World,
    /// The objects that have changed.
    changed: Vec<ObjectKey>,
    readers: Dependents<Computation>,
    memo: Memo,
}

/// What audiences have in common, and which do.
#[derive(Default)]
struct Common {
    half: Half,
    followers: BTreeSet<Arc<Subject>>,
}

/// The units to select again, by subject.
type Work = BTreeMap<Arc<Subject>, BTreeSet<Unit>>;

impl Engine {
    /// An engine that translates in its own way: for tests of what happens when translation fails.
    pub fn new(translator: Translator) -> Self {
        Self { tools: Tools { translator, ..Tools::default() }, ..Self::default() }
    }

    /// Moves to `world`, with the proxies that came and went.
    pub fn advance(&mut self, world: &World, seats: &Seats) -> Outcome {
        let touched = world.touched_since(&self.tools.world);
        self.tools.world = world.clone();
        let object = |key: &Key| if let Key::Object(object) = key { Some(object.clone()) } else { None };
        self.tools.changed = touched.iter().filter_map(object).collect();
        let mut outcome = Outcome::default();
        outcome.placed = self.places.update(world, &touched, seats, &mut outcome.faults);
        outcome.problems_changed = self.checks.update(world, &touched, &mut outcome.faults);
        let mut work = Work::new();
        for computation in self.tools.readers.touched(&touched) {
            work.entry(computation.subject.clone()).or_default().insert(computation.unit.clone());
        }
        let news = self.places.news();
        // What those who go have in common with those who come is kept.
        news.come.into_iter().for_each(|subject| self.welcome(subject, &mut work));
        news.gone.iter().for_each(|subject| self.forget(subject, &mut outcome));
        outcome.forgotten = news.gone;
        self.retry(&mut work);
        self.recompute(work, &mut outcome);
        outcome
    }

    /// Mistakes in objects, as far as they show in what is computed; sorted.
    pub fn problems(&self) -> BTreeSet<Problem> {
        let halves = self.halves.values().chain(self.commons.values().map(|common| &common.half));
        self.checks.problems().chain(halves.flat_map(Half::problems)).cloned().collect()
    }

    /// The policies that proxies don't have as the World has them, because a fault of ours keeps something back or kept it from
    /// being computed. Costs nothing to speak of while there is no such fault.
    pub fn kept_back(&self) -> BTreeSet<ObjectKey> {
        let commons = self.commons.iter().map(|(subject, common)| (subject, &common.half));
        let kept = self.halves.iter().chain(commons).flat_map(|(subject, half)| {
            half.kept_back(|unit| {
                let reads = self.reads(&Computation { subject: subject.clone(), unit: unit.clone() });
                reads.iter().flat_map(|key| self.behind(key)).collect()
            })
        });
        kept.filter(|key| key.kind.is_policy()).collect()
    }

    /// Whether anything is held back because Envoy would refuse it.
    pub fn holds_back(&self) -> bool {
        let commons = self.commons.values().map(|common| &common.half);
        self.halves.values().chain(commons).any(Half::holds_back)
    }

    /// The objects that a look-up finds.
    fn behind(&self, key: &Key) -> Vec<ObjectKey> {
        match key {
            Key::Object(key) => vec![key.clone()],
            index => self.tools.world.found(index).cloned().collect(),
        }
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
    pub fn reads(&self, computation: &Computation) -> BTreeSet<Key> {
        self.tools.readers.reads(computation)
    }

    /// Every computation there is, sorted.
    pub fn computations(&self) -> impl Iterator<Item = &Computation> {
        self.tools.readers.ids()
    }

    /// Somebody sits for a subject for the first time.
    fn welcome(&mut self, subject: Arc<Subject>, work: &mut Work) {
        match common_of(&subject) {
            None => _ = work.entry(subject.clone()).or_default().insert(Unit::Roots),
            Some((common, _)) => {
                let common = Arc::new(common);
                let known = self.commons.contains_key(&common);
                self.commons.entry(common.clone()).or_default().followers.insert(subject.clone());
                if !known {
                    work.entry(common).or_default().insert(Unit::Roots);
                }
                work.entry(subject.clone()).or_default();
            }
        }
        self.halves.insert(subject, Half::default());
    }

    /// Nobody sits for a subject any more.
    fn forget(&mut self, subject: &Arc<Subject>, outcome: &mut Outcome) {
        let half = self.halves.remove(subject).unwrap_or_default();
        self.dissolve(half, subject, outcome);
        let Some((common, _)) = common_of(subject) else { return };
        let Some(held) = self.commons.get_mut(&common) else { return };
        held.followers.remove(subject);
        if held.followers.is_empty()
            && let Some((subject, common)) = self.commons.remove_entry(&common)
        {
            self.dissolve(common.half, &subject, outcome);
        }
    }

    fn dissolve(&mut self, half: Half, subject: &Arc<Subject>, outcome: &mut Outcome) {
        outcome.problems_changed |= half.problems().next().is_some();
        half.dissolve(subject, &mut self.tools.readers, &mut self.tools.memo);
    }

    /// What was lost through a fault of ours is computed again, all of it: it may have been one of what has changed. What is held
    /// back is looked at again.
    fn retry(&self, work: &mut Work) {
        let commons = self.commons.iter().map(|(subject, common)| (subject, &common.half));
        for (subject, half) in self.halves.iter().chain(commons).filter(|(_, half)| half.is_lost() || half.holds_back())
        {
            let units = work.entry(subject.clone()).or_default();
            if half.is_lost() && common_of(subject).is_none() {
                units.insert(Unit::Roots);
            }
        }
    }

    fn recompute(&mut self, mut work: Work, outcome: &mut Outcome) {
        let built = self.tools.memo.built();
        for (subject, common) in &mut self.commons {
            common.recompute(subject, &mut work, &mut self.halves, &mut self.tools, outcome);
        }
        for (subject, units) in work {
            if let Some(half) = self.halves.get_mut(&subject) {
                half.guarded(&mut self.tools.step(&subject, outcome), |half, step| half.update(units, step));
                if half.take_post() {
                    outcome.posts.push((subject, half.out()));
                }
            }
        }
        outcome.built = self.tools.memo.built() - built;
    }
}

impl Common {
    /// Recomputes the common half, then the followers that are concerned, and takes both off the work.
    fn recompute(
        &mut self,
        subject: &Arc<Subject>,
        work: &mut Work,
        halves: &mut BTreeMap<Arc<Subject>, Half>,
        tools: &mut Tools,
        outcome: &mut Outcome,
    ) {
        let units = work.remove(subject);
        let moves = units.is_some();
        let shift = self.half.guarded(&mut tools.step(subject, outcome), |half, step| {
            units.map(|units| half.update(units, step)).unwrap_or_default()
        });
        let Some(shift) = shift else { return self.lose(work, halves, tools, outcome) };
        let concern = Concern::of(&shift, &self.half);
        for follower in &self.followers {
            let units = work.remove(follower);
            let (Some(half), Some((_, namespace))) = (halves.get_mut(follower), common_of(follower)) else { continue };
            if moves || units.is_some() {
                let beneath = Beneath { common: &self.half, shift: &shift, concern: &concern, namespace: &namespace };
                let units = units.unwrap_or_default();
                half.guarded(&mut tools.step(follower, outcome), |half, step| half.follow(&units, beneath, step));
                if half.take_post() {
                    outcome.posts.push((follower.clone(), half.out()));
                }
            }
        }
    }

    /// What followed a half that is lost is lost with it.
    fn lose(
        &self,
        work: &mut Work,
        halves: &mut BTreeMap<Arc<Subject>, Half>,
        tools: &mut Tools,
        outcome: &mut Outcome,
    ) {
        for follower in &self.followers {
            work.remove(follower);
            if let Some(half) = halves.get_mut(follower) {
                half.lose(&mut tools.step(follower, outcome));
            }
        }
    }
}

impl Tools {
    fn step<'a>(&'a mut self, subject: &'a Arc<Subject>, outcome: &'a mut Outcome) -> Step<'a> {
        let Self { translator, world, changed, readers, memo } = self;
        Step { world, subject, changed, translator: *translator, readers, memo, outcome }
    }
}
