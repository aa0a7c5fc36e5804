//! Small numbers for values that many places refer to: a value is kept once, a reference costs four bytes.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

/// Values by number and numbers by value. Numbers of values that were removed are given out again.
pub struct Interner<T> {
    /// A hash of each value, and its number: a value is found without a second copy of it, or a comparison with others.
    numbers: BTreeSet<(u64, u32)>,
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { numbers: BTreeSet::new(), values: Vec::new(), free: Vec::new() }
    }
}

impl<T: Ord + Hash + Clone> Interner<T> {
    /// The number of a value, a new one if it has none.
    pub fn number(&mut self, value: &T) -> u32 {
        let hash = hash(value);
        if let Some(number) = self.find(hash, value) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            u32::try_from(self.values.len() - 1).expect("memory ends before four billion values")
        });
        self.values[number as usize] = Some(value.clone());
        self.numbers.insert((hash, number));
        number
    }

    /// The number of a value that has one.
    pub fn get(&self, value: &T) -> Option<u32> {
        self.find(hash(value), value)
    }

    fn find(&self, hash: u64, value: &T) -> Option<u32> {
        let mut same_hash = self.numbers.range((hash, 0)..=(hash, u32::MAX)).map(|(_, number)| *number);
        same_hash.find(|number| self.value(*number) == value)
    }

    /// The value of a number in use.
    pub fn value(&self, number: u32) -> &T {
        self.values[number as usize].as_ref().expect("the number of a value that is kept")
    }

    /// Forgets a number in use.
    pub fn remove(&mut self, number: u32) {
        if let Some(value) = self.values[number as usize].take() {
            self.numbers.remove(&(hash(&value), number));
            self.free.push(number);
        }
    }

    /// Every value, sorted now.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        let mut values: Vec<_> = self.values.iter().flatten().collect();
        values.sort_unstable();
        values.into_iter()
    }
}

fn hash(value: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}
