//! Where much comes from that is not believed: for a while nothing that is shown from there is looked at, but what names a Pod
//! that there is, and few at once may shake hands.
//!
//! What it costs to look at a credential, and to say what is wrong with it, is so bounded for each place, whatever ports it
//! comes to. Nobody else notices; of who shares a place with somebody like that, proxies with a token of their Pod don't.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How many failures in a row are nothing unusual: a fleet behind one address may come with tokens that have ended.
const USUAL: f64 = 64.0;
/// How many a second are forgotten.
const FORGOTTEN: f64 = 8.0;
/// Against how many something is held. Of more than these nobody is slowed down: each costs its owner a connection.
const SUSPECTS: usize = 4096;
/// The bits of an IPv6 address that say in which network it is; who has one address there has all.
const NETWORK: u128 = !0 << 64;

/// From where somebody comes: an IPv4 address, or a network of IPv6.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place(IpAddr);

impl Place {
    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
            v4 => v4,
        })
    }
}

/// Against whom something is held.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Suspect {
    /// Whoever shows credentials from there.
    Place(Place),
    /// Who does so and names a Pod that there is, by a hash of what nobody guesses of it.
    Claimant(Place, u64),
    /// Whoever shakes hands from there.
    Stranger(Place),
}

/// What is held against whom.
#[derive(Debug, Default)]
pub struct Mistrust(Mutex<BTreeMap<Suspect, Failures>>);

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
    /// Whether nothing of theirs is looked at now.
    pub fn is_deserved(&self, suspect: Suspect, now: Instant) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&suspect).is_some_and(|failures| failures.left(now) >= USUAL)
    }

    /// Something of theirs was not believed, or led nowhere.
    pub fn note(&self, suspect: Suspect, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&suspect) && known.len() >= SUSPECTS {
            known.retain(|_, failures| failures.left(now) > 0.0);
        }
        if known.len() < SUSPECTS || known.contains_key(&suspect) {
            let before = known.get(&suspect).map_or(0.0, |failures| failures.left(now));
            known.insert(suspect, Failures { count: before + 1.0, at: now });
        }
    }
}

/// Who presents something, and what is held against whom.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// What is held against whom.
    pub mistrust: &'a Mistrust,
    /// Who it is.
    pub suspect: Suspect,
}

impl Origin<'_> {
    /// Whether nothing of theirs is looked at now.
    pub fn is_mistrusted(self) -> bool {
        self.mistrust.is_deserved(self.suspect, Instant::now())
    }

    /// Something of theirs was not believed.
    pub fn note(self) {
        self.mistrust.note(self.suspect, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn address(number: u32) -> Suspect {
        Suspect::Place(Place::of(Ipv4Addr::from_bits(number).into()))
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
        let stranger = Suspect::Stranger(Place::of(Ipv4Addr::from_bits(1).into()));
        assert!(!mistrust.is_deserved(stranger, now), "it has shaken hands well");
        assert!(!mistrust.is_deserved(address(1), now + Duration::from_secs(1)));
    }

    #[test]
    fn a_network_is_one_place() {
        let place = |text: &str| Place::of(text.parse().expect("an address"));
        assert_eq!(place("2001:db8:1:2::1"), place("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(place("2001:db8:1:2::1"), place("2001:db8:1:3::1"), "the control");
        assert_eq!(place("::ffff:10.0.0.1"), place("10.0.0.1"), "however it is written");
        assert_ne!(place("::ffff:10.0.0.1"), place("10.0.0.2"), "the control");
    }

    #[test]
    fn it_is_bounded_and_the_forgotten_make_room() {
        let (mistrust, now) = (Mistrust::default(), Instant::now());
        for number in 0..2 * SUSPECTS as u32 {
            mistrust.note(address(number), now);
        }
        let count = || mistrust.0.lock().expect("nobody panics").len();
        assert_eq!(count(), SUSPECTS);
        mistrust.note(address(u32::MAX), now + Duration::from_secs(60));
        assert_eq!(count(), 1);
    }
}
