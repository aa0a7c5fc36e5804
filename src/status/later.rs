//! What could not be written, kept for another try: not much of it, not for long, and tried ever more rarely.
//!
//! It knows nothing of what it keeps, and no clock. What was kept longest is tried first, and goes to the end of the line if it
//! can't be written yet: what holds up one may not hold up another.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// The time until the next try, at first and at most.
const PAUSE: Range<Duration> = Duration::from_secs(2)..Duration::from_secs(300);
/// What is older is not worth telling any more: the API server itself keeps Events for an hour.
const WORTH: Duration = Duration::from_secs(3600);

/// What waits to be tried again.
#[derive(Debug)]
pub struct Later<T> {
    /// Each with when it came about.
    waiting: VecDeque<(Instant, T)>,
    most: usize,
    pause: Duration,
    at: Instant,
}

impl<T> Later<T> {
    /// Nothing yet, and at most so many.
    pub fn new(most: usize, now: Instant) -> Self {
        Self { waiting: VecDeque::new(), most, pause: Duration::ZERO, at: now }
    }

    /// When the next is to be tried, if any waits.
    pub fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.at)
    }

    /// The next to be tried, with when it came about.
    pub fn take(&mut self, now: Instant) -> Option<(Instant, T)> {
        self.waiting.retain(|(since, _)| now.saturating_duration_since(*since) < WORTH);
        self.waiting.pop_front()
    }

    /// Whether another one may be kept. Whoever asks before it takes anything on loses nothing.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.most
    }

    /// Keeps what could not be written, `again` if that was another try.
    pub fn keep(&mut self, since: Instant, item: T, again: bool, now: Instant) {
        if again || self.waiting.is_empty() {
            self.pause = if again { (self.pause * 2).clamp(PAUSE.start, PAUSE.end) } else { PAUSE.start };
            self.at = now + self.pause;
        }
        self.waiting.push_back((since, item));
    }

    /// One was written: the others may be tried at once.
    pub fn went(&mut self, now: Instant) {
        (self.pause, self.at) = (Duration::ZERO, now);
    }

    /// Forgets everything: it is told anew, by somebody else or by us.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn tries_are_ever_further_apart_until_one_succeeds() {
        let start = Instant::now();
        let mut later = Later::new(2, start);
        assert_eq!(later.due(), None);
        let (mut now, mut pauses) = (start, Vec::new());
        later.keep(start, "a", false, now);
        later.keep(start, "b", false, now + SECOND);
        for _ in 0..10 {
            let due = later.due().expect("something waits");
            pauses.push((due - now).as_secs());
            now = due;
            let (since, item) = later.take(now).expect("something waits");
            later.keep(since, item, true, now);
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(later.take(now), Some((start, "a")));
        later.went(now);
        assert_eq!(later.due(), Some(now));
        later.clear();
        assert_eq!(later.due(), None);
    }

    #[test]
    fn what_is_old_is_left_out_and_there_is_room_until_there_is_none() {
        let start = Instant::now();
        let mut later = Later::new(2, start);
        later.keep(start, 1, false, start);
        assert!(later.has_room());
        later.keep(start + SECOND * 2, 2, false, start);
        assert!(!later.has_room());
        assert_eq!(later.take(start + WORTH + SECOND), Some((start + SECOND * 2, 2)));
        assert!(later.has_room());
        assert_eq!(later.take(start), None);
    }
}
