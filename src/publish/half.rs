//! One half of a configuration: the units computed for a subject, and the layer they make.
//!
//! A half stands for itself, or [follows](super::over) another one that it has nearly everything in common with.

use super::dependents::Dependents;
use super::edits::Edits;
use super::guard::guarded;
use super::losses;
use super::memo::{Memo, Shared};
use super::{Computation, Fault, Outcome, Translator};
use crate::model::audience::Subject;
use crate::model::name::Namespace;
use crate::model::problem::Problem;
use crate::model::provenance::ObjectKey;
use crate::model::tracked::Tracked;
use crate::model::world::World;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint::{self, Changed};
use crate::snapshot::set::Layer;
use crate::snapshot::sources::differences;
use crate::translate::assemble;
use crate::translate::unit::{Selection, Table, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A computed unit.
#[derive(Default, Debug)]
pub(super) struct Node {
    /// Sorted.
    pub(super) children: Box<[Unit]>,
    pub(super) made: Box<[Shared]>,
}

impl Node {
    pub(super) fn has_child(&self, unit: &Unit) -> bool {
        self.children.binary_search(unit).is_ok()
    }
}

/// What has been computed for a subject.
#[derive(Default)]
pub struct Half {
    pub(super) nodes: BTreeMap<Unit, Node>,
    /// The mistakes seen, by the unit that saw them.
    problems: BTreeMap<Unit, Vec<Problem>>,
    /// For the common audience: the namespaces that might be given something else, by unit.
    pub(super) asked: Dependents<Unit, Namespace>,
    pub(super) layer: Layer,
    pub(super) posted: Posted,
    /// Units that failed when they were selected last.
    failed: BTreeSet<Unit>,
    /// The layer as it was posted last.
    out: Option<Arc<Layer>>,
    fresh: bool,
    /// For a half that follows another: what each of its units hides there.
    pub(super) hides: BTreeMap<Unit, Vec<(Kind, Arc<str>)>>,
}

/// How the layer stands to what was last posted.
#[derive(PartialEq, Eq, Clone, Copy, Default, Debug)]
pub(super) enum Posted {
    /// Nothing has been posted.
    #[default]
    Never,
    /// The layer is what was posted.
    Same,
    /// The layer was kept back by lint, and is examined as a whole from now on.
    Withheld,
}

/// What an update works with.
pub struct Step<'a> {
    /// The World to compute from.
    pub world: &'a World,
    /// For whom.
    pub subject: &'a Arc<Subject>,
    /// What translates.
    pub translator: Translator,
    /// Where look-ups are recorded.
    pub readers: &'a mut Dependents<Computation>,
    /// Where results are shared.
    pub memo: &'a mut Memo,
    /// Where the result is told.
    pub outcome: &'a mut Outcome,
}

impl Step<'_> {
    pub(super) fn computation(&self, unit: &Unit) -> Computation {
        Computation { subject: self.subject.clone(), unit: unit.clone() }
    }
}

/// What an update changed, for the halves that follow.
#[derive(Default)]
pub struct Shift {
    /// Units computed or dropped.
    pub units: BTreeSet<Unit>,
    /// Units that compare themselves with a namespace now, or no longer do.
    pub asked: BTreeMap<Namespace, BTreeSet<Unit>>,
    /// Route configurations that differ.
    pub tables: BTreeSet<Table>,
    /// Resources removed.
    pub removed: BTreeSet<(Kind, Arc<str>)>,
    /// Whether the layer was posted.
    pub posted: bool,
}

impl Half {
    /// Whether nothing has been posted yet.
    pub fn is_new(&self) -> bool {
        self.posted == Posted::Never
    }

    /// The layer as it was posted last; an empty one, if none was.
    pub fn out(&self) -> Arc<Layer> {
        self.out.clone().unwrap_or_default()
    }

    /// Whether it was posted since the last call.
    pub fn take_post(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// The resources.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The mistakes seen.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
    }

