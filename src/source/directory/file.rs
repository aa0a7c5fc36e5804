//! One file: from bytes to the objects it holds and what is wrong with it. Pure.

use crate::model::object::Object;
use crate::model::problem::Severity;
use crate::model::provenance::ObjectKey;
use crate::source::finding::{Finding, Note, Position, Subject};
use crate::source::parse::{self, Parsed};
use crate::source::yaml::marks::{self, Marks};
use crate::source::yaml::{self, Document};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What a file says.
#[derive(Debug)]
pub struct Loaded {
    /// The objects it names.
    pub entries: BTreeMap<ObjectKey, Entry>,
    /// What is wrong, in the order of the file.
    pub findings: Vec<Finding>,
    /// Whether an object that is not in it is meant to be gone. A file that is being written is often valid YAML with fewer
    /// objects, so that takes a last document without fault, and all others at least identified.
    pub complete: bool,
    /// Objects of a kind we read, by its name, but of a group we don't know: a slip, or another kind of that name.
    pub suspects: BTreeSet<ObjectKey>,
}

/// One object of a file.
#[derive(Debug)]
pub struct Entry {
    /// The object.
    pub object: Outcome,
    /// Where its fields stand.
    pub marks: Arc<Marks>,
}

/// What parsing an object came to.
#[derive(Debug)]
pub enum Outcome {
    /// In effect.
    Good(Object),
    /// Fine, and nothing to us.
    Nothing,
    /// Not understood, but for what is given: it may do until a version that is understood is there.
    Broken(Option<Object>),
}

/// What a file is meant to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// Objects.
    Objects,
    /// Settings of the mesh, in one document.
    Settings,
}

/// Reads a file.
pub fn load(path: &Arc<Path>, bytes: &[u8], holds: Holds) -> Loaded {
    let content = yaml::read(bytes);
    let mut loader = Loader {
        path: path.clone(),
        entries: BTreeMap::new(),
        findings: Vec::new(),
        suspects: BTreeSet::new(),
        identified: content.failures.is_empty(),
        last_failed: true,
    };
    for document in content.documents {
        match holds {
            Holds::Objects => loader.document(document),
            Holds::Settings => loader.parsed(parse::settings(&document.value), document.marks),
        }
    }
    for failure in content.failures {
        loader.finding(Some(failure.line), Subject::default(), error(failure.text));
    }
    if loader.findings.is_empty() && loader.entries.is_empty() && loader.last_failed {
        let text = "there is no object in this file".to_owned();
        loader.finding(None, Subject::default(), Note { field: String::new(), severity: Severity::Warning, text });
    }
    let complete = loader.identified && !loader.last_failed;
    Loaded { entries: loader.entries, findings: loader.findings, complete, suspects: loader.suspects }
}

fn error(text: String) -> Note {
    Note { field: String::new(), severity: Severity::Error, text }
}

struct Loader {
    path: Arc<Path>,
    entries: BTreeMap<ObjectKey, Entry>,
    findings: Vec<Finding>,
    suspects: BTreeSet<ObjectKey>,
    identified: bool,
    last_failed: bool,
}

impl Loader {
    fn document(&mut self, document: Document) {
        let Document { mut value, marks } = document;
        let items = value.get("items").and_then(Value::as_array);
        match items.filter(|_| value.get("kind").and_then(Value::as_str) == Some("List")) {
            Some(items) => {
                for (at, item) in items.iter().enumerate() {
                    let path = marks::index("items", at);
                    self.object(item, marks.part(&path, item));
                }
            }
            None => self.object(&value, marks),
        }
        if ["Secret", "List"].iter().any(|kind| value["kind"] == *kind) {
            parse::secret::wipe(&mut value);
        }
    }

    fn object(&mut self, value: &Value, marks: Marks) {
        self.parsed(parse::object(value), marks);
    }

    fn parsed(&mut self, parsed: Parsed, marks: Marks) {
        self.last_failed = parsed.failed();
        match parsed {
            Parsed::Known { key, object, problems } => {
                let broken = problems.iter().any(|problem| problem.severity == Severity::Error);
                for problem in problems {
                    let line = marks.locate(&problem.field);
                    self.findings.push(Finding::of(problem, self.position(Some(line))));
                }
                let object = match object {
                    part if broken => Outcome::Broken(part),
                    Some(object) => Outcome::Good(object),
                    None => Outcome::Nothing,
                };
                self.enter(key, Entry { object, marks: Arc::new(marks) });
            }
            Parsed::Foreign { subject, note } => {
                self.suspects.extend(subject.suspected());
                self.finding(Some(marks.locate(&note.field)), subject, note);
            }
            Parsed::Unidentified { subject, notes } => {
                self.identified = false;
                for note in notes {
                    self.finding(Some(marks.locate(&note.field)), subject.clone(), note);
                }
            }
        }
    }

    fn enter(&mut self, key: ObjectKey, entry: Entry) {
        match self.entries.get(&key) {
            None => drop(self.entries.insert(key, entry)),
            Some(first) => {
                let text =
                    format!("the same object is in line {} already; this one is not in effect", first.marks.line());
                self.finding(Some(entry.marks.line()), Subject::from(&key), error(text));
            }
        }
    }

    fn position(&self, line: Option<u32>) -> Position {
        Position { file: self.path.clone(), line }
    }

    fn finding(&mut self, line: Option<u32>, subject: Subject, note: Note) {
        self.findings.push(Finding::new(self.position(line), subject, note));
    }
}
