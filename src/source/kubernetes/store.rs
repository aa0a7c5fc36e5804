//! What the API server has, which version of each object is in effect, and what is wrong. Pure.
//!
//! Reached by news in order; what leaves are differences. An object that can't be understood keeps the version read before.

use super::inventory::{Entry, Inventory, Which};
use super::kinds::{KINDS, SECRETS, Use, Watched};
use super::news::{Id, Item};
use super::objects::Objects;
use crate::model::mesh::Mesh;
use crate::model::name::{Name, Namespace};
use crate::model::object::Object;
use crate::model::problem::Severity;
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::world::Change;
use crate::source::discovery::{Discovery, Turn};
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
    kinds: BTreeMap<(&'static str, &'static str), Objects<Arc<str>, Held>>,
    report: Report,
    inventory: Inventory,
    discovery: Discovery,
    revision: u64,
    /// Whether proxies may have what is known already.
    begun: bool,
}

/// One object.
#[derive(Debug)]
struct Held {
    uid: Arc<str>,
    /// The version in effect, or that would be if its namespace were read.
    object: Option<Object>,
    /// What would be said of it if its namespace were read; none if it is.
    aside: Option<Box<Aside>>,
}

/// What is known of an object in a namespace that is not read.
#[derive(Debug)]
struct Aside {
    entry: Option<Box<Entry>>,
    findings: Vec<Finding>,
    instead: Option<Instead>,
}

impl Held {
    /// The version in effect.
    fn shown(&self) -> Option<&Object> {
        self.object.as_ref().filter(|_| self.aside.is_none())
    }
}

/// What an item comes to.
struct Outcome {
    object: Option<Object>,
    /// Whether it could not be understood.
    broken: bool,
    findings: Vec<Finding>,
}

impl Store {
    /// How many objects of a kind there are, as far as it is watched.
    pub fn count(&self, kind: &'static Watched) -> usize {
        let Some(all) = self.kinds.get(&index(kind)) else { return 0 };
        match kind.within {
            None => all.count(),
            Some(name) if kind.is_namespaces() => usize::from(all.get("", name).is_some()),
            Some(namespace) => all.count_in(namespace),
        }
    }

    /// The objects of a kind, as far as it is watched.
    fn covered(&self, kind: &'static Watched) -> Vec<Id> {
        let Some(all) = self.kinds.get(&index(kind)) else { return Vec::new() };
        let id = |namespace: &Arc<str>, name: &Arc<str>| Id { namespace: namespace.clone(), name: name.clone() };
        match kind.within {
            None => all.all().map(|(namespace, name, _)| id(namespace, name)).collect(),
            Some(name) if kind.is_namespaces() => {
                let one = Id { namespace: "".into(), name: name.into() };
                all.get("", name).map(|_| one).into_iter().collect()
            }
            Some(namespace) => {
                let namespace: Arc<str> = namespace.into();
                all.inside(&*namespace).map(|(name, _)| id(&namespace, name)).collect()
            }
        }
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
        let all = self.kinds.values().flat_map(Objects::all);
        let objects = all.filter_map(|(.., held)| held.shown());
        objects.map(|object| (object.key().clone(), Some(object.clone()))).collect()
    }

    /// These are all the objects of a kind, as far as it is watched.
    pub fn replace(&mut self, kind: &'static Watched, items: Vec<Item>, changes: &mut Vec<Change>) {
        let there: BTreeSet<Id> = items.iter().map(|item| item.id.clone()).collect();
        items.into_iter().for_each(|item| self.set(kind, item, changes));
        let gone = self.covered(kind).into_iter().filter(|id| !there.contains(id));
        gone.for_each(|id| self.remove(kind, &id, changes));
        if kind.is_namespaces() {
            let turn = self.discovery.listed(kind.within);
            self.turn(turn, changes);
        }
    }

    /// An object is new, or another now.
    pub fn set(&mut self, kind: &'static Watched, item: Item, changes: &mut Vec<Change>) {
        let Item { id, uid, parsed, entry } = item;
        let all = self.kinds.entry(index(kind)).or_default();
        let before = all.remove(&*id.namespace, &*id.name);
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
        let object = if broken { earlier.or(object) } else { object };
        // Of what has no status nobody needs to know more than what is told of it.
        let entry = entry.filter(|_| broken || kind.has_status());
        let mut held = Held { uid, object, aside: None };
        match self.discovers(kind, &id) {
            true => self.show(kind, &id, entry, (findings, instead)),
            false => {
                self.show(kind, &id, None, (Vec::new(), None));
                held.aside = Some(Aside { entry, findings, instead }.into());
            }
        }
        let change = (before.as_ref().and_then(Held::shown) != held.shown()).then(|| held.shown().cloned());
        let learned = learns(kind).then(|| held.object.clone());
        self.kinds.entry(index(kind)).or_default().insert(id.namespace.clone(), id.name.clone(), held);
        changes.extend(change.and_then(|after| Some((key(kind, &id)?, after))));
        if let Some(object) = learned {
            self.learn(kind, &id, object.as_ref(), changes);
        }
    }

