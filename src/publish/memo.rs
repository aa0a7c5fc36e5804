//! What has been built, by inputs: audiences that select equal inputs share one resource and one encoding.

use crate::translate::unit::{Built, Inputs};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A built thing and what it was built from. Kept as long as somebody holds it.
pub type Shared = Arc<Entry>;

/// See [`Shared`].
#[derive(Debug)]
pub struct Entry {
    inputs: Inputs,
    /// What was built.
    pub built: Built,
}

/// The memo. Entries are found by a hash of their inputs and compared in full.
#[derive(Default)]
pub struct Memo {
    entries: BTreeMap<u64, Vec<Shared>>,
    built: usize,
}

impl Memo {
    /// The result for `inputs`, built now if nobody holds it.
    pub fn get(&mut self, inputs: Inputs, build: fn(&Inputs) -> Built) -> Shared {
        let hash = hash(&inputs);
        let known = self.entries.get(&hash).into_iter().flatten().find(|entry| entry.inputs == inputs);
        if let Some(entry) = known {
            return entry.clone();
        }
        let entry = Arc::new(Entry { built: build(&inputs), inputs });
        self.built += 1;
        // Nearly always the only one: room for no more.
        self.entries.entry(hash).or_insert_with(|| Vec::with_capacity(1)).push(entry.clone());
        entry
    }

    /// Gives a result back; it is dropped with its last holder.
    pub fn release(&mut self, entry: Shared) {
        let hash = hash(&entry.inputs);
        let Some(bucket) = self.entries.get_mut(&hash) else { return };
        // Two holders are left: the bucket and the caller.
        if Arc::strong_count(&entry) == 2 {
            bucket.retain(|other| !Arc::ptr_eq(other, &entry));
            if bucket.is_empty() {
                self.entries.remove(&hash);
            }
        }
    }

    /// Drops what nobody holds: after a fault, in which something was not given back.
    pub fn sweep(&mut self) {
        self.entries.retain(|_, bucket| {
            bucket.retain(|entry| Arc::strong_count(entry) > 1);
            !bucket.is_empty()
        });
    }

    /// How many builds there have been.
    pub fn built(&self) -> usize {
        self.built
    }
}

fn hash(inputs: &Inputs) -> u64 {
    let mut hasher = DefaultHasher::new();
    inputs.hash(&mut hasher);
    hasher.finish()
}
