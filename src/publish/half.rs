//! One half of a configuration: the units computed for a subject, and the layer they make.

use super::dependents::Dependents;
use super::memo::{Memo, Shared};
use super::{Computation, Outcome};
use crate::model::audience::Subject;
use crate::model::problem::Problem;
use crate::model::tracked::Tracked;
use crate::model::world::World;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint;
use crate::snapshot::resource::{Fragment, Resource};
use crate::snapshot::set::Layer;
use crate::translate::unit::{Built, Table, Unit};
use crate::translate::{assemble, select};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A computed unit.
#[derive(Debug)]
struct Node {
    children: Vec<Unit>,
    made: Vec<Shared>,
    problems: Vec<Problem>,
}

/// What has been computed for a subject. New until its first update.
#[derive(Default, Debug)]
pub struct Half {
    nodes: BTreeMap<Unit, Node>,
    layer: Layer,
    posted: Posted,
}

/// How the layer stands to what was last posted.
#[derive(PartialEq, Eq, Default, Debug)]
enum Posted {
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
    pub subject: &'a Subject,
    /// Where look-ups are recorded.
    pub readers: &'a mut Dependents<Computation>,
    /// Where results are shared.
    pub memo: &'a mut Memo,
    /// Where the result is told.
    pub outcome: &'a mut Outcome,
}

/// What an update changes in the layer.
#[derive(Default)]
struct Edits {
    tables: BTreeSet<Table>,
    removed: BTreeSet<(Kind, Arc<str>)>,
    made: Vec<Arc<Resource>>,
}

impl Half {
    /// Whether nothing has been computed yet.
    pub fn is_new(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The resources.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// The mistakes seen.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.nodes.values().flat_map(|node| &node.problems)
    }

    /// Selects `units` again, with what follows from them, and posts the layer if it differs.
    pub fn update(&mut self, mut units: BTreeSet<Unit>, step: &mut Step) {
        let mut edits = Edits::default();
        let mut fresh = units.clone();
        fresh.retain(|unit| *unit == Unit::Roots);
        // A unit sorts before its children, so that one dropped by its parent is not computed in vain.
        while let Some(unit) = units.pop_first() {
            if fresh.contains(&unit) || self.nodes.contains_key(&unit) {
                let children = self.compute(&unit, step, &mut edits);
                fresh.extend(children.iter().cloned());
                units.extend(children);
            }
        }
        self.assemble(&mut edits);
        if self.edit(edits, step.outcome) {
            step.outcome.posts.push((step.subject.clone(), Arc::new(self.layer.clone())));
        }
    }

    /// Computes one unit; returns children that are new.
    fn compute(&mut self, unit: &Unit, step: &mut Step, edits: &mut Edits) -> Vec<Unit> {
        let tracked = Tracked::new(step.world);
        let selection = select(&tracked, step.subject, unit);
        let computation = Computation { subject: step.subject.clone(), unit: unit.clone() };
        step.readers.record(&computation, tracked.into_reads());
        step.outcome.recomputed.push(computation);
        let made: Vec<Shared> = selection.inputs.into_iter().map(|inputs| step.memo.get(inputs)).collect();
        for entry in &made {
            edits.made(unit, &entry.built);
        }
        let node = Node { children: selection.children, made, problems: selection.problems };
        let fresh = self.fresh_children(unit, &node.children);
        if let Unit::RouteTable(table) = unit {
            edits.tables.insert(table.clone());
        }
        if let Some(old) = self.nodes.insert(unit.clone(), node) {
            self.replaced(unit, old, step, edits);
        } else {
            step.outcome.problems_changed |= !self.nodes[unit].problems.is_empty();
        }
        fresh
    }

    fn fresh_children(&self, unit: &Unit, children: &[Unit]) -> Vec<Unit> {
        let known: BTreeSet<&Unit> = self.nodes.get(unit).into_iter().flat_map(|node| &node.children).collect();
        children.iter().filter(|child| !known.contains(child)).cloned().collect()
    }

