//! Hashes that stand for content a client chose: nobody outside this process knows their key, so nobody can look for other content
//! with the same hash or sum. They never leave the process.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Another one in each process; from where the standard library has its own.
static KEY: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("chancery"));

/// The hash of what a client sent.
pub fn keyed(bytes: &[u8]) -> u128 {
    xxh3_128_with_seed(bytes, *KEY)
}
