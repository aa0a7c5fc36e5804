//! Where connections are until they have got somewhere: their handshake is over, or somebody is let in on them. There are so many at
//! once, and whoever comes then waits in the system's queue.
//!
//! Some never get further, and others must not be kept out by them: while somebody waits, who has had a little time loses
//! its place; and so does at any time who comes from where much led nowhere, and has a share of the places only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};

/// How long a handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long anybody may take while others wait.
pub(super) const BRIEF: Duration = Duration::from_secs(2);
/// The share of the places for those from where much led nowhere.
const SHARE: usize = 4;
/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(250);

/// The places. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Porch {
    places: Arc<Semaphore>,
    /// Whether there is none left, and somebody may wait for one.
    crowded: Arc<AtomicBool>,
    /// The places that suspects may have of them.
    suspects: Arc<Semaphore>,
}

/// A place, kept until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Porch {
    /// So many places.
    pub(super) fn new(places: usize) -> Self {
        let suspects = Arc::new(Semaphore::new((places / SHARE).max(1)));
        Self { places: Arc::new(Semaphore::new(places)), crowded: Arc::default(), suspects }
    }

    /// One of the places that suspects may have, if there is one now.
    pub(super) fn suspect(&self) -> Option<Place> {
        let permit = self.suspects.clone().try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> Place {
        self.crowded.store(self.places.available_permits() == 0, Ordering::Relaxed);
        let permit = self.places.clone().acquire_owned().await.expect("places are never closed");
        self.crowded.store(false, Ordering::Relaxed);
        Place { _permit: permit }
    }

    /// Waits until somebody who came then has had all the time that there is: so much at most, and little if others wait or `hurry`
    /// says so. How much it was.
    pub(super) async fn patience(&self, came: Instant, longest: Duration, hurry: impl Fn() -> bool) -> Duration {
        sleep_until(came + BRIEF.min(longest)).await;
        while came.elapsed() < longest && !self.crowded.load(Ordering::Relaxed) && !hurry() {
            sleep(LOOK).await;
        }
        came.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    #[tokio::test(start_paused = true)]
    async fn who_stays_long_makes_room_for_who_waits_and_only_then() {
        let porch = Porch::new(1);
        let held = porch.place().await;
        let patience = async |porch: &Porch| porch.patience(Instant::now(), HANDSHAKE, || false).await;
        assert!(patience(&porch).await >= HANDSHAKE, "nobody waits");
        let waiting = tokio::spawn({
            let porch = porch.clone();
            async move { porch.place().await }
        });
        tokio::task::yield_now().await;
        let had = patience(&porch).await;
        assert!((BRIEF..HANDSHAKE / 2).contains(&had), "{had:?}");
        assert!(!waiting.is_finished(), "the control: there is no place yet");
        drop(held);
        assert!(timeout(BRIEF, waiting).await.is_ok(), "now there is");
    }

    #[tokio::test(start_paused = true)]
    async fn suspects_have_little_time_and_few_places() {
        let porch = Porch::new(2 * SHARE);
        assert!(porch.patience(Instant::now(), HANDSHAKE, || true).await < HANDSHAKE / 2);
        let held = [porch.suspect(), porch.suspect()];
        assert!(held.iter().all(Option::is_some) && porch.suspect().is_none());
        drop(held);
        assert!(porch.suspect().is_some());
        assert!(Porch::new(1).suspect().is_some(), "nobody is kept out for good");
    }
}
