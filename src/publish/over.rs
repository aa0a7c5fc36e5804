//! A half that follows another: it computes for itself only where its namespace makes a difference, and lies over what
//! the common audience has.
//!
//! A unit is its own where the common computation compared itself with its namespace, or doesn't exist; everything else
//! is found beneath. What its own units replace there is hidden.

use super::edits::Edits;
use super::half::{Half, Shift, Step};
use crate::model::audience::Subject;
use crate::model::name::Namespace;
use crate::snapshot::fragments::Fragments;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint::change::Id;
use crate::snapshot::resource::Fragment;
use crate::snapshot::set::Layer;
use crate::translate::unit::{Built, Table, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a half follows.
#[derive(Clone, Copy)]
pub struct Beneath<'a> {
    /// The half of the common audience.
    pub common: &'a Half,
    /// What changed there.
    pub shift: &'a Shift,
    /// Whom that concerns.
    pub concern: &'a Concern,
    /// The namespace that makes the difference.
    pub namespace: &'a Namespace,
}

/// For whom the units that changed beneath are or may be something else: asked once for all who follow.
#[derive(Default)]
pub struct Concern {
    /// Those that aren't there any more, for everyone who has them himself.
    all: BTreeSet<Unit>,
    /// Those that compare themselves with a namespace.
    some: BTreeMap<Namespace, BTreeSet<Unit>>,
}

impl Concern {
    /// Of a change of the common half.
    pub fn of(shift: &Shift, common: &Half) -> Self {
        let mut concern = Self::default();
        for unit in &shift.units {
            if !common.nodes.contains_key(unit) {
                concern.all.insert(unit.clone());
            }
            for namespace in common.asked.reads(unit) {
                concern.some.entry(namespace).or_default().insert(unit.clone());
            }
        }
        concern
    }

    fn with(&self, namespace: &Namespace) -> impl Iterator<Item = &Unit> {
        self.all.iter().chain(self.some.get(namespace).into_iter().flatten())
    }
}

impl Beneath<'_> {
    fn is_special(&self, unit: &Unit) -> bool {
        !self.common.nodes.contains_key(unit) || self.common.asked.has_read(unit, self.namespace)
    }

    fn specials(&self) -> impl Iterator<Item = &Unit> {
        self.common.asked.readers_of(self.namespace)
    }
}

impl Half {
    /// Selects `units` again as far as they are its own, follows what changed beneath, and posts the layer if either
    /// differs.
    pub fn follow(&mut self, units: &BTreeSet<Unit>, beneath: Beneath, step: &mut Step) {
        let Beneath { shift, concern, namespace, .. } = beneath;
        let mut queue: BTreeSet<Unit> = units.iter().chain(concern.with(namespace)).cloned().collect();
        let has = |unit: &&Unit| self.nodes.contains_key(*unit) || self.hides.contains_key(*unit);
        queue.extend(shift.units.iter().filter(has).cloned());
        queue.extend(shift.asked.get(namespace).into_iter().flatten().cloned());
        if self.is_new() {
            queue.extend(beneath.specials().cloned());
        }
        let mut edits = Edits::default();
        let mut tables: BTreeSet<Table> =
            shift.tables.iter().chain(queue.iter().filter_map(Unit::table)).cloned().collect();
        if shift.is_sifted {
            // What lies beneath is another one than the units there say.
            tables.extend(self.nodes.keys().filter_map(Unit::table).cloned());
        }
        let mut hides = Hides::default();
        while let Some(unit) = queue.pop_first() {
            queue.extend(self.resolve(&unit, units.contains(&unit), beneath, step, &mut edits));
            self.hide(&unit, beneath, &mut hides);
        }
        for table in tables.into_iter().chain(edits.tables.keys().cloned()).collect::<BTreeSet<_>>() {
            self.lay_table(&table, beneath, step, &mut edits);
        }
        self.post_over(edits, hides, beneath, step);
    }

    /// Computes or drops one unit, as it is its own or not; returns the units that may be concerned by that.
    fn resolve(
        &mut self,
        unit: &Unit,
        touched: bool,
        beneath: Beneath,
        step: &mut Step,
        edits: &mut Edits,
    ) -> Vec<Unit> {
        let own = beneath.is_special(unit) && self.reaches(unit, beneath.common);
        // Nobody follows a half that follows.
        let shift = &mut Shift::default();
        let concerned = match (own, self.nodes.contains_key(unit)) {
            (true, known) if touched || !known => {
                let (fresh, gone) = self.compute(unit, step, edits, shift);
                fresh.into_iter().chain(gone).collect()
            }
            (false, true) => self.drop_unit(unit, step, edits, shift).unwrap_or_default().into_vec(),
            _ => Vec::new(),
        };
        self.with_inner(concerned, beneath)
    }

    /// Units, and where a route configuration is among them, those of its virtual hosts that are or may be its own.
    fn with_inner(&self, mut units: Vec<Unit>, beneath: Beneath) -> Vec<Unit> {
        let tables: BTreeSet<Table> = units.iter().filter_map(Unit::table).cloned().collect();
        if !tables.is_empty() {
            let special = beneath.specials().filter(|unit| unit.table().is_some_and(|table| tables.contains(table)));
            units.extend(tables.iter().flat_map(|table| self.own_in(table)).chain(special).cloned());
        }
        units
    }

    /// Whether a unit follows from the first, by its own units and those beneath.
    fn reaches(&self, unit: &Unit, common: &Half) -> bool {
        let Some(parent) = unit.parent() else { return true };
        let node = self.nodes.get(&parent).or_else(|| common.nodes.get(&parent));
        node.is_some_and(|node| node.has_child(unit)) && self.reaches(&parent, common)
    }

