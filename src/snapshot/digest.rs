//! An order-independent hash over (name, version), kept incrementally: the version of a whole set.
//!
//! Equal sets have equal digests on every replica, whatever the order in which they came about.

use super::resource::{Resource, Version};
use std::ops::AddAssign;
use xxhash_rust::xxh3::xxh3_128;

/// A sum of hashes: adding and taking away a resource cost the same, in any order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest(u128);

impl Digest {
    /// Adds a resource.
    pub fn add(&mut self, resource: &Resource) {
        *self = self.with(resource.name(), resource.version());
    }

    /// The same with a resource of that name and version.
    #[must_use]
    pub fn with(self, name: &str, version: Version) -> Self {
        Self(self.0.wrapping_add(term(name, version)))
    }

    /// Takes away a resource that was added before.
    pub fn take(&mut self, resource: &Resource) {
        self.0 = self.0.wrapping_sub(term(resource.name(), resource.version()));
    }

    /// The digest as a version.
    pub fn version(self) -> Version {
        Version(self.0)
    }
}

impl AddAssign for Digest {
    fn add_assign(&mut self, other: Digest) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

fn term(name: &str, version: Version) -> u128 {
    let mut both = [0; 32];
    both[..16].copy_from_slice(&xxh3_128(name.as_bytes()).to_le_bytes());
    both[16..].copy_from_slice(&version.0.to_le_bytes());
    xxh3_128(&both)
}
