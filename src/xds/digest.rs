//! An order-independent hash over (name, version), kept incrementally: the version of a whole set.
//!
//! Equal sets have equal digests on every replica, whatever the order in which they came about.

use crate::snapshot::resource::{Resource, Version};
use xxhash_rust::xxh3::Xxh3;

/// A sum of hashes: adding and taking away a resource cost the same, in any order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest(u128);

impl Digest {
    /// Adds a resource.
    pub fn add(&mut self, resource: &Resource) {
        self.0 = self.0.wrapping_add(term(resource));
    }

    /// Takes away a resource that was added before.
    pub fn take(&mut self, resource: &Resource) {
        self.0 = self.0.wrapping_sub(term(resource));
    }

    /// The digest as a version.
    pub fn version(self) -> Version {
        Version(self.0)
    }
}

fn term(resource: &Resource) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&resource.version().0.to_le_bytes());
    hasher.update(resource.name().as_bytes());
    hasher.digest128()
}
