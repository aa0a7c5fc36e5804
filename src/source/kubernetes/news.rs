//! What the watch of one kind tells, and what is known of its state.

use super::inventory::Entry;
use super::kinds::Watched;
use crate::source::parse::Parsed;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Namespace and name of an object of a kind; the namespace is empty for what has none.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Id {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

/// One object as the API server has it.
#[derive(Debug)]
pub struct Item {
    /// Which.
    pub id: Id,
    /// What tells it from an earlier one of that name.
    pub uid: Arc<str>,
    /// What it is; none of a kind that is not read.
    pub parsed: Option<Parsed>,
    /// What is there of it besides; none of one of which there is neither a status of ours nor an Event.
    pub entry: Option<Box<Entry>>,
}

/// What happened to the objects of a kind.
#[derive(Debug)]
pub enum News {
    /// These are all there are.
    Listed(Vec<Item>),
    /// This one is new, or another now.
    Changed(Item),
    /// This one is gone.
    Gone(Id),
    /// This is how it stands with the watch.
    State(State),
}

/// How it stands with the watch of a kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// A list is on its way, with so many objects so far.
    Listing(usize),
    /// What is known is what the API server has.
    Watching,
    /// The API server doesn't serve the kind.
    Missing,
    /// We may not list or watch it.
    Denied(Arc<str>),
    /// It could not be listed or watched, and is tried again.
    Failing(Arc<str>),
}

impl State {
    /// In a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Listing(_) => "listing",
            State::Watching => "watching",
            State::Missing => "missing",
            State::Denied(_) => "denied",
            State::Failing(_) => "failing",
        }
    }

    /// Why it isn't better.
    pub fn reason(&self) -> Option<&Arc<str>> {
        match self {
            State::Denied(reason) | State::Failing(reason) => Some(reason),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Listing(count) => write!(f, "listing, {count} so far"),
            State::Denied(reason) | State::Failing(reason) => write!(f, "{}: {reason}", self.as_str()),
            _ => f.write_str(self.as_str()),
        }
    }
}

/// What is known of every kind, wherever it is watched. A shared, immutable value.
pub type Kinds = imbl::Vector<KindStatus>;

/// What is known of a kind.
#[derive(Clone, Debug)]
pub struct KindStatus {
    /// Which.
    pub kind: &'static Watched,
    /// How it stands with its watch.
    pub state: State,
    /// Since when it is watched, or is not, whatever else it was meanwhile: of one that is not, what is known is so old,
    /// unless it was listed since.
    pub since: Instant,
    /// Whether nothing more has to be known of it before anything is served: it was listed once, or its absence is
    /// somebody's decision.
    pub settled: bool,
    /// How many objects there are, whatever is thought of them.
    pub objects: usize,
}
