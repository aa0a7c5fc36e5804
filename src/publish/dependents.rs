//! Who read what: from look-up keys to the computations that recorded them, and back.

use crate::model::world::Key;
use std::collections::{BTreeMap, BTreeSet};

/// Two maps that mirror each other.
pub struct Dependents<Id> {
    reads: BTreeMap<Id, BTreeSet<Key>>,
    readers: BTreeMap<Key, BTreeSet<Id>>,
}

impl<Id> Default for Dependents<Id> {
    fn default() -> Self {
        Self { reads: BTreeMap::new(), readers: BTreeMap::new() }
    }
}

impl<Id: Ord + Clone> Dependents<Id> {
    /// Replaces what a computation read.
    pub fn record(&mut self, id: &Id, reads: BTreeSet<Key>) {
        let old = self.reads.remove(id).unwrap_or_default();
        for key in old.difference(&reads) {
            self.unread(key, id);
        }
        for key in reads.difference(&old) {
            self.readers.entry(key.clone()).or_default().insert(id.clone());
        }
        self.reads.insert(id.clone(), reads);
    }

    /// Forgets a computation.
    pub fn forget(&mut self, id: &Id) {
        for key in self.reads.remove(id).unwrap_or_default() {
            self.unread(&key, id);
        }
    }

    fn unread(&mut self, key: &Key, id: &Id) {
        if let Some(readers) = self.readers.get_mut(key) {
            readers.remove(id);
            if readers.is_empty() {
                self.readers.remove(key);
            }
        }
    }

    /// The computations that read any of the keys.
    pub fn touched<'a>(&'a self, keys: &BTreeSet<Key>) -> BTreeSet<&'a Id> {
        keys.iter().filter_map(|key| self.readers.get(key)).flatten().collect()
    }

    /// What a computation read.
    pub fn reads(&self, id: &Id) -> Option<&BTreeSet<Key>> {
        self.reads.get(id)
    }

    /// Every computation, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.reads.keys()
    }
}
