//! For how long something that was signed counts, by a clock that may be set.

/// How far the clock may be before the time at which something was signed, in seconds: that much less it is back-dated for
/// clocks of others that are late, and ten minutes of its quarter of an hour are left.
const EARLY: u64 = 5 * 60;

/// When something was signed, when it is to be signed anew, and when it ends; all in seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Term {
    /// When it was signed.
    pub from: u64,
    /// When it is to be signed anew.
    pub renew: u64,
    /// When it ends.
    pub until: u64,
}

impl Term {
    /// Whether it can be shown to others at that time: it has begun, also where clocks are late, and has not ended.
    pub fn counts(&self, now: u64) -> bool {
        !is_early(self.from, now) && now < self.until
    }

    /// Whether it is to be signed anew at that time: it is time, or the clock was set back to before it was signed.
    pub fn is_due(&self, now: u64) -> bool {
        is_early(self.from, now) || self.renew <= now
    }
}

/// Whether what begins then has not begun now, also if the clock may be a little late.
pub fn is_early(from: u64, now: u64) -> bool {
    now.saturating_add(EARLY) < from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_a_little_before_it_was_signed_to_its_end() {
        let term = Term { from: 10_000, renew: 12_000, until: 14_000 };
        let at = [10_000 - EARLY - 1, 10_000 - EARLY, 11_999, 12_000, 13_999, 14_000];
        assert_eq!(at.map(|now| term.counts(now)), [false, true, true, true, true, false]);
        assert_eq!(at.map(|now| term.is_due(now)), [true, false, false, true, true, true]);
    }
}
