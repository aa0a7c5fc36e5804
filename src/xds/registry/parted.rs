//! What is remembered of proxies that have gone: what they may hold and will not state when they come back.
//!
//! For some minutes, of so many proxies, and so many names in all: of more it is only known that there are some. Nothing is
//! remembered of a proxy to which everything was settled, which is nearly each.

use crate::xds::session::unsettled::{Names, Unsettled};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For how long it is remembered: a proxy comes back within seconds, or was told everything by another replica.
pub const REMEMBERED: Duration = Duration::from_secs(300);
/// Of how many proxies.
const PROXIES: usize = 4096;
/// How many names in all.
const NAMES: usize = 100_000;

/// What is remembered, by node id.
#[derive(Debug, Default)]
pub struct Parted(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    by_node: BTreeMap<String, (Instant, Unsettled)>,
    names: usize,
}

impl Parted {
    /// A proxy has gone.
    pub fn note(&self, node: &str, mut unsettled: Unsettled, now: Instant) {
        if unsettled.iter().all(Names::is_empty) {
            return;
        }
        let memory = &mut *self.lock();
        memory.forget(node);
        if memory.by_node.len() >= PROXIES || memory.names + count(&unsettled) > NAMES {
            memory.age(now);
        }
        if memory.names + count(&unsettled) > NAMES {
            unsettled.iter_mut().for_each(Names::give_up);
        }
        if memory.by_node.len() < PROXIES {
            memory.names += count(&unsettled);
            memory.by_node.insert(node.to_owned(), (now, unsettled));
        }
    }

    /// It is back.
    pub fn recall(&self, node: &str, now: Instant) -> Option<Unsettled> {
        let (at, unsettled) = self.lock().forget(node)?;
        (now.saturating_duration_since(at) < REMEMBERED).then_some(unsettled)
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn forget(&mut self, node: &str) -> Option<(Instant, Unsettled)> {
        let forgotten = self.by_node.remove(node)?;
        self.names -= count(&forgotten.1);
        Some(forgotten)
    }

    fn age(&mut self, now: Instant) {
        self.by_node.retain(|_, (at, _)| now.saturating_duration_since(*at) < REMEMBERED);
        self.names = self.by_node.values().map(|(_, unsettled)| count(unsettled)).sum();
    }
}

fn count(unsettled: &Unsettled) -> usize {
    unsettled.iter().map(Names::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn unsettled(names: usize) -> Unsettled {
        let mut unsettled = Unsettled::default();
        let names: Vec<Arc<str>> = (0..names).map(|name| name.to_string().into()).collect();
        unsettled[0].extend(names.iter());
        unsettled
    }

    #[test]
    fn it_is_remembered_once_and_for_a_while() {
        let (parted, now) = (Parted::default(), Instant::now());
        parted.note("a", unsettled(2), now);
        parted.note("b", unsettled(1), now);
        parted.note("c", unsettled(0), now);
        assert_eq!(parted.recall("a", now), Some(unsettled(2)));
        assert_eq!(parted.recall("a", now), None);
        assert_eq!(parted.recall("b", now + REMEMBERED), None, "that is long ago");
        assert_eq!(parted.recall("c", now), None, "there was nothing to remember");
    }

    #[test]
    fn it_is_bounded_and_says_so_of_what_is_too_much() {
        let (parted, now) = (Parted::default(), Instant::now());
        parted.note("a", unsettled(NAMES - 1), now);
        parted.note("b", unsettled(2), now);
        let found = parted.recall("b", now).expect("it is not forgotten altogether");
        assert!(count(&found) == 0 && !found[0].is_empty(), "whatever it states is not believed");
        parted.note("c", unsettled(2), now + REMEMBERED);
        assert_eq!(parted.recall("c", now + REMEMBERED), Some(unsettled(2)), "what is long ago makes room");
        for proxy in 0..2 * PROXIES {
            parted.note(&proxy.to_string(), unsettled(1), now);
        }
        assert_eq!(parted.lock().by_node.len(), PROXIES);
        assert_eq!(parted.lock().names, PROXIES);
    }
}
