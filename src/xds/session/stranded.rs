//! A client that asks for endpoints or secrets and never for clusters: it was left warming by an earlier stream, and holds
//! back the question for clusters until it has what it waits for.
//!
//! Ending its stream would only bring about the same again. Once its time is over, everything it waits for is sent again,
//! and the stream is marked for whoever looks.

use crate::snapshot::kind::Kind;
use std::time::{Duration, Instant};

/// What a client that was left warming asks for.
pub(super) const AWAITED: [Kind; 2] = [Kind::Endpoint, Kind::Secret];

/// Watches for such a client.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Stranded {
    /// Nothing speaks for it.
    #[default]
    No,
    /// Endpoints or secrets are asked for, and clusters are not: until then that may be.
    Until(Instant),
    /// Its time is over, and what it asked for was sent again.
    Found,
    /// Clusters were asked for.
    Never,
}

impl Stranded {
    /// The client has asked for a kind. `patience`: how long it may ask for endpoints or secrets without asking for clusters.
    pub(super) fn on_asked(&mut self, kind: Kind, now: Instant, patience: Duration) {
        match self {
            _ if kind == Kind::Cluster => *self = Stranded::Never,
            Stranded::No if AWAITED.contains(&kind) => *self = Stranded::Until(now + patience),
            _ => {}
        }
    }

    /// Whether the client's time has run out now; true only once.
    pub(super) fn runs_out(&mut self, now: Instant) -> bool {
        let over = self.deadline().is_some_and(|deadline| deadline <= now);
        if over {
            *self = Stranded::Found;
        }
        over
    }

    /// When the client's time runs out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Stranded::Until(deadline) => Some(*deadline),
            _ => None,
        }
    }

    /// Whether clusters are still to be asked for, as far as is known.
    pub(super) fn is_left(&self) -> bool {
        matches!(self, Stranded::Until(_) | Stranded::Found)
    }

    /// Whether the client is stranded as far as is known.
    pub(super) fn is_found(&self) -> bool {
        matches!(self, Stranded::Found)
    }
}
