//! What can be at fault: a resource or one of its fragments, in one version.

use crate::snapshot::resource::{Resource, Version};
use std::cmp::Ordering;
use std::sync::Arc;

/// What can be at fault: a resource or, where it has any, one of its fragments.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The resource.
    pub name: Arc<str>,
    /// The fragment; none for the resource.
    pub part: Option<Arc<str>>,
    /// The version of whichever it is.
    pub version: Version,
}

impl Unit {
    /// Whether what is at fault in one is at fault in the other: the same fragment may be in several tables.
    pub(super) fn is_same(&self, other: &Unit) -> bool {
        self == other || (self.part.is_some() && other.part.is_some() && self.version == other.version)
    }

    /// Whether it is still what there is under its name.
    pub(super) fn is_in(&self, current: Option<&Arc<Resource>>) -> bool {
        let version = current.and_then(|current| match &self.part {
            None => Some(current.version()),
            Some(part) => Some(current.fragments()?.get(part)?.version()),
        });
        version == Some(self.version)
    }
}

impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Unit {}

impl PartialOrd for Unit {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Unit {
    fn cmp(&self, other: &Self) -> Ordering {
        #[cfg(test)]
        COMPARED.set(COMPARED.get() + 1);
        let key = (&*self.name, self.part.as_deref(), self.version);
        key.cmp(&(&*other.name, other.part.as_deref(), other.version))
    }
}

#[cfg(test)]
thread_local! {
    /// How often units were compared: what a rejection costs.
    static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often units were compared on this thread.
#[cfg(test)]
pub(super) fn compared() -> usize {
    COMPARED.get()
}
