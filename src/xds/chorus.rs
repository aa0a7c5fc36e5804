//! Many clients that say the same: it is passed on once, in the name of the first, and then how often it was said, and by how
//! many.
//!
//! What one Envoy refuses, thousands refuse within a second; as many lines in a log would say no more than one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_128;

/// How long the same is not passed on again.
pub const QUIET: Duration = Duration::from_secs(10);
/// How many different things are passed on in that time: clients choose what they say.
pub const DIFFERENT: usize = 64;
/// How many addresses are told apart that say the same. So many stands for more as well.
pub const PEERS: usize = 64;

/// What was heard lately.
#[derive(Debug, Default)]
pub struct Chorus(Mutex<BTreeMap<u128, Heard>>);

#[derive(Debug)]
struct Heard {
    /// When it was passed on.
    at: Instant,
    /// How often it was said since.
    since: u64,
    /// From where.
    peers: BTreeSet<IpAddr>,
}

impl Heard {
    fn just(now: Instant) -> Self {
        Self { at: now, since: 0, peers: BTreeSet::new() }
    }

    fn again(&mut self, peer: Option<IpAddr>) {
        self.since += 1;
        self.peers.extend(peer.filter(|_| self.peers.len() < PEERS));
    }

    fn others(&self) -> Others {
        Others { times: self.since, peers: self.peers.len() }
    }
}

/// Who else has said the same since it was last passed on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Others {
    /// How often it was said.
    pub times: u64,
    /// From how many addresses, as far as those are known; [`PEERS`] at most.
    pub peers: usize,
}

impl Chorus {
    /// Somebody says this, from that address. If it is to be passed on: who else has said it since it was the last time.
    pub fn hear(&self, text: &str, peer: Option<IpAddr>, now: Instant) -> Option<Others> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = xxh3_128(text.as_bytes());
        if let Some(known) = heard.get_mut(&key) {
            if now < known.at + QUIET {
                known.again(peer);
                return None;
            }
            return Some(std::mem::replace(known, Heard::just(now)).others());
        }
        if heard.len() >= DIFFERENT {
            heard.retain(|_, known| now < known.at + QUIET);
        }
        let room = heard.len() < DIFFERENT;
        room.then(|| {
            heard.insert(key, Heard::just(now));
            Others::default()
        })
    }
}