    /// Takes down what a unit was before it was computed again.
    fn replaced(&mut self, unit: &Unit, old: Node, step: &mut Step, edits: &mut Edits) {
        let new = &self.nodes[unit];
        step.outcome.problems_changed |= old.problems != new.problems;
        let kept: BTreeSet<&Unit> = new.children.iter().collect();
        let gone: Vec<_> = old.children.iter().filter(|child| !kept.contains(child)).cloned().collect();
        edits.unmade(unit, old.made, step.memo);
        for child in gone {
            self.drop_unit(&child, step, edits);
        }
    }

    fn drop_unit(&mut self, unit: &Unit, step: &mut Step, edits: &mut Edits) {
        step.readers.forget(&Computation { subject: step.subject.clone(), unit: unit.clone() });
        let Some(node) = self.nodes.remove(unit) else { return };
        step.outcome.problems_changed |= !node.problems.is_empty();
        edits.unmade(unit, node.made, step.memo);
        if let Unit::RouteTable(table) = unit {
            edits.removed.insert((Kind::Route, table.name()));
        }
        for child in &node.children {
            self.drop_unit(child, step, edits);
        }
    }

    /// Makes the route configurations whose virtual hosts changed.
    fn assemble(&self, edits: &mut Edits) {
        for table in std::mem::take(&mut edits.tables) {
            if let Some(node) = self.nodes.get(&Unit::RouteTable(table.clone())) {
                let fragments = node.children.iter().filter_map(|unit| self.fragment(unit)).collect();
                edits.made.push(Arc::new(assemble(&table, fragments)));
            }
        }
    }

    fn fragment(&self, unit: &Unit) -> Option<Arc<Fragment>> {
        self.nodes.get(unit)?.made.iter().find_map(|entry| match &entry.built {
            Built::Fragment(fragment) => Some(fragment.clone()),
            Built::Resource(_) => None,
        })
    }

    /// Applies edits to the layer; returns whether it is to be posted: it differs, and Envoy would take it.
    fn edit(&mut self, mut edits: Edits, outcome: &mut Outcome) -> bool {
        for resource in &edits.made {
            edits.removed.remove(&(resource.kind(), resource.name().clone()));
        }
        let layer = &mut self.layer;
        edits.made.retain(|new| layer.set(new.kind()).get(new.name()).is_none_or(|held| held != new));
        edits.removed.iter().for_each(|(kind, name)| layer.remove(*kind, name));
        edits.made.iter().cloned().for_each(|resource| layer.insert(resource));
        let differs = !(edits.made.is_empty() && edits.removed.is_empty());
        if self.posted == Posted::Same && !differs {
            return false;
        }
        let violations = match self.posted {
            Posted::Withheld => lint::layer(layer),
            _ => lint::changes(layer, &edits.made, &edits.removed),
        };
        let good = violations.is_empty();
        outcome.violations.extend(violations);
        self.posted = if good { Posted::Same } else { Posted::Withheld };
        good
    }

    /// Gives back everything held for a subject that is gone.
    pub fn dissolve(self, subject: &Subject, readers: &mut Dependents<Computation>, memo: &mut Memo) {
        for (unit, node) in self.nodes {
            readers.forget(&Computation { subject: subject.clone(), unit });
            for entry in node.made {
                memo.release(entry);
            }
        }
    }
}

impl Edits {
    fn made(&mut self, unit: &Unit, built: &Built) {
        match (built, unit) {
            (Built::Resource(resource), _) => self.made.push(resource.clone()),
            (Built::Fragment(_), Unit::VirtualHost(host)) => {
                self.tables.insert(host.table.clone());
            }
            (Built::Fragment(_), _) => {}
        }
    }

    fn unmade(&mut self, unit: &Unit, made: Vec<Shared>, memo: &mut Memo) {
        for entry in made {
            match (&entry.built, unit) {
                (Built::Resource(resource), _) => {
                    self.removed.insert((resource.kind(), resource.name().clone()));
                }
                (Built::Fragment(_), Unit::VirtualHost(host)) => {
                    self.tables.insert(host.table.clone());
                }
                (Built::Fragment(_), _) => {}
            }
            memo.release(entry);
        }
    }
}
