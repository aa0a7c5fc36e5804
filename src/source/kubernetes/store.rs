//! What the API server has, which version of each object is in effect, and what is wrong. Pure.
//!
//! Reached by news in order; what leaves are differences. An object that can't be understood keeps the version read before.

use super::inventory::{Entry, Inventory, Which};
use super::kinds::{Use, Watched};
use super::news::{Id, Item};
use crate::model::mesh::Mesh;
use crate::model::name::{Name, Namespace};
use crate::model::object::Object;
use crate::model::problem::Severity;
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::world::Change;
use crate::source::exchange;
use crate::source::finding::{Finding, Note, Position, Subject};
use crate::source::parse::Parsed;
use crate::source::report::{Instead, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Everything known of the objects of a cluster.
#[derive(Default, Debug)]
pub struct Store {
    /// By the resource's name in paths and its group.
    kinds: BTreeMap<(&'static str, &'static str), BTreeMap<Id, Held>>,
    report: Report,
    inventory: Inventory,
    revision: u64,
    /// Whether proxies may have what is known already.
    begun: bool,
}

/// One object.
#[derive(Debug)]
struct Held {
    uid: Arc<str>,
    /// The version in effect.
    object: Option<Object>,
}

/// What an item comes to.
struct Outcome {
    object: Option<Object>,
    /// Whether it could not be understood.
    broken: bool,
    findings: Vec<Finding>,
}

impl Store {
    /// How many objects of a kind there are.
    pub fn count(&self, kind: &'static Watched) -> usize {
        let Some(all) = self.kinds.get(&index(kind)) else { return 0 };
        if kind.within.is_none() { all.len() } else { all.keys().filter(|id| covers(kind, id)).count() }
    }

    /// What is wrong now.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What a status is written on.
    pub fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// Counts the changes of the report.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// From now on proxies may have what is known, which is this.
    pub fn begin(&mut self) -> Vec<Change> {
        self.begun = true;
        let objects = self.kinds.values().flat_map(BTreeMap::values).filter_map(|held| held.object.clone());
        objects.map(|object| (object.key().clone(), Some(object))).collect()
    }

    /// These are all the objects of a kind, as far as it is watched.
    pub fn replace(&mut self, kind: &'static Watched, items: Vec<Item>) -> Vec<Change> {
        let there: BTreeSet<Id> = items.iter().map(|item| item.id.clone()).collect();
        let mut changes: Vec<_> = items.into_iter().filter_map(|item| self.set(kind, item)).collect();
        let held = self.kinds.entry(index(kind)).or_default();
        let gone: Vec<_> = held.keys().filter(|id| covers(kind, id) && !there.contains(*id)).cloned().collect();
        changes.extend(gone.iter().filter_map(|id| self.remove(kind, id)));
        changes
    }

    /// An object is new, or another now.
    pub fn set(&mut self, kind: &'static Watched, item: Item) -> Option<Change> {
        let Item { id, uid, parsed, entry } = item;
        self.enter(kind, &id, entry);
        let held = self.kinds.entry(index(kind)).or_default();
        let before = held.remove(&id);
        let mesh = (self.begun && kind.used == Use::Settings).then(|| mesh(before.as_ref()));
        let Outcome { object, broken, findings } = outcome(kind, &id, parsed).after(mesh.as_ref());
        // Another object of the same name has nothing to do with the one before.
        let closed = kind.read_as().is_some_and(ObjectKind::fails_closed);
        let earlier = before.as_ref().filter(|before| broken && !closed && before.uid == uid);
        let earlier = earlier.and_then(|before| before.object.clone());
        let instead = match (broken, &earlier, &object) {
            (true, Some(_), _) => Some(Instead::Earlier),
            (true, None, Some(object)) => Some(Instead::of_what_is_left(object.key().kind)),
            _ => None,
        };
        let after = if broken { earlier.or(object) } else { object };
        let changed = before.and_then(|before| before.object) != after;
        held.insert(id.clone(), Held { uid, object: after.clone() });
        self.say(kind, &id, findings, instead);
        let key = changed.then(|| key(kind, &id)).flatten();
        Some((key?, after))
    }

    /// An object is gone.
    pub fn remove(&mut self, kind: &'static Watched, id: &Id) -> Option<Change> {
        let before = self.kinds.entry(index(kind)).or_default().remove(id);
        self.say(kind, id, Vec::new(), None);
        self.enter(kind, id, None);
        before?.object.and(key(kind, id)).map(|key| (key, None))
    }

    /// What is there of an object, as far as a status is concerned.
    fn enter(&mut self, kind: &'static Watched, id: &Id, entry: Option<Box<Entry>>) {
        let which = Which::of(kind, id);
        match entry {
            Some(entry) if self.inventory.get(&which) != Some(&*entry) => _ = self.inventory.insert(which, *entry),
            None if self.inventory.contains_key(&which) => _ = self.inventory.remove(&which),
            _ => {}
        }
    }

    /// What is wrong with an object now, and what is in effect instead of it.
    fn say(&mut self, kind: &'static Watched, id: &Id, findings: Vec<Finding>, instead: Option<Instead>) {
        let origin = origin(kind, id);
        let before = key(kind, id).and_then(|key| {
            let at = (key, Path::new("").into());
            match instead {
                Some(instead) => self.report.instead.insert(at, instead),
                None => self.report.instead.remove(&at),
            }
        });
        let same = self.report.origins.get(&origin).is_some_and(|said| **said == *findings);
        let nothing = findings.is_empty() && !self.report.origins.contains_key(&origin);
        if before == instead && (same || nothing) {
            return;
        }
        self.revision += 1;
        match findings.is_empty() {
            true => self.report.origins.remove(&origin),
            false => self.report.origins.insert(origin, findings.into()),
        };
    }
}

fn covers(kind: &'static Watched, id: &Id) -> bool {
    kind.covers(&id.namespace, &id.name)
}

fn index(kind: &'static Watched) -> (&'static str, &'static str) {
    (kind.plural, kind.group)
}

/// Where what is said of an object is kept.
fn origin(kind: &'static Watched, id: &Id) -> Arc<Path> {
    Path::new(&format!("{kind}/{}/{}", id.namespace, id.name)).into()
}

fn key(kind: &'static Watched, id: &Id) -> Option<ObjectKey> {
    if kind.used == Use::Settings {
        return Some(ObjectKey::mesh());
    }
    let Id { namespace, name } = id;
    kind.read_as().map(|kind| ObjectKey { kind, namespace: Namespace::from(&**namespace), name: Name::from(&**name) })
}

/// The settings of the mesh in effect.
fn mesh(held: Option<&Held>) -> Mesh {
    match held.and_then(|held| held.object.as_ref()) {
        Some(Object::MeshConfig(mesh)) => (**mesh).clone(),
        _ => Mesh::default(),
    }
}

impl Outcome {
    /// The same for proxies that have those settings of the mesh already.
    fn after(mut self, mesh: Option<&Mesh>) -> Self {
        if let (Some(Object::MeshConfig(after)), Some(before)) = (&self.object, mesh)
            && let Some(refused) = exchange::refused(after, before)
        {
            let nowhere = Position { file: Path::new("").into(), line: None };
            let finding = |note| Finding::new(nowhere.clone(), Subject::from(&ObjectKey::mesh()), note);
            self.findings.extend(refused.notes.into_iter().map(finding));
            (self.object, self.broken) = (Some(Object::MeshConfig(refused.part)), true);
        }
        self
    }
}

fn outcome(kind: &'static Watched, id: &Id, parsed: Option<Parsed>) -> Outcome {
    let Id { namespace, name } = id;
    let subject = || match kind.used {
        Use::Settings => Subject::from(&ObjectKey::mesh()),
        _ => Subject { kind: kind.kind.to_owned(), namespace: namespace.to_string(), name: name.to_string() },
    };
    let nowhere = || Position { file: Path::new("").into(), line: None };
    let finding = |note| Finding::new(nowhere(), subject(), note);
    match parsed {
        None => Outcome { object: None, broken: false, findings: vec![finding(not_in_effect(kind))] },
        Some(Parsed::Known { object, problems, .. }) => {
            let broken = problems.iter().any(|problem| problem.severity == Severity::Error);
            let findings = problems.into_iter().map(|problem| Finding::of(problem, nowhere())).collect();
            Outcome { object, broken, findings }
        }
        Some(Parsed::Foreign { note, .. }) => Outcome { object: None, broken: true, findings: vec![finding(note)] },
        Some(Parsed::Unidentified { notes, .. }) => {
            Outcome { object: None, broken: true, findings: notes.into_iter().map(finding).collect() }
        }
    }
}

/// What is said of an object of a kind that has no effect.
fn not_in_effect(kind: &'static Watched) -> Note {
    let (severity, more) = match kind.used {
        Use::ListedSecurity => (Severity::Error, "; it protects nothing"),
        _ => (Severity::Warning, ""),
    };
    let text = format!("{} is not supported yet, so it is not in effect{more}", kind.kind);
    Note { field: String::new(), severity, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::kinds::within;

    /// A list of one namespace says nothing of another.
    #[test]
    fn a_list_replaces_what_is_where_it_was_made() {
        let kinds = within(&["a".to_owned(), "b".to_owned()]);
        let splits: Vec<_> = kinds.into_iter().filter(|kind| kind.plural == "trafficsplits").collect();
        let [a, b] = splits[..] else { panic!("one for each namespace") };
        let item = |namespace: &str, name: &str| {
            let id = Id { namespace: namespace.into(), name: name.into() };
            Item { id, uid: "".into(), parsed: None, entry: None }
        };
        let mut store = Store::default();
        store.replace(a, vec![item("a", "one"), item("a", "two")]);
        store.replace(b, vec![item("b", "one")]);
        assert_eq!((store.count(a), store.count(b)), (2, 1));
        store.replace(a, vec![item("a", "two")]);
        assert_eq!((store.count(a), store.count(b)), (1, 1));
        store.replace(b, Vec::new());
        assert_eq!((store.count(a), store.count(b), store.report().origins.len()), (1, 0, 1));
    }
}
