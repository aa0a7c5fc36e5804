//! Who read what: from look-up keys to the computations that recorded them, and back.
//!
//! A mesh has hundreds of thousands of such pairs, so both sides are numbers, and a key that has one reader, as nearly all
//! have, takes no set of its own.

use super::interner::Interner;
use crate::model::world::Key;
use std::collections::BTreeSet;
use std::hash::Hash;

/// Two maps that mirror each other: what each reader read, and the readers of each key.
pub struct Dependents<Id, K = Key> {
    ids: Interner<Id>,
    keys: Interner<K>,
    /// By number of the reader: the numbers of keys, ascending.
    reads: Vec<Box<[u32]>>,
    /// Numbers of a key and of a reader of it.
    readers: BTreeSet<(u32, u32)>,
}

impl<Id, K> Default for Dependents<Id, K> {
    fn default() -> Self {
        Self { ids: Interner::default(), keys: Interner::default(), reads: Vec::new(), readers: BTreeSet::new() }
    }
}

impl<Id: Ord + Hash + Clone, K: Ord + Hash + Clone> Dependents<Id, K> {
    /// Replaces what a reader read.
    pub fn record(&mut self, id: &Id, reads: &BTreeSet<K>) {
        if reads.is_empty() && self.ids.get(id).is_none() {
            return;
        }
        let reader = self.ids.number(id);
        let mut numbers: Vec<u32> = reads.iter().map(|key| self.keys.number(key)).collect();
        numbers.sort_unstable();
        if self.reads.len() <= reader as usize {
            self.reads.resize_with(reader as usize + 1, Box::default);
        }
        let old = std::mem::replace(&mut self.reads[reader as usize], numbers.into());
        self.readers.extend(self.reads[reader as usize].iter().map(|key| (*key, reader)));
        let gone = old.iter().filter(|key| self.reads[reader as usize].binary_search(key).is_err());
        gone.copied().collect::<Vec<_>>().into_iter().for_each(|key| self.unread(key, reader));
    }

    /// Forgets a reader.
    pub fn forget(&mut self, id: &Id) {
        let Some(reader) = self.ids.get(id) else { return };
        for key in std::mem::take(&mut self.reads[reader as usize]) {
            self.unread(key, reader);
        }
        self.ids.remove(reader);
    }

    fn unread(&mut self, key: u32, reader: u32) {
        self.readers.remove(&(key, reader));
        if self.numbers_of(key).next().is_none() {
            self.keys.remove(key);
        }
    }

    /// The numbers of a key's readers.
    fn numbers_of(&self, key: u32) -> impl Iterator<Item = u32> {
        self.readers.range((key, 0)..=(key, u32::MAX)).map(|(_, reader)| *reader)
    }

    /// The readers of any of the keys.
    pub fn touched<'a>(&'a self, keys: &BTreeSet<K>) -> BTreeSet<&'a Id> {
        keys.iter().flat_map(|key| self.readers_of(key)).collect()
    }

    /// The readers of a key.
    pub fn readers_of(&self, key: &K) -> impl Iterator<Item = &Id> {
        let readers = self.keys.get(key).into_iter().flat_map(|key| self.numbers_of(key));
        readers.map(|reader| self.ids.value(reader))
    }

    /// Whether a reader read a key.
    pub fn has_read(&self, id: &Id, key: &K) -> bool {
        let (Some(reader), Some(key)) = (self.ids.get(id), self.keys.get(key)) else { return false };
        self.reads[reader as usize].binary_search(&key).is_ok()
    }

    /// What a reader read; nothing, if it is not known.
    pub fn reads(&self, id: &Id) -> BTreeSet<K> {
        let reads = self.ids.get(id).map(|reader| &self.reads[reader as usize]);
        reads.into_iter().flatten().map(|key| self.keys.value(*key).clone()).collect()
    }

    /// Every reader, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.ids.values()
    }
}
