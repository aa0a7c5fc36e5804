//! Small numbers for values that many places refer to: a value is kept once, a reference costs four bytes.

use std::collections::BTreeMap;

/// Values by number and numbers by value. Numbers of values that were removed are given out again.
pub struct Interner<T> {
    numbers: BTreeMap<T, u32>,
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), values: Vec::new(), free: Vec::new() }
    }
}

impl<T: Ord + Clone> Interner<T> {
    /// The number of a value, a new one if it has none.
    pub fn number(&mut self, value: &T) -> u32 {
        if let Some(&number) = self.numbers.get(value) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            u32::try_from(self.values.len() - 1).expect("memory ends before four billion values")
        });
        self.values[number as usize] = Some(value.clone());
        self.numbers.insert(value.clone(), number);
        number
    }

    /// The number of a value that has one.
    pub fn get(&self, value: &T) -> Option<u32> {
        self.numbers.get(value).copied()
    }

    /// The value of a number in use.
    pub fn value(&self, number: u32) -> &T {
        self.values[number as usize].as_ref().expect("the number of a value that is kept")
    }

    /// Forgets a number in use.
    pub fn remove(&mut self, number: u32) {
        if let Some(value) = self.values[number as usize].take() {
            self.numbers.remove(&value);
            self.free.push(number);
        }
    }

    /// Every value, sorted.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.numbers.keys()
    }
}
