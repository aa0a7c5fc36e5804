//! Which statuses wait to be written, and when each may be. Pure: times come from outside.
//!
//! Only names wait here, each once; what is written is what is known when its time has come. Bounded, and so is how often
//! anything is written: all together, and each object.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How soon something should be written. The first goes before the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Urgency {
    /// A proxy rejects it.
    Rejection,
    /// Something else is to be said.
    Change,
    /// A change has come further.
    Progress,
}

impl Urgency {
    const ALL: [Self; 3] = [Self::Rejection, Self::Change, Self::Progress];

    /// How long to wait, so that what belongs together is written together.
    fn settling(self) -> Duration {
        match self {
            Urgency::Rejection => Duration::from_millis(100),
            Urgency::Change | Urgency::Progress => Duration::from_millis(250),
        }
    }
}

/// How a write went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is written.
    Written,
    /// There was nothing to write.
    Needless,
    /// Not this one, for now.
    Refused,
    /// Not this one for a while; nobody was asked.
    Postponed,
    /// Nothing can be written just now.
    Failed,
}

/// How many may wait at once.
pub const ROOM: usize = 50_000;
/// How many may be written in a second, in the long run and at once.
const RATE: f64 = 25.0;
const BURST: f64 = 50.0;
/// How far two writes of one object are apart, at first and after many without another generation.
const APART: Range<Duration> = Duration::from_secs(1)..Duration::from_secs(30);
/// How far two writes are apart that say how far a change has come.
const PROGRESS: Duration = Duration::from_secs(5);
/// How long what is postponed is left alone.
pub const ALONE: Duration = Duration::from_secs(11);
/// How long ago a write is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// How long to wait after a failure, at first and at most.
const BACK_OFF: Range<Duration> = Duration::from_millis(200)..Duration::from_secs(15);

/// What waits, what is being written, and what was written lately.
#[derive(Debug)]
pub struct Desk<K> {
    places: BTreeMap<K, Place>,
    /// By urgency.
    due: [BTreeSet<(Instant, K)>; 3],
    tokens: f64,
    refilled: Instant,
    /// Nothing is written before.
    paused: Instant,
    failures: u32,
}

#[derive(Debug)]
struct Place {
    waits: Option<(Urgency, Instant)>,
    busy: bool,
    generation: Option<i64>,
    /// Since when it is that.
    since: Instant,
    written: Option<Instant>,
    apart: Duration,
    /// It was refused or postponed until then.
    not_before: Instant,
    refusals: u32,
}

impl<K: Ord + Clone> Desk<K> {
    /// An empty desk.
    pub fn new(now: Instant) -> Self {
        let due = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
        Self { places: BTreeMap::new(), due, tokens: BURST, refilled: now, paused: now, failures: 0 }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.due.iter().map(BTreeSet::len).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Something is to be written of an object's generation. False if there is no room.
    pub fn want(&mut self, key: &K, urgency: Urgency, generation: Option<i64>, now: Instant) -> bool {
        if !self.places.contains_key(key) && self.places.len() >= ROOM {
            self.sweep(now);
            if self.places.len() >= ROOM {
                return false;
            }
        }
        let place = self.places.entry(key.clone()).or_insert_with(|| Place::new(now));
        if place.generation != generation {
            (place.generation, place.apart, place.refusals) = (generation, APART.start, 0);
            (place.since, place.not_before) = (now, now);
        }
        if place.busy {
            return true; // Whoever writes it now looks again afterwards.
        }
        let progress = place.written.filter(|_| urgency == Urgency::Progress).map(|written| written + PROGRESS);
        // What a proxy rejects is known soon after the object was written first, and doesn't wait then.
        let first = urgency == Urgency::Rejection && place.apart == APART.start;
        let apart = place.written.filter(|_| !first).map(|written| written + place.apart);
        let waits = [apart, progress, Some(place.not_before)].into_iter().flatten().max();
        let at = waits.map_or(now, |until| until.max(now + urgency.settling()));
        let (urgency, at) = match place.waits {
            Some((other, before)) => (other.min(urgency), before.min(at)),
            None => (urgency, at),
        };
        self.unwant(key);
        if let Some(place) = self.places.get_mut(key) {
            place.waits = Some((urgency, at));
            self.due[urgency as usize].insert((at, key.clone()));
        }
        true
    }

    /// There is nothing to be written of it any more.
    pub fn unwant(&mut self, key: &K) {
        if let Some((urgency, at)) = self.places.get_mut(key).and_then(|place| place.waits.take()) {
            self.due[urgency as usize].remove(&(at, key.clone()));
        }
    }

    /// The next to be written, if any may be. It is nobody else's until [`Desk::done`].
    pub fn take(&mut self, now: Instant) -> Option<K> {
        self.refill(now);
        if now < self.paused || self.tokens < 1.0 {
            return None;
        }
        let first = |urgency: &Urgency| self.due[*urgency as usize].first().filter(|(at, _)| *at <= now).cloned();
        let (_, key) = Urgency::ALL.iter().find_map(first)?;
        self.unwant(&key);
        self.tokens -= 1.0;
        self.places.get_mut(&key)?.busy = true;
        Some(key)
    }

    /// How writing it went.
    pub fn done(&mut self, key: &K, outcome: Outcome, now: Instant) {
        let Some(place) = self.places.get_mut(key) else { return };
        place.busy = false;
        match outcome {
            Outcome::Written => {
                let again = place.written.is_some_and(|written| written >= place.since && now < written + FORGOTTEN);
                place.apart = if again { (place.apart * 2).min(APART.end) } else { APART.start };
                (place.written, place.refusals) = (Some(now), 0);
                self.failures = 0;
            }
            Outcome::Needless => self.tokens += 1.0,
            Outcome::Postponed => {
                self.tokens += 1.0;
                place.not_before = now + ALONE;
            }
            Outcome::Refused => {
                place.not_before = now + APART.start.saturating_mul(1 << place.refusals.min(16)).min(APART.end);
                place.refusals += 1;
                self.failures = 0;
            }
            Outcome::Failed => {
                let pause = BACK_OFF.start.saturating_mul(1 << self.failures.min(16)).min(BACK_OFF.end);
                self.paused = now + pause.mul_f64(fastrand::f64().mul_add(0.5, 0.5));
                self.failures += 1;
            }
        }
    }

    /// When there may be something to take, if nothing else happens.
    pub fn next(&self) -> Option<Instant> {
        let first = self.due.iter().filter_map(|due| due.first()).map(|(at, _)| *at).min()?;
        let lacking = Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / RATE);
        Some(first.max(self.paused).max(self.refilled + lacking))
    }

    /// Forgets what was written long ago.
    pub fn sweep(&mut self, now: Instant) {
        self.places.retain(|_, place| {
            let lately = place.written.map_or(place.not_before, |it| it.max(place.not_before)) + FORGOTTEN;
            place.busy || place.waits.is_some() || now < lately
        });
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = passed.mul_add(RATE, self.tokens).min(BURST);
        self.refilled = now;
    }
}

impl Place {
    fn new(now: Instant) -> Self {
        let (waits, busy, generation, written) = (None, false, None, None);
        Self { waits, busy, generation, since: now, written, apart: APART.start, not_before: now, refusals: 0 }
    }
}