    /// Its own units that make virtual hosts of a route configuration.
    fn own_in(&self, table: &Table) -> impl Iterator<Item = &Unit> {
        let first = Unit::first_in(table);
        let hosts = self.nodes.range(first..).map(|(unit, _)| unit);
        let hosts = hosts.take_while(|unit| matches!(unit, Unit::VirtualHost(host) if host.table == *table));
        let rest = self.nodes.get_key_value(&Unit::CatchAll(table.clone())).map(|(unit, _)| unit);
        hosts.chain(rest)
    }

    /// Hides what a unit of its own replaces beneath, and shows what it replaced before.
    fn hide(&mut self, unit: &Unit, beneath: Beneath, hides: &mut Hides) {
        let new = if self.nodes.contains_key(unit) { self.replaced(unit, beneath.common) } else { Vec::new() };
        let old = if new.is_empty() { self.hides.remove(unit) } else { self.hides.insert(unit.clone(), new.clone()) };
        let old = old.unwrap_or_default();
        hides.differ |= old != new;
        old.iter().for_each(|(kind, name)| self.layer.show(*kind, name));
        for id in new {
            self.layer.hide(id.0, id.1.clone());
            if !old.contains(&id) {
                hides.new.insert(id);
            }
        }
    }

    /// What the common half has of a unit that is computed anew: what it made, and children that don't follow here.
    fn replaced(&self, unit: &Unit, common: &Half) -> Vec<Id> {
        let (own, Some(theirs)) = (&self.nodes[unit], common.nodes.get(unit)) else { return Vec::new() };
        let made = |unit: &Unit| common.nodes.get(unit).into_iter().flat_map(|node| &node.made);
        let named = |unit: &Unit| -> Vec<_> {
            let resources = made(unit).filter_map(|entry| match &entry.built {
                Built::Resource(resource) => Some((resource.kind(), resource.name().clone())),
                Built::Fragment(_) => None,
            });
            resources.collect()
        };
        let mut replaced = named(unit);
        for child in theirs.children.iter().filter(|child| !own.has_child(child)) {
            replaced.extend(named(child));
            if let Unit::RouteTable(table) = child {
                replaced.push((Kind::Route, table.name()));
            }
        }
        replaced
    }

    /// Makes a route configuration of its own where one of its units belongs to it.
    fn lay_table(&self, table: &Table, beneath: Beneath, step: &Step, edits: &mut Edits) {
        let unit = Unit::RouteTable(table.clone());
        let own = self.nodes.contains_key(&unit) || self.own_in(table).next().is_some();
        if own && self.reaches(&unit, beneath.common) {
            edits.add((step.translator.assemble)(table, self.fragments(table, beneath.common)));
        } else {
            edits.remove(Kind::Route, table.name());
        }
    }

    /// The virtual hosts of a route configuration: its own, and for the rest those beneath, in the form that was posted there.
    fn fragments(&self, table: &Table, common: &Half) -> Fragments {
        let in_layer = |layer: &Layer| layer.own(Kind::Route).get(&table.name()).and_then(|it| it.fragments()).cloned();
        let posted = common.out.as_ref().filter(|_| common.holds_back()).map(|out| in_layer(out).unwrap_or_default());
        let mut fragments = match (self.nodes.get(&Unit::RouteTable(table.clone())), &posted) {
            (None, None) => in_layer(&common.layer).unwrap_or_default(),
            (None, Some(posted)) => posted.clone(),
            (Some(node), _) => {
                let made = node.children.iter().flat_map(|unit| common.fragments_of(unit));
                made.filter_map(|made| posted.as_ref().map_or(Some(made), |posted| posted.get(made.name())))
                    .cloned()
                    .collect()
            }
        };
        for unit in self.own_in(table) {
            common.fragments_of(unit).for_each(|fragment| fragments.remove(fragment.name()));
            self.fragments_of(unit).for_each(|fragment| fragments.insert(fragment.clone()));
        }
        fragments
    }

    fn fragments_of(&self, unit: &Unit) -> impl Iterator<Item = &Arc<Fragment>> {
        let made = self.nodes.get(unit).into_iter().flat_map(|node| &node.made);
        made.filter_map(|entry| match &entry.built {
            Built::Fragment(fragment) => Some(fragment),
            Built::Resource(_) => None,
        })
    }

    /// Posts the layer over the newest one beneath, if either differs.
    fn post_over(&mut self, edits: Edits, hides: Hides, beneath: Beneath, step: &mut Step) {
        let mut changed = edits.into_changed(|kind, name| self.layer.own(kind).get(name));
        let differs = self.apply(&changed) || hides.differ || beneath.shift.posted.is_some();
        if differs || self.is_new() || self.holds_back() {
            self.layer.lie_over(beneath.common.out());
            changed.removed.extend(hides.new);
            if let Some(difference) = &beneath.shift.posted {
                changed.removed.extend(difference.removed.iter().cloned());
                changed.beneath.clone_from(&difference.listeners);
            }
            self.post(&changed, Some(beneath.common), step);
        }
    }
}

/// What an update hides of what lies beneath.
#[derive(Default)]
struct Hides {
    new: BTreeSet<Id>,
    /// Whether that is another than before.
    differ: bool,
}

/// The namespace in which a subject follows a common half, and the subject of that half.
pub fn common_of(subject: &Subject) -> Option<(Subject, Namespace)> {
    match subject {
        Subject::Audience(audience) => {
            audience.common().map(|common| (Subject::Audience(common), audience.namespace.clone()))
        }
        Subject::Workload(_) => None,
    }
}
