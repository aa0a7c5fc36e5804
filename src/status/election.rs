//! Who leads, as a value: the rules of client-go for a Lease. Pure: times come from outside.
//!
//! Whether a lease has run out is told by how long it has not changed here, by a clock that only goes forward. What others
//! wrote as a time says nothing: their clocks may be wrong.

use std::time::{Duration, Instant};

/// How long a lease lasts, and what follows from that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// How long others wait after the lease was last renewed.
    pub lasts: Duration,
}

impl Terms {
    /// How long whoever renewed it may act on that: less than others wait.
    pub fn valid(self) -> Duration {
        self.lasts * 2 / 3
    }

    /// How often it is renewed, or looked at.
    pub fn pause(self) -> Duration {
        self.lasts / 5
    }
}

/// A lease as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Who holds it; empty: nobody.
    pub holder: String,
    /// How long the holder says that others should wait.
    pub lasts: Duration,
    /// The state of it.
    pub version: String,
    /// How many proxies the holder last knew of; 0 if it didn't say.
    pub proxies: usize,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Store it with our name, in place of what was seen.
    Take,
    /// Look again later.
    Wait,
}

/// What one candidate knows.
#[derive(Debug)]
pub struct Election {
    me: String,
    terms: Terms,
    /// What was last seen, and since when it is so.
    seen: Option<(Record, Instant)>,
    /// Until when we lead.
    until: Option<Instant>,
}

impl Election {
    /// A candidate of a name that nobody else has.
    pub fn new(me: String, terms: Terms) -> Self {
        Self { me, terms, seen: None, until: None }
    }

    /// What is stored, if anything, was seen.
    pub fn saw(&mut self, record: Option<Record>, now: Instant) -> Step {
        let Some(record) = record else {
            (self.seen, self.until) = (None, None);
            return Step::Take;
        };
        if record.holder != self.me {
            self.until = None;
        }
        let since = match &self.seen {
            Some((before, since)) if *before == record => *since,
            _ => now,
        };
        let free = record.holder.is_empty() || record.holder == self.me || since + record.lasts <= now;
        self.seen = Some((record, since));
        if free { Step::Take } else { Step::Wait }
    }

    /// It was stored with our name; `asked` is when that was begun.
    pub fn took(&mut self, record: Record, asked: Instant) {
        self.until = Some(asked + self.terms.valid());
        self.seen = Some((record, asked));
    }

    /// Somebody else was faster, or nothing is known any more of what is stored.
    pub fn missed(&mut self) {
        if let Some((record, _)) = &mut self.seen {
            record.version.clear();
        }
    }

    /// We don't want to lead any more.
    pub fn resign(&mut self) {
        self.until = None;
    }

    /// Until when we lead, if we do.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// What was last seen of it, if that may still be so.
    pub fn known(&self) -> Option<&Record> {
        self.seen.as_ref().map(|(record, _)| record).filter(|record| !record.version.is_empty())
    }

    /// Our own name.
    pub fn me(&self) -> &str {
        &self.me
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { lasts: Duration::from_secs(15) };

    fn record(holder: &str, version: u32) -> Option<Record> {
        let (holder, version) = (holder.to_owned(), version.to_string());
        Some(Record { holder, lasts: TERMS.lasts, version, proxies: 0 })
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn what_nobody_holds_is_taken_and_what_somebody_renews_is_not() {
        let start = Instant::now();
        let mut election = Election::new("a".into(), TERMS);
        assert_eq!(election.saw(None, start), Step::Take);
        assert_eq!(election.saw(record("", 1), start), Step::Take);
        for round in 0..20 {
            let now = start + seconds(10) * round;
            assert_eq!(election.saw(record("b", 2 + round), now), Step::Wait, "{round}");
            assert_eq!(election.saw(record("b", 2 + round), now + seconds(9)), Step::Wait);
        }
    }

    #[test]
    fn a_lease_that_is_not_renewed_is_taken_after_its_time_as_seen_here() {
        let start = Instant::now();
        let mut election = Election::new("a".into(), TERMS);
        assert_eq!(election.saw(record("b", 1), start), Step::Wait);
        assert_eq!(election.saw(record("b", 1), start + seconds(14)), Step::Wait);
        assert_eq!(election.saw(record("b", 1), start + seconds(15)), Step::Take);
        // Somebody was faster: its time begins anew.
        election.missed();
        assert_eq!(election.saw(record("c", 2), start + seconds(16)), Step::Wait);
        assert_eq!(election.saw(record("c", 2), start + seconds(30)), Step::Wait);
        assert_eq!(election.saw(record("c", 2), start + seconds(31)), Step::Take);
    }

    #[test]
    fn a_leader_stops_before_others_begin_and_at_once_if_robbed() {
        let start = Instant::now();
        let mut election = Election::new("a".into(), TERMS);
        election.saw(None, start);
        election.took(record("a", 1).expect("a record"), start);
        assert_eq!(election.until(), Some(start + seconds(10)), "others wait for 15 s after they saw it");
        assert_eq!(election.saw(record("a", 1), start + seconds(3)), Step::Take);
        election.took(record("a", 2).expect("a record"), start + seconds(3));
        assert_eq!(election.until(), Some(start + seconds(13)));
        assert_eq!(election.saw(record("thief", 3), start + seconds(4)), Step::Wait);
        assert_eq!(election.until(), None);
        let mut gone = Election::new("a".into(), TERMS);
        gone.took(record("a", 1).expect("a record"), start);
        assert_eq!(gone.saw(None, start), Step::Take);
        assert_eq!(gone.until(), None, "until it is stored again, somebody else may have been faster");
    }
}