    /// The objects of which something is not in what was posted last, through a fault of ours: those that shaped what is kept
    /// back, and those that a computation looked at which failed. `seen`: the objects that it looked at.
    pub fn kept_back(&self, seen: impl Fn(&Unit) -> BTreeSet<ObjectKey>) -> BTreeSet<ObjectKey> {
        let mut kept: BTreeSet<ObjectKey> = self.failed.iter().flat_map(seen).collect();
        if self.posted == Posted::Withheld {
            let out = self.out();
            for kind in Kind::ALL {
                for name in self.layer.differs_from(&out, kind) {
                    let (before, after) = (out.get(kind, &name), self.layer.get(kind, &name));
                    for part in differences(before.map(|it| &**it), after.map(|it| &**it)) {
                        kept.extend(part.before().chain(part.after()).map(|source| source.key.clone()));
                    }
                }
            }
        }
        kept
    }

    /// Selects `units` again, with what follows from them, and posts the layer if it differs.
    pub fn update(&mut self, mut units: BTreeSet<Unit>, step: &mut Step) -> Shift {
        let (mut edits, mut shift) = (Edits::default(), Shift::default());
        let mut fresh: BTreeSet<Unit> = units.iter().filter(|unit| **unit == Unit::Roots).cloned().collect();
        // A unit sorts before its children, so that one dropped by its parent is not computed in vain.
        while let Some(unit) = units.pop_first() {
            if fresh.contains(&unit) || self.nodes.contains_key(&unit) {
                let (children, gone) = self.compute(&unit, step, &mut edits, &mut shift);
                gone.iter().for_each(|unit| self.drop_tree(unit, step, &mut edits, &mut shift));
                fresh.extend(children.iter().cloned());
                units.extend(children);
            }
        }
        self.assemble(&mut edits, &mut shift);
        let changed = edits.into_changed(|kind, name| self.layer.own(kind).get(name));
        let differs = self.apply(&changed);
        shift.posted = (differs || self.posted != Posted::Same) && self.post(&changed, step);
        shift.removed = changed.removed;
        shift
    }

    /// Computes one unit; returns the children that are new, and those that are gone.
    pub(super) fn compute(
        &mut self,
        unit: &Unit,
        step: &mut Step,
        edits: &mut Edits,
        shift: &mut Shift,
    ) -> (Vec<Unit>, Vec<Unit>) {
        let Some((node, problems, asked)) = self.select(unit, step) else { return Default::default() };
        node.made.iter().for_each(|entry| edits.made(unit, entry));
        if let Unit::RouteTable(table) = unit {
            edits.table(table);
        }
        self.ask(unit, &asked, shift);
        shift.units.insert(unit.clone());
        step.outcome.problems_changed |= self.set_problems(unit, problems);
        let old = self.nodes.insert(unit.clone(), node).unwrap_or_default();
        let new = &self.nodes[unit];
        let without =
            |units: &[Unit], other: &Node| units.iter().filter(|unit| !other.has_child(unit)).cloned().collect();
        let (fresh, gone) = (without(&new.children, &old), without(&old.children, new));
        edits.unmade(unit, old.made, step.memo);
        (fresh, gone)
    }

    /// Translates one unit and records what it read; none if that failed, which is our fault: what it was before stays.
    fn select(&mut self, unit: &Unit, step: &mut Step) -> Option<(Node, Vec<Problem>, BTreeSet<Namespace>)> {
        let tracked = Tracked::new(step.world);
        let Translator { select, build } = step.translator;
        let memo = &mut *step.memo;
        let result = guarded(|| {
            let Selection { mut children, inputs, problems, asked } = select(&tracked, step.subject, unit);
            children.sort_unstable();
            let made = inputs.into_iter().map(|inputs| memo.get(inputs, build)).collect();
            (Node { children: children.into(), made }, problems, asked)
        });
        let computation = step.computation(unit);
        step.readers.record(&computation, &tracked.into_reads());
        step.outcome.recomputed.push(computation);
        match result {
            Ok(selected) => {
                self.failed.remove(unit);
                Some(selected)
            }
            Err(text) => {
                self.failed.insert(unit.clone());
                step.outcome.faults.push(Fault { what: format!("{:?} of {:?}", unit, step.subject), text });
                self.nodes.entry(unit.clone()).or_default();
                None
            }
        }
    }

