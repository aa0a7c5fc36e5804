//! The objects on which a status is written, as the API server has them, and broken ones of other kinds, for which there are only
//! Events.
//! A shared, immutable value.

use super::kinds::Watched;
use super::news::Id;
use imbl::OrdMap;
use std::fmt;
use std::sync::Arc;

/// An object among those of all kinds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Which {
    /// The kind's group.
    pub group: &'static str,
    /// The resource's name in paths.
    pub plural: &'static str,
    /// Which of its objects.
    pub id: Id,
}

impl Which {
    /// An object of a kind.
    pub fn of(kind: &'static Watched, id: &Id) -> Self {
        Self { group: kind.group, plural: kind.plural, id: id.clone() }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} {}/{}", self.plural, self.group, self.id.namespace, self.id.name)
    }
}

/// What is there of an object besides what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its kind.
    pub kind: &'static Watched,
    /// The version of the kind that it was read in.
    pub served: &'static str,
    /// What tells it from an earlier one of that name.
    pub uid: Arc<str>,
    /// The state of it: `metadata.resourceVersion`.
    pub version: Arc<str>,
    /// Counts the changes of what it says.
    pub generation: Option<i64>,
    /// Its status as JSON; empty for none, and of a kind without a status of ours.
    pub status: Arc<str>,
}

/// All of them.
pub type Inventory = OrdMap<Which, Entry>;
