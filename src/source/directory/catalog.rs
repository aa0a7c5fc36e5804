//! Which file holds which object, which version of it is in effect, and what was said of it before.
//!
//! Reached by the bytes of files; what leaves is the difference. Costs what the files named hold, not what all hold. Knows no
//! file system, so that `analyze` can use it with files from anywhere.

use super::file::{self, Entry, Holds, Loaded, Outcome};
use super::{exchange, notices};
use crate::model::mesh::Mesh;
use crate::model::object::Object;
use crate::model::problem::Severity;
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::world::Change;
use crate::source::discovery::{Discovery, Turn};
use crate::source::finding::{Finding, Note, Position, Subject};
use crate::source::report::{Instead, Report};
use crate::source::yaml::marks::Marks;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;
use zeroize::Zeroizing;

/// What became of a file.
#[derive(Debug)]
pub enum Update {
    /// It holds these bytes.
    Bytes(Vec<u8>),
    /// It holds these bytes, which are settings of the mesh.
    Settings(Vec<u8>),
    /// It can't be read, for this reason.
    Unreadable(String),
    /// It is deleted.
    Gone,
}

/// Everything known of the files.
#[derive(Default, Debug)]
pub struct Catalog {
    files: BTreeMap<Arc<Path>, State>,
    claims: BTreeMap<ObjectKey, BTreeSet<Arc<Path>>>,
    /// The objects in effect, those of namespaces that are not read included.
    emitted: BTreeMap<ObjectKey, Object>,
    discovery: Discovery,
    report: Report,
    revision: u64,
    /// Whether proxies may have what was read already.
    begun: bool,
}

/// One file.
#[derive(Default, Debug)]
struct State {
    /// Hash of the bytes `held` was read from; none if they could not be read since.
    digest: Option<u128>,
    held: BTreeMap<ObjectKey, Held>,
    /// Whether the file may hold more than was understood of it.
    partial: bool,
}

/// One object of a file.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// The version in effect, if this file is the one that decides.
    pub object: Option<Object>,
    /// What `object` is to what the file says now.
    pub standing: Standing,
    /// Where it stands; none for a version that is not in the file any more.
    pub marks: Option<Arc<Marks>>,
}

/// What the version in effect is to what the file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// The same, or the file doesn't show the object any more.
    Whole,
    /// The file's is not understood: an earlier one, if there is one.
    Earlier,
    /// The file's is not understood, and there is no earlier one, or none that counts: the good part of it, or what stands
    /// for it.
    Part,
}

impl Held {
    /// The line it begins in.
    pub fn line(&self) -> Option<u32> {
        self.marks.as_ref().map(|marks| marks.line())
    }
}

impl Catalog {
    /// The files known.
    pub fn files(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.files.keys()
    }

    /// Whether that file is known.
    pub fn knows(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// Whether some file may hold more than was understood of it: it is being written, or broken.
    pub fn is_partial(&self) -> bool {
        self.files.values().any(|state| state.partial)
    }

    /// What is wrong now.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Counts the changes of the report, so that nobody needs to compare two.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The objects in effect.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.emitted.values().filter(|object| self.discovery.includes(object.key().namespace.as_str()))
    }

    /// Notes that the place of all files is not there, or that it is.
    pub fn set_missing(&mut self, missing: Option<(Arc<Path>, String)>) {
        let missing = missing.map(|(path, text)| file_finding(&path, Severity::Error, text));
        self.revision += u64::from(missing != self.report.missing);
        self.report.missing = missing;
    }

    /// Takes in what became of files; the answer is what differs in effect.
    pub fn apply(&mut self, updates: impl IntoIterator<Item = (Arc<Path>, Update)>) -> Vec<Change> {
        let mut touched = BTreeSet::new();
        let mut dropped = Vec::new();
        for (path, update) in updates {
            self.update(path, update, &mut touched, &mut dropped);
        }
        for (key, object) in dropped {
            self.hand_over(&key, object);
        }
        self.begun = true;
        let mut changes = Vec::new();
        touched.into_iter().for_each(|key| self.settle(key, &mut changes));
        changes
    }

    /// The settings of the mesh in effect.
    fn mesh(&self) -> Mesh {
        match self.emitted.get(&Mesh::key()) {
            Some(Object::MeshConfig(mesh)) => (**mesh).clone(),
            _ => Mesh::default(),
        }
    }