    /// An object is gone.
    pub fn remove(&mut self, kind: &'static Watched, id: &Id, changes: &mut Vec<Change>) {
        let before = self.kinds.entry(index(kind)).or_default().remove(&*id.namespace, &*id.name);
        self.show(kind, id, None, (Vec::new(), None));
        changes.extend(before.as_ref().and_then(Held::shown).and_then(|_| Some((key(kind, id)?, None))));
        if learns(kind) {
            self.learn(kind, id, None, changes);
        }
    }

    /// Whether an object is read. That the settings are does not depend on what they say.
    fn discovers(&self, kind: &'static Watched, id: &Id) -> bool {
        kind.used == Use::Settings || self.discovery.includes(&id.namespace)
    }

    /// The settings, or a Namespace, are others now: what that means for the objects of namespaces.
    fn learn(&mut self, kind: &'static Watched, id: &Id, object: Option<&Object>, changes: &mut Vec<Change>) {
        if let Some(key) = key(kind, id) {
            let turn = self.discovery.learn(&key, object);
            self.turn(turn, changes);
        }
    }

    /// Namespaces are read now that were not, or the other way round. Costs what is in them.
    fn turn(&mut self, turn: Turn, changes: &mut Vec<Change>) {
        let namespaces: BTreeSet<Arc<str>> = match turn {
            Turn::Nothing => return,
            Turn::One(namespace, _) => [namespace.as_str().into()].into(),
            Turn::All => self.kinds.values().flat_map(Objects::namespaces).cloned().collect(),
        };
        for kind in KINDS.iter().chain([&SECRETS]).filter(|kind| kind.used != Use::Settings) {
            for namespace in &namespaces {
                let includes = self.discovery.includes(namespace);
                let Some(all) = self.kinds.get(&index(kind)) else { break };
                let turned = all.inside(&**namespace).filter(|(_, held)| held.aside.is_none() != includes);
                let id = |name: &Arc<str>| Id { namespace: namespace.clone(), name: name.clone() };
                let turned: Vec<Id> = turned.map(|(name, _)| id(name)).collect();
                turned.iter().for_each(|id| self.turn_one(kind, id, changes));
            }
        }
    }

    /// What was shown of an object is put aside, or the other way round.
    fn turn_one(&mut self, kind: &'static Watched, id: &Id, changes: &mut Vec<Change>) {
        let all = self.kinds.entry(index(kind)).or_default();
        let Some(mut held) = all.remove(&*id.namespace, &*id.name) else { return };
        match held.aside.take() {
            Some(aside) => self.show(kind, id, aside.entry, (aside.findings, aside.instead)),
            None => {
                let entry = self.inventory.get(&Which::of(kind, id)).cloned().map(Box::new);
                let findings = self.report.origins.get(&origin(kind, id)).map(|said| said.to_vec());
                let at = key(kind, id).map(|key| (key, Arc::from(Path::new(""))));
                let instead = at.and_then(|at| self.report.instead.get(&at).copied());
                held.aside = Some(Aside { entry, findings: findings.unwrap_or_default(), instead }.into());
                self.show(kind, id, None, (Vec::new(), None));
            }
        }
        let after = held.shown().cloned();
        changes.extend(held.object.is_some().then(|| key(kind, id)).flatten().map(|key| (key, after)));
        self.kinds.entry(index(kind)).or_default().insert(id.namespace.clone(), id.name.clone(), held);
    }

    /// What is to be seen of an object besides what it says.
    fn show(
        &mut self,
        kind: &'static Watched,
        id: &Id,
        entry: Option<Box<Entry>>,
        (findings, instead): (Vec<Finding>, Option<Instead>),
    ) {
        self.enter(kind, id, entry);
        self.say(kind, id, findings, instead);
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

/// Whether what is read depends on objects of a kind.
fn learns(kind: &'static Watched) -> bool {
    kind.used == Use::Settings || kind.is_namespaces()
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
    let subject = || kind.subject(namespace, name);
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
        let kinds = within(&["a".to_owned(), "b".to_owned()], &[]);
        let splits: Vec<_> = kinds.into_iter().filter(|kind| kind.plural == "trafficsplits").collect();
        let [a, b] = splits[..] else { panic!("one for each namespace") };
        let item = |namespace: &str, name: &str| {
            let id = Id { namespace: namespace.into(), name: name.into() };
            Item { id, uid: "".into(), parsed: None, entry: None }
        };
        let mut store = Store::default();
        let mut changes = Vec::new();
        store.replace(a, vec![item("a", "one"), item("a", "two")], &mut changes);
        store.replace(b, vec![item("b", "one")], &mut changes);
        assert_eq!((store.count(a), store.count(b)), (2, 1));
        store.replace(a, vec![item("a", "two")], &mut changes);
        assert_eq!((store.count(a), store.count(b)), (1, 1));
        store.replace(b, Vec::new(), &mut changes);
        assert_eq!((store.count(a), store.count(b), store.report().origins.len()), (1, 0, 1));
    }
}
