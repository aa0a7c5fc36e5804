//! What a person is told about their files: like a problem, but with a place, and possible where no object is known.

use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::{ObjectKey, ObjectKind};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A line of a file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position {
    /// The file.
    pub file: Arc<Path>,
    /// The line, counted from 1; none stands for the whole file.
    pub line: Option<u32>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// What is known about the object a finding is about; empty where nothing is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Subject {
    /// `kind`, as written.
    pub kind: String,
    /// `metadata.namespace`, or the default; empty for what has none.
    pub namespace: String,
    /// `metadata.name`, as written.
    pub name: String,
}

impl Subject {
    /// The object of a kind we know that this would be, if its group were right.
    pub fn suspected(&self) -> Option<ObjectKey> {
        let kind = ObjectKind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?;
        let namespace = if self.namespace.is_empty() { "default" } else { &self.namespace };
        let namespace = if kind.is_namespaced() { namespace } else { "" };
        Some(ObjectKey { kind, namespace: namespace.into(), name: self.name.as_str().into() })
    }
}

impl From<&ObjectKey> for Subject {
    fn from(key: &ObjectKey) -> Self {
        Self { kind: key.kind.to_string(), namespace: key.namespace.to_string(), name: key.name.to_string() }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (&*self.namespace, &*self.name) {
            ("", name) => name.to_owned(),
            (namespace, "") => format!("{namespace}/?"),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        match (&*self.kind, &*name) {
            ("", name) => f.write_str(name),
            (kind, "") => f.write_str(kind),
            (kind, name) => write!(f, "{kind} {name}"),
        }
    }
}

/// A [`Problem`] without its object, as parsers collect them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Note {
    /// The path of the field, empty for the whole object.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// The reason, one sentence without a trailing full stop.
    pub text: String,
}

/// Something wrong with a file or with an object in it.
///
/// Printed as `file:line: severity: Kind namespace/name: field: text; effect`; what is unknown or empty is left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Finding {
    /// Where.
    pub position: Position,
    /// About which object.
    pub subject: Subject,
    /// What is wrong.
    pub note: Note,
    /// What is in effect in spite of it, a sentence without a full stop; empty where nothing is.
    pub effect: Arc<str>,
}

impl Finding {
    /// A finding without which nothing would be in effect that isn't.
    pub fn new(position: Position, subject: Subject, note: Note) -> Self {
        Self { position, subject, note, effect: "".into() }
    }

    /// A problem that was found elsewhere (by translation), with its place.
    pub fn of(problem: Problem, position: Position) -> Self {
        let Problem { object, field, severity, text, cause } = problem;
        let text = match cause {
            Cause::Rejection(who) => format!("{who} {text}"),
            _ => text,
        };
        Self::new(position, Subject::from(&object), Note { field, severity, text })
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.note.severity
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.position.file.as_os_str().is_empty() {
            write!(f, "{}: ", printable(&self.position.to_string()))?;
        }
        write!(f, "{}: ", self.note.severity)?;
        for part in [&self.subject.to_string(), &self.note.field] {
            if !part.is_empty() {
                write!(f, "{}: ", printable(part))?;
            }
        }
        f.write_str(&printable(&self.note.text))?;
        if self.effect.is_empty() { Ok(()) } else { write!(f, "; {}", printable(&self.effect)) }
    }
}

/// The most characters of one part of a finding that are printed.
const PRINTED: usize = 1_000;

/// A text as it may stand in a line of a terminal or a log: names come from files, and nothing in them may end the line,
/// turn its direction or fill the screen.
fn printable(text: &str) -> String {
    let unseen =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let mut shown = String::with_capacity(text.len().min(PRINTED));
    for (at, c) in text.chars().enumerate() {
        match c {
            _ if at == PRINTED => {
                shown.push('…');
                break;
            }
            c if c.is_control() || unseen(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}
