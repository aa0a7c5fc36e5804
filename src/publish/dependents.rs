//! Who read what: from look-up keys to the computations that recorded them, and back.
//!
//! A mesh has hundreds of thousands of such pairs, so both sides are numbers.

use super::interner::Interner;
use crate::model::world::Key;
use std::collections::BTreeSet;

/// Two maps that mirror each other: what each reader read, and the readers of each key.
pub struct Dependents<Id, K = Key> {
    ids: Interner<Id>,
    keys: Interner<K>,
    /// By number of the reader: the numbers of keys, ascending.
    reads: Vec<Box<[u32]>>,
    /// By number of the key: the numbers of readers.
    readers: Vec<BTreeSet<u32>>,
}

impl<Id, K> Default for Dependents<Id, K> {
    fn default() -> Self {
        Self { ids: Interner::default(), keys: Interner::default(), reads: Vec::new(), readers: Vec::new() }
    }
}

impl<Id: Ord + Clone, K: Ord + Clone> Dependents<Id, K> {
    /// Replaces what a reader read.
    pub fn record(&mut self, id: &Id, reads: &BTreeSet<K>) {
        if reads.is_empty() && self.ids.get(id).is_none() {
            return;
        }
        let reader = self.ids.number(id);
        let mut numbers: Vec<u32> = reads.iter().map(|key| self.keys.number(key)).collect();
        numbers.sort_unstable();
        grow(&mut self.reads, reader);
        let old = std::mem::replace(&mut self.reads[reader as usize], numbers.into());
        for &key in &self.reads[reader as usize] {
            grow(&mut self.readers, key);
            self.readers[key as usize].insert(reader);
        }
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
        let readers = &mut self.readers[key as usize];
        readers.remove(&reader);
        if readers.is_empty() {
            self.keys.remove(key);
        }
    }

    /// The readers of any of the keys.
    pub fn touched<'a>(&'a self, keys: &BTreeSet<K>) -> BTreeSet<&'a Id> {
        keys.iter().flat_map(|key| self.readers_of(key)).collect()
    }

    /// The readers of a key.
    pub fn readers_of(&self, key: &K) -> impl Iterator<Item = &Id> {
        let readers = self.keys.get(key).map(|key| &self.readers[key as usize]);
        readers.into_iter().flatten().map(|reader| self.ids.value(*reader))
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

fn grow<T: Default>(slots: &mut Vec<T>, number: u32) {
    if slots.len() <= number as usize {
        slots.resize_with(number as usize + 1, T::default);
    }
}
