//! When what goes away may go: the one place that holds back a removal.
//!
//! Additions are never held here. A client takes things away only after it has everything that was added, so that
//! nothing it still uses names something it no longer has.

use super::session::track::Track;
use crate::snapshot::kind::Kind;
use std::time::{Duration, Instant};

/// The order of removals: a parent before what it names.
pub const REMOVALS: [Kind; 4] = [Kind::Listener, Kind::Route, Kind::Cluster, Kind::Endpoint];

/// How long a removal waits at most, on a stream so busy that something is always in flight.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a removal may go now: every response sent so far is answered, or too old to be waited for.
pub(super) fn may_remove(tracks: &[Track], now: Instant) -> bool {
    let impatient = |at| at <= now;
    !tracks.iter().any(Track::is_waiting) || tracks.iter().filter_map(impatient_at).any(impatient)
}

/// When a removal of that type goes, whatever else is in flight.
pub(super) fn impatient_at(track: &Track) -> Option<Instant> {
    track.gone_since().map(|since| since + PATIENCE)
}
