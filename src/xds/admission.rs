//! How many streams are given their first configuration at once: as many as fit into a number of bytes, the others wait.
//!
//! Nobody is refused as long as there is memory, because a start with thousands of proxies that come back is the normal case. First come, first
//! served, but for who has [many turns](super::shares) already: a stream takes as many bytes as first configurations have needed lately, and gives them back when its client
//! has acknowledged everything, or has had its time. What a stream needs beyond that is taken as well, if it is there.

use super::shares::Part;
use crate::telemetry::admission::AdmissionMetrics;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What a first configuration is taken to need as long as none has been given.
const FIRST_GUESS: u64 = 1 << 20;
/// What a stream needs at least: buffers of the connection and of the system.
const LEAST: u64 = 64 << 10;
/// The unit in which bytes are counted.
const UNIT: u64 = 1 << 10;

/// The door. Clones share it.
#[derive(Clone, Debug)]
pub struct Admission {
    room: Arc<Semaphore>,
    units: u32,
    turn: Duration,
    typical: Arc<AtomicU64>,
    shut: Arc<AtomicBool>,
    metrics: AdmissionMetrics,
}

impl Admission {
    /// A door for that many bytes, where a turn lasts no longer than `turn`.
    pub fn new(bytes: u64, turn: Duration, metrics: AdmissionMetrics) -> Self {
        let units = u32::try_from((bytes.max(LEAST) / UNIT).min(Semaphore::MAX_PERMITS as u64)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new(units as usize));
        let (typical, shut) = (Arc::new(AtomicU64::new(FIRST_GUESS)), Arc::new(AtomicBool::new(false)));
        Self { room, units, turn, typical, shut, metrics }
    }

    /// Whether there is too little memory for any new stream, from now on.
    pub fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
    }

    /// Whether new streams are refused. Who is inside has nothing to do with it.
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// Waits until the client may have one turn more, then for room. Cancel safe: who goes away gives up the place in the queue.
    pub async fn enter(&self, part: &Part) -> Turn {
        let waiting = self.metrics.waits();
        let share = part.turn().await;
        let units = self.units(self.typical.load(Ordering::Relaxed));
        let permit = self.room.clone().acquire_many_owned(units).await.expect("the semaphore is never closed");
        waiting.is_over();
        self.metrics.admitted(u64::from(units) * UNIT);
        Turn { admission: self.clone(), permit, _share: share, sent: 0, ends: Instant::now() + self.turn }
    }

    /// Nobody needs more than there is.
    fn units(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.max(LEAST).div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units)
    }

    fn learn(&self, bytes: u64) {
        let old = self.typical.load(Ordering::Relaxed);
        // Lost updates don't matter: it is an estimate. It grows faster than it shrinks.
        let share = if bytes > old { 2 } else { 8 };
        self.typical.store(old - old / share + bytes / share, Ordering::Relaxed);
    }
}

/// A stream's turn; it is over when dropped.
#[derive(Debug)]
pub struct Turn {
    admission: Admission,
    permit: OwnedSemaphorePermit,
    /// Of what the client may have at once.
    _share: Option<OwnedSemaphorePermit>,
    sent: u64,
    ends: Instant,
}

impl Turn {
    /// When it is over whatever the client does.
    pub fn ends(&self) -> Instant {
        self.ends
    }

    /// So many bytes are on their way to the client.
    pub fn sends(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        let wanted = self.admission.units(self.sent) as usize;
        let more = wanted.saturating_sub(self.permit.num_permits());
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        if let Ok(permit) = self.admission.room.clone().try_acquire_many_owned(more) {
            self.permit.merge(permit);
            self.admission.metrics.grew(u64::from(more) * UNIT);
        }
    }

    /// The client has acknowledged everything.
    pub fn is_over(self) {
        self.admission.learn(self.sent);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.admission.metrics.left(self.permit.num_permits() as u64 * UNIT);
    }
}