    fn update(
        &mut self,
        path: Arc<Path>,
        update: Update,
        touched: &mut BTreeSet<ObjectKey>,
        dropped: &mut Vec<(ObjectKey, Object)>,
    ) {
        let before = self.files.remove(&path).unwrap_or_default();
        let holds = if matches!(update, Update::Settings(_)) { Holds::Settings } else { Holds::Objects };
        touched.extend(before.held.keys().cloned());
        let (after, findings) = match update {
            Update::Bytes(bytes) | Update::Settings(bytes) => {
                // There may be keys among them.
                let bytes = Zeroizing::new(bytes);
                let digest = Some(xxh3_128(&bytes));
                if digest == before.digest {
                    self.files.insert(path, before);
                    return;
                }
                let mut loaded = file::load(&path, &bytes, holds);
                if self.begun && holds == Holds::Settings {
                    exchange::refuse(&path, &mut loaded, &self.mesh());
                }
                let partial = !loaded.complete;
                let (held, findings) = merge(&path, loaded, &before.held);
                (State { digest, held, partial }, findings)
            }
            Update::Unreadable(reason) => {
                let (after, findings) = unreadable(&path, &reason, &before);
                if self.report.origins.get(&path).is_some_and(|said| **said == *findings) {
                    self.files.insert(path, before);
                    return;
                }
                (after, findings)
            }
            Update::Gone => {
                self.revision += 1;
                self.report.origins.remove(&path);
                self.claim(&path, &before, None);
                dropped.extend(before.held.into_iter().filter_map(|(key, held)| Some((key, held.object?))));
                return;
            }
        };
        self.revision += 1;
        touched.extend(after.held.keys().cloned());
        self.claim(&path, &before, Some(&after));
        let gone = before.held.into_iter().filter(|(key, _)| !after.held.contains_key(key));
        dropped.extend(gone.filter_map(|(key, held)| Some((key, held.object?))));
        if findings.is_empty() {
            self.report.origins.remove(&path);
        } else {
            self.report.origins.insert(path.clone(), findings.into());
        }
        self.files.insert(path, after);
    }

    fn claim(&mut self, path: &Arc<Path>, before: &State, after: Option<&State>) {
        for key in before.held.keys() {
            if let Some(claimants) = self.claims.get_mut(key) {
                claimants.remove(path);
            }
            self.report.notices.remove(&(key.clone(), path.clone()));
        }
        for key in after.into_iter().flat_map(|state| state.held.keys()) {
            self.claims.entry(key.clone()).or_default().insert(path.clone());
        }
    }

    /// An object that moved to another file where it isn't understood keeps the version it had.
    fn hand_over(&mut self, key: &ObjectKey, object: Object) {
        for path in self.claims.get(key).into_iter().flatten() {
            let held = self.files.get_mut(path).and_then(|state| state.held.get_mut(key));
            let replaced = |held: &&mut Held| match held.standing {
                Standing::Whole => false,
                Standing::Earlier => held.object.is_none(),
                Standing::Part => !key.kind.fails_closed(),
            };
            if let Some(held) = held.filter(replaced) {
                (held.object, held.standing) = (Some(object.clone()), Standing::Earlier);
            }
        }
    }

    /// Decides which file's version of an object is in effect: that of the first path that has a whole one. Of what keeps somebody out
    /// the first path counts in any case: a slip in it must not let another open what it closes.
    fn settle(&mut self, key: ObjectKey, changes: &mut Vec<Change>) {
        let claimants = self.claims.get(&key).cloned().unwrap_or_default();
        let held = |path: &Arc<Path>| self.files.get(path).and_then(|state| state.held.get(&key));
        let holders: Vec<_> = claimants.iter().filter_map(|path| Some((path.clone(), held(path)?.clone()))).collect();
        let is_whole = |held: &Held| key.kind.fails_closed() || held.standing != Standing::Part;
        let has = |held: &Held, whole: bool| held.object.is_some() && is_whole(held) == whole;
        let first = |whole: bool| holders.iter().find(|(_, held)| has(held, whole));
        let winner = first(true).or_else(|| first(false));
        for (path, held) in &holders {
            let at = (key.clone(), path.clone());
            match notices::notice(&key, (path, held), winner.map(|(path, held)| (path, held))) {
                Some(finding) => self.report.notices.insert(at.clone(), finding),
                None => self.report.notices.remove(&at),
            };
            match held.standing {
                _ if winner.is_none_or(|(first, _)| first != path) => self.report.instead.remove(&at),
                Standing::Whole => self.report.instead.remove(&at),
                Standing::Earlier => self.report.instead.insert(at, Instead::Earlier),
                Standing::Part => self.report.instead.insert(at, Instead::of_what_is_left(key.kind)),
            };
        }
        match winner.or(holders.first()) {
            Some((path, held)) => self.report.places.insert(key.clone(), (path.clone(), held.marks.clone())),
            None => {
                self.claims.remove(&key);
                self.report.places.remove(&key)
            }
        };
        self.emit(key, winner.and_then(|(_, held)| held.object.clone()), changes);
    }

