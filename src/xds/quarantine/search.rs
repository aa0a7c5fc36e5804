//! The search for what is at fault among several things that were rejected together: by halves, one response at a time.
//!
//! Of n suspects one is found with at most ceil(log2 n) + 1 responses, the last of which carries everything that was not
//! tried before.

use super::Unit;
use crate::snapshot::kind::Kind;
use crate::snapshot::set::Snapshot;
use std::time::Instant;

/// What a step of the search brings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// This is at fault.
    Found(Unit),
    /// There is something to try.
    Try,
}

/// A search.
#[derive(Debug)]
pub(super) struct Search {
    /// What is sent now.
    tried: Vec<Unit>,
    /// Whether any of it was.
    sent: bool,
    /// One of them is at fault, if nothing that is tried is.
    suspects: Vec<Unit>,
    /// What was rejected too and has not been tried since.
    open: Vec<Unit>,
    /// The snapshot of which the kind is told until the search is over: so that what is rejected meanwhile is what was tried.
    pub(super) still: Snapshot,
    /// The newest snapshot that everything in it was looked for in.
    looked: Snapshot,
    /// When the search is given up.
    pub(super) until: Instant,
}

impl Search {
    /// A search among suspects, of which one is at fault; what is open goes last. None if there is nothing to try.
    pub(super) fn of(suspects: Vec<Unit>, open: Vec<Unit>, still: &Snapshot, until: Instant) -> Option<Self> {
        let any = !(suspects.is_empty() && open.is_empty());
        any.then(|| Self {
            tried: Vec::new(),
            sent: false,
            suspects,
            open,
            still: still.clone(),
            looked: still.clone(),
            until,
        })
    }

    /// Chooses what is tried next, unless something is.
    pub(super) fn step(&mut self) -> Option<Step> {
        if !self.tried.is_empty() {
            return Some(Step::Try);
        }
        self.sent = false;
        match &self.suspects[..] {
            [] => self.tried = std::mem::take(&mut self.open),
            [found] => {
                let found = found.clone();
                self.suspects.clear();
                self.open.retain(|unit| !unit.is_same(&found));
                return Some(Step::Found(found));
            }
            _ => self.tried = self.suspects.drain(..self.suspects.len() / 2).collect(),
        }
        (!self.tried.is_empty()).then_some(Step::Try)
    }

    /// Whether anything of the kind has changed since this was asked last.
    pub(super) fn has_news(&mut self, kind: Kind, newest: &Snapshot) -> bool {
        let news = !newest.changed_since(&self.looked, kind).is_empty();
        self.looked = newest.clone();
        news
    }

    /// A response is sent; whether it is the first that carries something of what is tried.
    pub(super) fn is_sent_first(&mut self, carried: impl Fn(&Unit) -> bool) -> bool {
        let is_first = !self.sent && self.tried.iter().any(carried);
        self.sent |= is_first;
        is_first
    }

    /// What is sent now.
    pub(super) fn tried(&self) -> &[Unit] {
        &self.tried
    }

    /// Everything it is about.
    pub(super) fn units(&self) -> impl Iterator<Item = &Unit> {
        self.tried.iter().chain(&self.suspects).chain(&self.open)
    }

    /// The same.
    pub(super) fn into_units(self) -> impl Iterator<Item = Unit> {
        self.tried.into_iter().chain(self.suspects).chain(self.open)
    }

    /// There is nothing to be sent of what would be tried, so nothing can be concluded: what was suspected beside it may be
    /// as good.
    pub(super) fn give_up_on_tried(&mut self) {
        self.tried.clear();
        self.open.append(&mut self.suspects);
    }

    /// These were accepted; whether the search has to go on now.
    pub(super) fn clear(&mut self, accepted: impl Fn(&Unit) -> bool) -> bool {
        self.tried.retain(|unit| !accepted(unit));
        self.tried.is_empty()
    }

    /// What was tried was rejected, and is suspect alone: the rest is open.
    pub(super) fn interrupted(self) -> Vec<Unit> {
        self.suspects.into_iter().chain(self.open).collect()
    }

    /// Whether nothing is left to try.
    pub(super) fn is_over(&self) -> bool {
        self.tried.is_empty() && self.suspects.is_empty() && self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::resource::Version;

    fn units(count: usize) -> Vec<Unit> {
        let unit =
            |index: usize| Unit { name: format!("n{index}").into(), part: None, version: Version(index as u128) };
        (0..count).map(unit).collect()
    }

    /// How many responses it takes until a client that rejects `culprit` has been sent all the rest, and what was found.
    fn search(count: usize, culprit: usize) -> (usize, Option<Version>) {
        let (mut found, mut responses) = (None, 0);
        let new = |suspects, open| Search::of(suspects, open, &Snapshot::default(), Instant::now());
        let mut search = new(units(count), Vec::new());
        while let Some(running) = &mut search {
            match running.step() {
                None => break,
                Some(Step::Found(unit)) => found = Some(unit.version),
                Some(Step::Try) => {
                    responses += 1;
                    let tried = running.tried().to_vec();
                    if !tried.iter().any(|unit| unit.version.0 == culprit as u128) {
                        running.clear(|_| true);
                        continue;
                    }
                    let mut open = search.take().map(Search::interrupted).unwrap_or_default();
                    match &tried[..] {
                        [alone] => {
                            found = Some(alone.version);
                            search = new(Vec::new(), std::mem::take(&mut open));
                        }
                        _ => search = new(tried, open),
                    }
                }
            }
        }
        (responses, found)
    }

    #[test]
    fn nobody_is_convicted_because_others_could_not_be_tried() {
        let mut search = Search::of(units(2), Vec::new(), &Snapshot::default(), Instant::now()).expect("there are two");
        assert_eq!(search.step(), Some(Step::Try));
        search.give_up_on_tried();
        assert_eq!(search.step(), Some(Step::Try), "the other is tried");
        assert_eq!(search.tried(), &units(2)[1..]);
        search.clear(|_| true);
        assert_eq!((search.step(), search.is_over()), (None, true));
    }

    #[test]
    fn one_of_many_is_found_in_logarithmic_time() {
        for count in 2..70 {
            let most = (count as f64).log2().ceil() as usize + 1;
            for culprit in 0..count {
                let (responses, found) = search(count, culprit);
                assert_eq!(found, Some(Version(culprit as u128)), "{culprit} of {count}");
                assert!(responses <= most, "{culprit} of {count} takes {responses} responses, not {most}");
            }
        }
    }
}
