//! What time it is on the wall: told wherever it has to be known, the system's where the process is put together, and set as
//! they like by tests.
//!
//! This clock may be set, forwards and back, at any moment, by any time. How long something takes or lasts here is for the
//! clock that only runs ([`Instant`]), and that they have parted is noticed by a [`Watch`].

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// By how much the two clocks may part between two looks: more than that, and this one was set.
const APART: Duration = Duration::from_secs(2);

/// A clock. Clones tell the same time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self::of(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }

    /// One that tells what that says, as the time since the beginning of 1970.
    pub fn of(time: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(time))
    }

    /// Seconds since the beginning of 1970.
    pub fn now(&self) -> u64 {
        self.time().as_secs()
    }

    fn time(&self) -> Duration {
        (self.0)()
    }
}

/// Certificates of who connects are good or not by it.
impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.time()))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Notices when a clock was set.
#[derive(Debug)]
pub struct Watch {
    clock: Clock,
    wall: Duration,
    looked: Instant,
}

impl Watch {
    /// Looks for the first time.
    pub fn new(clock: Clock) -> Self {
        let (wall, looked) = (clock.time(), Instant::now());
        Self { clock, wall, looked }
    }

    /// Whether it was set since the last look.
    pub fn was_set(&mut self) -> bool {
        let (wall, looked) = (self.clock.time(), Instant::now());
        let expected = self.wall.saturating_add(looked.duration_since(self.looked));
        (self.wall, self.looked) = (wall, looked);
        wall.abs_diff(expected) > APART
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[tokio::test(start_paused = true)]
    async fn it_is_noticed_when_it_was_set_and_only_then() {
        let (begun, set) = (Instant::now(), Arc::new(AtomicU64::new(1_000_000)));
        let by = set.clone();
        let clock = Clock::of(move || Duration::from_secs(by.load(Ordering::Relaxed)) + begun.elapsed());
        let mut watch = Watch::new(clock.clone());
        for (to, is_set) in [(1_000_000, false), (1_000_001, false), (1_000_060, true), (1_000_060, false), (60, true)]
        {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            set.store(to, Ordering::Relaxed);
            assert_eq!(watch.was_set(), is_set, "{to}");
        }
        assert_eq!(clock.now(), 60 + 5 * 3600);
    }
}
