//! A set of resource names: persistent, so that equal ones are stored once and those that differ in a few share the rest.

use super::keyed::keyed;
use imbl::OrdSet;
use std::sync::Arc;

/// Names, sorted. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct NameSet {
    set: OrdSet<Arc<str>>,
    sum: NameSum,
}

/// How many names there are, and the sum of their hashes: found without building a set, in any order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct NameSum {
    count: usize,
    sum: u128,
}

impl NameSum {
    /// How many names there are.
    pub fn count(&self) -> usize {
        self.count
    }

    fn add(&mut self, name: &str) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(keyed(name.as_bytes()));
    }

    fn take(&mut self, name: &str) {
        self.count -= 1;
        self.sum = self.sum.wrapping_sub(keyed(name.as_bytes()));
    }
}

impl<'a> FromIterator<&'a str> for NameSum {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut sum = Self::default();
        names.into_iter().for_each(|name| sum.add(name));
        sum
    }
}

impl NameSet {
    /// Adds a name; whether it is new.
    pub fn insert(&mut self, name: Arc<str>) -> bool {
        if self.set.contains(&*name) {
            return false;
        }
        self.sum.add(&name);
        self.set.insert(name);
        true
    }

    /// Takes a name out; none if it is not there.
    pub fn take(&mut self, name: &str) -> Option<Arc<str>> {
        let name = self.set.remove(name)?;
        self.sum.take(&name);
        Some(name)
    }

    /// Whether a name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.set.contains(name)
    }

    /// The names, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.set.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sum.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sum.count == 0
    }

    /// What tells sets apart without comparing names.
    pub fn sum(&self) -> NameSum {
        self.sum
    }
}
