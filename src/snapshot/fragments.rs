//! The fragments of a resource by name: persistent, so that a change of one among thousands costs one, and so that
//! audiences whose tables differ in a few share the rest.

use super::resource::{Fragment, Version};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// Fragments, sorted by name. Cloning is cheap.
#[derive(Clone, Default, Debug)]
pub struct Fragments {
    by_name: OrdMap<Arc<str>, Arc<Fragment>>,
    /// The sum of their versions: it has no order, and can be kept up to date.
    sum: u128,
    length: usize,
}

impl Fragments {
    /// Adds or replaces a fragment.
    pub fn insert(&mut self, fragment: Arc<Fragment>) {
        self.remove(&fragment.name().clone());
        self.sum = self.sum.wrapping_add(fragment.version().0);
        self.length += fragment.entry().len();
        self.by_name.insert(fragment.name().clone(), fragment);
    }

    /// Removes a fragment.
    pub fn remove(&mut self, name: &str) {
        if let Some(fragment) = self.by_name.remove(name) {
            self.sum = self.sum.wrapping_sub(fragment.version().0);
            self.length -= fragment.entry().len();
        }
    }

    /// The fragment of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Fragment>> {
        self.by_name.get(name)
    }

    /// The fragments, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Fragment>> {
        self.by_name.values()
    }

    /// The fragments that are other ones in `new`: in their form here and in their form there. Costs O(changes log n).
    pub fn differences<'a>(
        &'a self,
        new: &'a Fragments,
    ) -> impl Iterator<Item = (Option<&'a Arc<Fragment>>, Option<&'a Arc<Fragment>>)> {
        self.by_name.diff(&new.by_name).map(|item| match item {
            DiffItem::Add(_, new) => (None, Some(new)),
            DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
            DiffItem::Remove(_, old) => (Some(old), None),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How long they are one after the other, in bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The version of what `head` and the fragments make together.
    pub fn version(&self, head: &[u8]) -> Version {
        Version(xxh3_128(&[head, &self.sum.to_le_bytes()].concat()))
    }
}

impl PartialEq for Fragments {
    /// Costs nothing where both are one value, as those of unchanged tables are.
    fn eq(&self, other: &Self) -> bool {
        self.by_name.ptr_eq(&other.by_name) || (self.sum == other.sum && self.by_name == other.by_name)
    }
}

impl FromIterator<Arc<Fragment>> for Fragments {
    fn from_iter<I: IntoIterator<Item = Arc<Fragment>>>(fragments: I) -> Self {
        let mut all = Self::default();
        fragments.into_iter().for_each(|fragment| all.insert(fragment));
        all
    }
}
