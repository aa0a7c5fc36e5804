//! What was joined to be sent, for those who are told the same a moment later.
//!
//! A socket may take all of a large response before the next stream asks for its own, so that nobody would hold the joined
//! bytes in between and each stream would join them anew. They lie here for a second after they were used last, all together
//! no more than some megabytes; when nothing is sent nothing is held.

use crate::snapshot::roll::Roll;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long something lies here after it was used.
pub const KEPT: Duration = Duration::from_secs(1);
/// How much lies here at most, in bytes.
pub const MOST: usize = 32 << 20;

/// Something that was joined. Whoever holds it keeps it for others.
#[derive(Clone, Debug)]
pub enum Joined {
    /// A whole roll, in the pieces that one of the wire forms takes.
    Roll(Arc<Roll>, Arc<Vec<Bytes>>),
    /// A resource of many fragments.
    Resource(Bytes),
}

impl Joined {
    /// Tells it apart from all others that are held.
    fn address(&self) -> usize {
        match self {
            Joined::Roll(_, pieces) => Arc::as_ptr(pieces).addr(),
            Joined::Resource(bytes) => bytes.as_ptr().addr(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Joined::Roll(_, pieces) => pieces.iter().map(Bytes::len).sum(),
            Joined::Resource(bytes) => bytes.len(),
        }
    }
}

/// The shelf. Clones share it.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<Mutex<Items>>);

#[derive(Debug)]
struct Items {
    most: usize,
    bytes: usize,
    by_address: BTreeMap<usize, Item>,
    /// Whether somebody looks for what has lain here for long enough.
    watched: bool,
}

#[derive(Debug)]
struct Item {
    /// Only held.
    _joined: Joined,
    size: usize,
    used: Instant,
}

impl Default for Shelf {
    fn default() -> Self {
        Self::of(MOST)
    }
}

impl Shelf {
    /// A shelf for so many bytes.
    pub fn of(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Items { most, bytes: 0, by_address: BTreeMap::new(), watched: false })))
    }

    /// Keeps something for a while, from now on. Needs a runtime, in which it is put away again.
    pub fn put(&self, joined: &Joined) {
        let mut items = lock(&self.0);
        items.put(joined, Instant::now());
        if !items.by_address.is_empty() && !std::mem::replace(&mut items.watched, true) {
            tokio::spawn(clear(Arc::downgrade(&self.0)));
        }
    }

    /// How many bytes lie here.
    pub fn bytes(&self) -> usize {
        lock(&self.0).bytes
    }
}

fn lock(items: &Mutex<Items>) -> MutexGuard<'_, Items> {
    items.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Items {
    fn put(&mut self, joined: &Joined, now: Instant) {
        if let Some(item) = self.by_address.get_mut(&joined.address()) {
            item.used = now;
            return;
        }
        let size = joined.size();
        if size > self.most {
            return;
        }
        self.bytes += size;
        self.by_address.insert(joined.address(), Item { _joined: joined.clone(), size, used: now });
        while self.bytes > self.most {
            self.take_oldest();
        }
    }

    /// When what was used longest ago was used.
    fn oldest(&self) -> Option<(Instant, usize)> {
        self.by_address.iter().map(|(address, item)| (item.used, *address)).min()
    }

    fn take_oldest(&mut self) {
        let oldest = self.oldest().and_then(|(_, address)| self.by_address.remove(&address));
        self.bytes -= oldest.map_or(0, |item| item.size);
    }

    /// Puts away what has lain here for long enough; when there is more to do, if anything is left.
    fn age(&mut self, now: Instant) -> Option<Instant> {
        while let Some((used, _)) = self.oldest() {
            if now < used + KEPT {
                return Some(used + KEPT);
            }
            self.take_oldest();
        }
        self.watched = false;
        None
    }
}

/// Puts away what is not used any more, until there is nothing.
async fn clear(shelf: Weak<Mutex<Items>>) {
    while let Some(due) = shelf.upgrade().and_then(|items| lock(&items).age(Instant::now())) {
        sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(size: usize) -> (Joined, Weak<Vec<u8>>) {
        let bytes = Arc::new(vec![7; size]);
        let held = Arc::downgrade(&bytes);
        (Joined::Resource(Bytes::from_owner(Owner(bytes))), held)
    }

    struct Owner(Arc<Vec<u8>>);

    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_used_stays_and_what_is_not_goes() {
        let shelf = Shelf::default();
        let ((used, first), (other, second)) = (joined(1000), joined(500));
        shelf.put(&other);
        drop(other);
        for _ in 0..5 {
            shelf.put(&used);
            tokio::time::sleep(KEPT / 2).await;
        }
        drop(used);
        assert!(first.strong_count() == 1 && second.strong_count() == 0 && shelf.bytes() == 1000);
        tokio::time::sleep(KEPT).await;
        assert!(first.strong_count() == 0 && shelf.bytes() == 0, "when nothing is sent nothing is held");
        let (again, third) = joined(10);
        shelf.put(&again);
        drop(again);
        assert_eq!(third.strong_count(), 1);
        tokio::time::sleep(KEPT * 2).await;
        assert_eq!(third.strong_count(), 0, "somebody looks again");
    }

    #[tokio::test(start_paused = true)]
    async fn it_has_an_end() {
        let shelf = Shelf::of(1000);
        let all: Vec<_> = [400, 400, 400].map(joined).into();
        for (joined, _) in &all {
            shelf.put(joined);
            tokio::time::sleep(KEPT / 10).await;
        }
        let (large, held) = joined(1001);
        shelf.put(&large);
        drop(large);
        assert_eq!(held.strong_count(), 0, "too large");
        let held: Vec<_> = all.into_iter().map(|(_, held)| held).map(|held| held.strong_count()).collect();
        assert_eq!((shelf.bytes(), held), (800, vec![0, 1, 1]), "the newest fit");
    }
}
