//! The objects on which a status is written, as the API server has them, and broken ones of other kinds, for which there are only
//! Events.
//! A shared, immutable value.

use super::kinds::Watched;
use super::news::Id;
use super::raw::Raw;
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

impl Entry {
    /// What there is of an object of a kind, read in that version of it.
    pub(super) fn of(kind: &'static Watched, served: &'static str, raw: &Raw) -> Self {
        Self {
            kind,
            served,
            uid: raw.uid().into(),
            version: raw.version().into(),
            generation: raw.generation(),
            status: if kind.has_status() { raw.status().into() } else { "".into() },
        }
    }

    /// What there is now, by what the API server has answered to a write; none if that can't be read.
    pub fn after(&self, answer: &str) -> Option<Self> {
        let raw: Raw = serde_json::from_str(answer).ok().filter(|raw: &Raw| !raw.version().is_empty())?;
        Some(Self::of(self.kind, self.served, &raw))
    }
}

/// All of them.
pub type Inventory = OrdMap<Which, Entry>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::kinds::KINDS;

    /// Whatever somebody else keeps in a status, what is stored is known; the control: no object is none.
    #[test]
    fn an_answer_is_read_however_deep_it_is() {
        let (uid, version, status) = ("a".into(), "1".into(), "".into());
        let kind = KINDS.iter().find(|kind| kind.has_status()).expect("Istio's have");
        let before = Entry { kind, served: "v1", uid, version, generation: Some(1), status };
        let deep = format!("{}1{}", "{\"more\":".repeat(500), "}".repeat(500));
        for status in ["{\"conditions\":[]}", &deep] {
            let metadata = r#"{"uid":"a","resourceVersion":"2","generation":7}"#;
            let after = before.after(&format!("{{\"metadata\":{metadata},\"status\":{status}}}")).expect("an object");
            assert_eq!((&*after.version, after.generation, after.status.is_empty()), ("2", Some(7), false));
        }
        assert_eq!(before.after("[]").or_else(|| before.after("{}")), None);
    }
}