    fn ask(&mut self, unit: &Unit, asked: &BTreeSet<Namespace>, shift: &mut Shift) {
        let before = self.asked.reads(unit);
        for namespace in before.symmetric_difference(asked) {
            shift.asked.entry(namespace.clone()).or_default().insert(unit.clone());
        }
        self.asked.record(unit, asked);
    }

    /// Whether that changes anything.
    pub(super) fn set_problems(&mut self, unit: &Unit, problems: Vec<Problem>) -> bool {
        let old = self.problems.remove(unit).unwrap_or_default();
        let differs = old != problems;
        if !problems.is_empty() {
            self.problems.insert(unit.clone(), problems);
        }
        differs
    }

    /// Drops a unit and what follows from it.
    fn drop_tree(&mut self, unit: &Unit, step: &mut Step, edits: &mut Edits, shift: &mut Shift) {
        let Some(children) = self.drop_unit(unit, step, edits, shift) else { return };
        if let Unit::RouteTable(table) = unit {
            edits.remove(Kind::Route, table.name());
        }
        children.iter().for_each(|child| self.drop_tree(child, step, edits, shift));
    }

    /// Drops one unit; returns its children.
    pub(super) fn drop_unit(
        &mut self,
        unit: &Unit,
        step: &mut Step,
        edits: &mut Edits,
        shift: &mut Shift,
    ) -> Option<Box<[Unit]>> {
        step.readers.forget(&step.computation(unit));
        self.failed.remove(unit);
        let node = self.nodes.remove(unit)?;
        self.ask(unit, &BTreeSet::new(), shift);
        self.asked.forget(unit);
        shift.units.insert(unit.clone());
        step.outcome.problems_changed |= self.set_problems(unit, Vec::new());
        edits.unmade(unit, node.made, step.memo);
        Some(node.children)
    }

    /// Makes the route configurations whose virtual hosts changed.
    fn assemble(&self, edits: &mut Edits, shift: &mut Shift) {
        let held = |table: &Table| self.layer.own(Kind::Route).get(&table.name()).and_then(|routes| routes.fragments());
        let there = |table: &&Table| self.nodes.contains_key(&Unit::RouteTable((*table).clone()));
        shift.tables.extend(edits.tables.keys().cloned());
        let tables: Vec<_> = edits.tables.keys().filter(there).cloned().collect();
        for table in tables {
            if let Some(fragments) = edits.tables[&table].apply(held(&table)) {
                edits.add(assemble(&table, fragments));
            }
        }
    }

    /// Applies changes to the layer; whether there are any.
    pub(super) fn apply(&mut self, changed: &Changed) -> bool {
        let layer = &mut self.layer;
        changed.removed.iter().for_each(|(kind, name)| layer.remove(*kind, name));
        changed.made.iter().cloned().for_each(|resource| layer.insert(resource));
        !(changed.made.is_empty() && changed.removed.is_empty())
    }

    /// Posts the layer, if Envoy would take it; `changed` is what differs from what was posted. Whether it was posted.
    pub(super) fn post(&mut self, changed: &Changed, step: &mut Step) -> bool {
        let violations = match self.posted {
            Posted::Withheld => lint::layer(&self.layer),
            _ => lint::changes(&self.layer, changed),
        };
        let good = violations.is_empty();
        step.outcome.violations.extend(violations);
        self.posted = if good { Posted::Same } else { Posted::Withheld };
        if good {
            // Nobody goes from nothing to the first: how it differs would be every name, in each audience.
            let first = || Arc::new(self.layer.clone());
            let next = |before: &Arc<Layer>| {
                let next = self.layer.posted_after(before);
                losses::note(&mut step.outcome.losses, before, &next);
                next
            };
            self.out = Some(self.out.as_ref().map_or_else(first, next));
            self.fresh = true;
        }
        good
    }

    /// Gives back everything held for a subject that is gone.
    pub fn dissolve(self, subject: &Arc<Subject>, readers: &mut Dependents<Computation>, memo: &mut Memo) {
        for (unit, node) in self.nodes {
            readers.forget(&Computation { subject: subject.clone(), unit });
            node.made.into_iter().for_each(|entry| memo.release(entry));
        }
    }
}
