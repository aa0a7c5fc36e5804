//! Many clients that say the same: it is passed on once, and then how many have said it.
//!
//! What one Envoy refuses, thousands refuse within a second; as many lines in a log would say no more than one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128;

/// How long the same is not passed on again.
pub const QUIET: Duration = Duration::from_secs(10);
/// How many different things are passed on in that time: clients choose what they say.
pub const DIFFERENT: usize = 64;

/// What was heard lately.
#[derive(Debug, Default)]
pub struct Chorus(Mutex<BTreeMap<u128, Heard>>);

#[derive(Debug)]
struct Heard {
    /// When it was passed on.
    at: Instant,
    /// How many have said it since.
    since: u64,
}

impl Chorus {
    /// Somebody says this. If it is to be passed on: how many have said the same since it was the last time.
    pub fn hear(&self, text: &str, now: Instant) -> Option<u64> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = xxh3_128(text.as_bytes());
        if let Some(known) = heard.get_mut(&key) {
            if now < known.at + QUIET {
                known.since += 1;
                return None;
            }
            return Some(std::mem::replace(known, Heard { at: now, since: 0 }).since);
        }
        if heard.len() >= DIFFERENT {
            heard.retain(|_, known| now < known.at + QUIET);
        }
        let room = heard.len() < DIFFERENT;
        room.then(|| {
            heard.insert(key, Heard { at: now, since: 0 });
            0
        })
    }
}
