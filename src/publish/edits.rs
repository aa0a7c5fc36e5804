//! What an update changes in a layer: collected unit by unit, applied once.

use super::memo::{Memo, Shared};
use crate::snapshot::fragments::Fragments;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint::change::Changed;
use crate::snapshot::resource::{Fragment, Resource};
use crate::translate::unit::{Built, Table, Unit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Edits of a layer.
#[derive(Default)]
pub struct Edits {
    made: Vec<Arc<Resource>>,
    removed: BTreeSet<(Kind, Arc<str>)>,
    /// The route configurations concerned, each with what happens to its virtual hosts.
    pub tables: BTreeMap<Table, Parts>,
}

/// What happens to the fragments of a route configuration.
#[derive(Default)]
pub struct Parts {
    made: Vec<Arc<Fragment>>,
    removed: BTreeSet<Arc<str>>,
}

impl Edits {
    /// A unit has made something.
    pub fn made(&mut self, unit: &Unit, entry: &Shared) {
        match (&entry.built, unit.table()) {
            (Built::Resource(resource), _) => self.made.push(resource.clone()),
            (Built::Fragment(fragment), Some(table)) => self.table(table).made.push(fragment.clone()),
            (Built::Fragment(_), None) => {}
        }
    }

    /// What a unit had made is given back.
    pub fn unmade(&mut self, unit: &Unit, made: impl IntoIterator<Item = Shared>, memo: &mut Memo) {
        for entry in made {
            match (&entry.built, unit.table()) {
                (Built::Resource(resource), _) => {
                    self.removed.insert((resource.kind(), resource.name().clone()));
                }
                (Built::Fragment(fragment), Some(table)) => {
                    self.table(table).removed.insert(fragment.name().clone());
                }
                (Built::Fragment(_), None) => {}
            }
            memo.release(entry);
        }
    }

    /// The edits of a route configuration.
    pub fn table(&mut self, table: &Table) -> &mut Parts {
        self.tables.entry(table.clone()).or_default()
    }

    /// A resource is there.
    pub fn add(&mut self, resource: Resource) {
        self.made.push(Arc::new(resource));
    }

    /// A resource is there no more.
    pub fn remove(&mut self, kind: Kind, name: Arc<str>) {
        self.removed.insert((kind, name));
    }

    /// What the edits change, given what is held: nothing that is made again as it was.
    pub fn into_changed<'a>(mut self, held: impl Fn(Kind, &str) -> Option<&'a Arc<Resource>>) -> Changed {
        for resource in &self.made {
            self.removed.remove(&(resource.kind(), resource.name().clone()));
        }
        self.made.retain(|new| held(new.kind(), new.name()).is_none_or(|held| held != new));
        self.removed.retain(|(kind, name)| held(*kind, name).is_some());
        let parts = self.tables.into_iter().flat_map(|(table, parts)| {
            let name = table.name();
            let before = held(Kind::Route, &name).and_then(|routes| routes.fragments());
            let is_new = move |made: &Arc<Fragment>| before.and_then(|it| it.get(made.name())) != Some(made);
            parts.made.into_iter().filter(is_new).map(move |fragment| (name.clone(), fragment))
        });
        let fragments = parts.collect();
        Changed { fragments, made: self.made, removed: self.removed, beneath: Vec::new() }
    }
}

impl Parts {
    /// Applies the edits to fragments; none if nothing differs then.
    pub fn apply(&self, old: Option<&Fragments>) -> Option<Fragments> {
        let mut new = old.cloned().unwrap_or_default();
        let mut differs = old.is_none();
        let made: BTreeSet<_> = self.made.iter().map(|fragment| fragment.name()).collect();
        for name in self.removed.iter().filter(|name| !made.contains(name)) {
            differs |= new.get(name).is_some();
            new.remove(name);
        }
        for fragment in self.made.iter().filter(|made| old.and_then(|old| old.get(made.name())) != Some(made)) {
            differs = true;
            new.insert(fragment.clone());
        }
        differs.then_some(new)
    }
}