    fn emit(&mut self, key: ObjectKey, object: Option<Object>, changes: &mut Vec<Change>) {
        if self.emitted.get(&key) == object.as_ref() {
            return;
        }
        match &object {
            Some(object) => self.emitted.insert(key.clone(), object.clone()),
            None => self.emitted.remove(&key),
        };
        let turn = match key.kind {
            ObjectKind::Namespace | ObjectKind::MeshConfig => self.discovery.learn(&key, object.as_ref()),
            _ => Turn::Nothing,
        };
        if self.discovery.includes(key.namespace.as_str()) {
            changes.push((key, object));
        }
        self.turn(turn, changes);
    }

    /// Namespaces are read now that were not, or the other way round. Costs what is in them, or everything where the selectors
    /// are others.
    fn turn(&self, turn: Turn, changes: &mut Vec<Change>) {
        let state = |(key, object): (&ObjectKey, &Object)| {
            (key.clone(), Some(object.clone()).filter(|_| self.discovery.includes(key.namespace.as_str())))
        };
        match turn {
            Turn::Nothing => {}
            // What was so before is so again.
            Turn::All => changes.extend(self.emitted.iter().filter(|(key, _)| key.kind.is_namespaced()).map(state)),
            Turn::One(namespace, _) => {
                for kind in ObjectKind::ALL.into_iter().filter(|kind| kind.is_namespaced()) {
                    let first = ObjectKey { kind, namespace: namespace.clone(), name: "".into() };
                    let inside = self.emitted.range(first..);
                    let inside = inside.take_while(|(key, _)| key.kind == kind && key.namespace == namespace);
                    changes.extend(inside.map(state));
                }
            }
        }
    }
}

/// What a file holds after it was read again: earlier versions stand in for what is not understood.
fn merge(
    path: &Arc<Path>,
    loaded: Loaded,
    before: &BTreeMap<ObjectKey, Held>,
) -> (BTreeMap<ObjectKey, Held>, Vec<Finding>) {
    let Loaded { entries, mut findings, complete, suspects } = loaded;
    let hold = |(key, Entry { object, marks }): (ObjectKey, Entry)| {
        let marks = Some(marks);
        let held = match object {
            Outcome::Good(object) => Held { object: Some(object), standing: Standing::Whole, marks },
            Outcome::Nothing => Held { object: None, standing: Standing::Whole, marks },
            Outcome::Broken(part) => {
                let earlier =
                    before.get(&key).filter(|held| held.standing != Standing::Part && !key.kind.fails_closed());
                let earlier = earlier.and_then(|held| held.object.clone());
                let standing = if earlier.is_none() && part.is_some() { Standing::Part } else { Standing::Earlier };
                Held { object: earlier.or(part), standing, marks }
            }
        };
        (key, held)
    };
    let mut held: BTreeMap<_, _> = entries.into_iter().map(hold).collect();
    let absent = |(key, held_before): &(&ObjectKey, &Held)| {
        let doubtful = !complete || suspects.contains(*key);
        doubtful && !held.contains_key(*key) && held_before.object.is_some()
    };
    let kept: Vec<_> = before.iter().filter(absent).map(|(key, held)| (key.clone(), held.object.clone())).collect();
    let own = |finding: &Finding| finding.subject.suspected().is_some_and(|key| held.contains_key(&key));
    say_kept(path, kept.iter().map(|(key, _)| key), &mut findings, own);
    held.extend(kept.into_iter().map(|(key, object)| (key, Held { object, standing: Standing::Whole, marks: None })));
    (held, findings)
}

fn unreadable(path: &Arc<Path>, reason: &str, before: &State) -> (State, Vec<Finding>) {
    let mut findings = vec![file_finding(path, Severity::Error, format!("can't be read: {reason}"))];
    let in_effect = before.held.iter().filter(|(_, held)| held.object.is_some());
    say_kept(path, in_effect.map(|(key, _)| key), &mut findings, |_| false);
    (State { digest: None, held: before.held.clone(), partial: true }, findings)
}

/// Says what stays of a file with the last error that is not about one `own` object; by itself where there is none.
fn say_kept<'k>(
    path: &Arc<Path>,
    objects: impl Iterator<Item = &'k ObjectKey>,
    findings: &mut Vec<Finding>,
    own: impl Fn(&Finding) -> bool,
) {
    let Some(text) = notices::kept(objects) else { return };
    let mut errors = findings.iter_mut().rev().filter(|finding| finding.severity() == Severity::Error);
    match errors.find(|finding| !own(finding)) {
        Some(finding) => finding.effect = text.into(),
        None => {
            findings.push(file_finding(path, Severity::Warning, format!("the file is not fully understood, so {text}")))
        }
    }
}

fn file_finding(path: &Arc<Path>, severity: Severity, text: String) -> Finding {
    let position = Position { file: path.clone(), line: None };
    Finding::new(position, Subject::default(), Note { field: String::new(), severity, text })
}
