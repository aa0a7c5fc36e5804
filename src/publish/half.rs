//! One half of a configuration: the units computed for a subject, and the layer they make.
//!
//! A half stands for itself, or [follows](super::over) another one that it has nearly everything in common with.

use super::dependents::Dependents;
use super::edits::Edits;
use super::guard::guarded;
use super::memo::{Memo, Shared};
use super::{Computation, Fault, Outcome, Translator};
use crate::model::audience::Subject;
use crate::model::name::Namespace;
use crate::model::problem::Problem;
use crate::model::provenance::ObjectKey;
use crate::model::tracked::Tracked;
use crate::model::world::World;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint::Violation;
use crate::snapshot::lint::change::{Changed, HeldParts, Id};
use crate::snapshot::lint::index::Index;
use crate::snapshot::resource::Resource;
use crate::snapshot::set::Layer;
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
    /// What of the layer its own computations made.
    pub(super) index: Index,
    /// Units that failed when they were selected last.
    pub(super) failed: BTreeSet<Unit>,
    /// The layer as it was posted last: all of it but what lint holds back.
    pub(super) out: Option<Arc<Layer>>,
    pub(super) fresh: bool,
    /// Why anything is held back; none if nothing is.
    pub(super) held: BTreeSet<Violation>,
    /// The virtual hosts that are held back, where it is not all of a route configuration.
    pub(super) parts: HeldParts,
    /// What was made twice when it was made last.
    pub(super) twice: BTreeSet<Id>,
    /// What has changed since an update failed, if the last one did.
    pub(super) lost: Option<BTreeSet<ObjectKey>>,
    /// For a half that follows another: what each of its units hides there.
    pub(super) hides: BTreeMap<Unit, Vec<Id>>,
}

/// What an update works with.
pub struct Step<'a> {
    /// The World to compute from.
    pub world: &'a World,
    /// For whom.
    pub subject: &'a Arc<Subject>,
    /// What has changed.
    pub changed: &'a [ObjectKey],
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
    /// How the layer that was posted differs from the one before, if one was.
    pub posted: Option<Difference>,
    /// Whether something is held back, or was: what was posted is not what the units make.
    pub is_sifted: bool,
}

/// What a layer that is posted has in another way than the one before.
#[derive(Default)]
pub struct Difference {
    /// What is there no more.
    pub removed: BTreeSet<Id>,
    /// Listeners that were made.
    pub listeners: Vec<Arc<Resource>>,
}

impl Half {
    /// The resources.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The mistakes seen.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values().flatten()
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
        self.assemble(step.translator, &mut edits, &mut shift);
        let changed = edits.into_changed(|kind, name| self.layer.own(kind).get(name));
        shift.is_sifted = self.holds_back();
        let again = self.is_new() || self.holds_back();
        if self.apply(&changed) || again {
            shift.posted = Some(self.post(&changed, None, step));
        }
        shift.is_sifted |= self.holds_back();
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
        for entry in &node.made {
            self.index.name(entry.built.name(), entry.built.refs());
            edits.made(unit, entry);
        }
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
        self.unmake(unit, old.made, step, edits);
        (fresh, gone)
    }

    fn unmake(&mut self, unit: &Unit, made: Box<[Shared]>, step: &mut Step, edits: &mut Edits) {
        made.iter().for_each(|entry| self.index.unname(entry.built.name(), entry.built.refs()));
        edits.unmade(unit, made, step.memo);
    }

    /// Translates one unit and records what it read; none if that failed, which is our fault: what it was before stays.
    fn select(&mut self, unit: &Unit, step: &mut Step) -> Option<(Node, Vec<Problem>, BTreeSet<Namespace>)> {
        let tracked = Tracked::new(step.world);
        let Translator { select, build, .. } = step.translator;
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
        self.unmake(unit, node.made, step, edits);
        Some(node.children)
    }

    /// Makes the route configurations whose virtual hosts changed.
    fn assemble(&self, translator: Translator, edits: &mut Edits, shift: &mut Shift) {
        let held = |table: &Table| self.layer.own(Kind::Route).get(&table.name()).and_then(|routes| routes.fragments());
        let there = |table: &&Table| self.nodes.contains_key(&Unit::RouteTable((*table).clone()));
        shift.tables.extend(edits.tables.keys().cloned());
        let tables: Vec<_> = edits.tables.keys().filter(there).cloned().collect();
        for table in tables {
            if let Some(fragments) = edits.tables[&table].apply(held(&table)) {
                edits.add((translator.assemble)(&table, fragments));
            }
        }
    }

    /// Applies changes to the layer; whether there are any.
    pub(super) fn apply(&mut self, changed: &Changed) -> bool {
        let removed = changed.removed.iter().map(|(kind, name)| (*kind, name, None));
        let made = changed.made.iter().map(|resource| (resource.kind(), resource.name(), Some(resource)));
        for (kind, name, after) in removed.chain(made) {
            if kind == Kind::Listener {
                let before = self.layer.own(kind).get(name);
                self.index.set_addresses(name, before.map(|it| &**it), after.map(|it| &**it));
            }
            match after {
                Some(resource) => self.layer.insert(resource.clone()),
                None => self.layer.remove(kind, name),
            }
        }
        !(changed.made.is_empty() && changed.removed.is_empty())
    }

    /// Gives back everything held for a subject that is gone.
    pub fn dissolve(self, subject: &Arc<Subject>, readers: &mut Dependents<Computation>, memo: &mut Memo) {
        for (unit, node) in self.nodes {
            readers.forget(&Computation { subject: subject.clone(), unit });
            node.made.into_iter().for_each(|entry| memo.release(entry));
        }
    }
}
