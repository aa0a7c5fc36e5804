//! A search that was given up, because the client did not answer or rejected whatever was tried, goes on once it accepts
//! something, or drops one that is held back: what was suspected beside the culprit is not to be held back for ever. Who accepts nothing is sent
//! nothing.

use super::search::Search;
use super::{ROOM, Unit, Ward};
use crate::snapshot::kind::Kind;
use crate::snapshot::set::Snapshot;
use std::time::Instant;

/// Whether a search was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Abandoned {
    #[default]
    No,
    /// It was, and nothing has been accepted since.
    Yes,
    /// It is to go on.
    Accepted,
}

impl Ward {
    /// A search whose time is over is given up; one that was given up goes on if it is to.
    pub(super) fn keep_time(&mut self, kind: Kind, newest: &Snapshot, now: Instant) {
        if self.search.take_if(|search| search.until <= now).is_some() {
            self.abandoned = Abandoned::Yes;
        }
        if self.abandoned == Abandoned::Accepted {
            let mut open = self.suspects();
            open.retain(|unit| unit.is_in(newest.get(kind, &unit.name)));
            self.search = Search::of(Vec::new(), open, newest, now + ROOM).map(Box::new);
            self.go_on();
        }
    }

    /// The client has accepted something, or does not want all that it wanted. Whether a search is to go on.
    pub(super) fn is_heard(&mut self) -> bool {
        if self.abandoned == Abandoned::Yes {
            self.abandoned = Abandoned::Accepted;
        }
        self.abandoned == Abandoned::Accepted
    }

    /// What is to be tried besides what a rejection is about: what a search has not tried yet, or one that was given up.
    pub(super) fn untried(&mut self) -> Vec<Unit> {
        match (self.search.take(), std::mem::take(&mut self.abandoned)) {
            (Some(search), _) => search.interrupted(),
            (None, Abandoned::No) => Vec::new(),
            (None, _) => self.suspects(),
        }
    }

    /// What is held back and was not found at fault.
    fn suspects(&mut self) -> Vec<Unit> {
        self.abandoned = Abandoned::No;
        let charges = self.held.values().flat_map(|held| held.charges.values());
        charges.filter(|charge| !charge.found).map(|charge| charge.unit.clone()).collect()
    }
}
