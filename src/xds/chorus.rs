//! Many clients that say the same: it is passed on once, in the name of the first, and then how often it was said, and by how
//! many.
//!
//! What one Envoy refuses, thousands refuse within a second; as many lines in a log would say no more than one. Who says
//! something else each time is bounded as well, and keeps only those unheard who say something of the same kind.

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
/// How many of these are named.
pub const NAMED: usize = 8;

/// What was heard lately.
#[derive(Debug, Default)]
pub struct Chorus(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    heard: BTreeMap<u128, Heard>,
    /// How often something else was said for which there was no room, since that was told.
    left_out: u64,
}

/// What clients say, by what they need for it: whoever can open a connection can fail to shake hands in as many ways as there
/// is room for, and is not to hide by that who shows bad credentials.
#[derive(Debug, Default)]
pub struct Complaints {
    /// What went wrong with handshakes.
    pub handshakes: Chorus,
    /// Why what was shown at the door for proxies was not believed.
    pub credentials: Chorus,
    /// What proxies reject, and why.
    pub rejections: Chorus,
    /// Why visitors of the admin port are shown nothing.
    pub visitors: Chorus,
}

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

    fn others(&self, left_out: u64) -> Others {
        let among = self.peers.iter().copied().take(NAMED).collect();
        Others { times: self.since, peers: self.peers.len(), among, left_out }
    }
}

/// Who else has said the same since it was last passed on.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Others {
    /// How often it was said.
    pub times: u64,
    /// From how many addresses, as far as those are known; [`PEERS`] at most.
    pub peers: usize,
    /// Some of these, [`NAMED`] at most.
    pub among: Vec<IpAddr>,
    /// How often something else was said that was not passed on at all, because too much else was, and not told of yet.
    pub left_out: u64,
}

impl Chorus {
    /// Somebody says this, from that address. If it is to be passed on: who else has said it since it was the last time. What
    /// there is no room for is told of with the next that is passed on.
    pub fn hear(&self, text: &str, peer: Option<IpAddr>, now: Instant) -> Option<Others> {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Lately { heard, left_out } = &mut *lately;
        let key = xxh3_128(text.as_bytes());
        if let Some(known) = heard.get_mut(&key) {
            if now < known.at + QUIET {
                known.again(peer);
                return None;
            }
            return Some(std::mem::replace(known, Heard::just(now)).others(std::mem::take(left_out)));
        }
        if heard.len() >= DIFFERENT {
            heard.retain(|_, known| now < known.at + QUIET);
        }
        if heard.len() >= DIFFERENT {
            *left_out += 1;
            return None;
        }
        heard.insert(key, Heard::just(now));
        Some(Others { left_out: std::mem::take(left_out), ..Others::default() })
    }
}
