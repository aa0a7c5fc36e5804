//! Addresses from which much comes that is not believed: for a while nothing that is shown from there is looked at.
//!
//! What it costs to look at a credential, and to say what is wrong with it, is so bounded for each address, whatever ports it
//! comes to. Nobody else notices; who shares an address with somebody like that waits with them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many failures in a row are nothing unusual: a fleet behind one address may come with tokens that have ended.
const USUAL: f64 = 64.0;
/// How many a second are forgotten.
const FORGOTTEN: f64 = 8.0;
/// Of how many addresses it is known. Of more than these nobody is slowed down: each costs its owner a connection.
const ADDRESSES: usize = 4096;

/// What is held against addresses.
#[derive(Debug, Default)]
pub struct Mistrust(Mutex<BTreeMap<IpAddr, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: f64,
    at: Instant,
}

impl Failures {
    /// How many are left of them.
    fn left(self, now: Instant) -> f64 {
        (self.count - FORGOTTEN * now.saturating_duration_since(self.at).as_secs_f64()).max(0.0)
    }
}

impl Mistrust {
    /// Whether nothing from there is looked at now.
    pub fn is_deserved(&self, from: IpAddr, now: Instant) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&from).is_some_and(|failures| failures.left(now) >= USUAL)
    }

    /// Something from there was not believed.
    pub fn note(&self, from: IpAddr, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&from) && known.len() >= ADDRESSES {
            known.retain(|_, failures| failures.left(now) > 0.0);
        }
        if known.len() < ADDRESSES || known.contains_key(&from) {
            let before = known.get(&from).map_or(0.0, |failures| failures.left(now));
            known.insert(from, Failures { count: before + 1.0, at: now });
        }
    }
}

/// An address from which something is presented, and what is held against it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// What is held against addresses.
    pub mistrust: &'a Mistrust,
    /// The address.
    pub address: IpAddr,
}

impl Origin<'_> {
    /// Whether nothing from there is looked at now.
    pub fn is_mistrusted(self) -> bool {
        self.mistrust.is_deserved(self.address, Instant::now())
    }

    /// Something from there was not believed.
    pub fn note(self) {
        self.mistrust.note(self.address, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(number))
    }

    #[test]
    fn it_comes_with_failures_goes_with_time_and_is_each_addresss_own() {
        let (mistrust, now) = (Mistrust::default(), Instant::now());
        for _ in 0..USUAL as u32 - 1 {
            mistrust.note(address(1), now);
        }
        assert!(!mistrust.is_deserved(address(1), now), "that is nothing unusual");
        mistrust.note(address(1), now);
        assert!(mistrust.is_deserved(address(1), now));
        assert!(!mistrust.is_deserved(address(2), now));
        assert!(!mistrust.is_deserved(address(1), now + Duration::from_secs(1)));
    }

    #[test]
    fn it_is_bounded_and_the_forgotten_make_room() {
        let (mistrust, now) = (Mistrust::default(), Instant::now());
        for number in 0..2 * ADDRESSES as u32 {
            mistrust.note(address(number), now);
        }
        let count = || mistrust.0.lock().expect("nobody panics").len();
        assert_eq!(count(), ADDRESSES);
        mistrust.note(address(u32::MAX), now + Duration::from_secs(60));
        assert_eq!(count(), 1);
    }
}
