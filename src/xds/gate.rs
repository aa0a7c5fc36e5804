//! When what goes away may go: the one place that holds back a removal.
//!
//! Additions are never held here. A client takes things away only after it has everything that was added, so that
//! nothing it still uses names something it no longer has.

use super::session::track::Track;
use crate::snapshot::kind::Kind;

/// The order of removals: a parent before what it names.
pub const REMOVALS: [Kind; 4] = [Kind::Listener, Kind::Route, Kind::Cluster, Kind::Endpoint];

/// Whether a removal may go now: every response sent so far is answered, or too old to be waited for.
pub(super) fn may_remove(tracks: &[Track]) -> bool {
    !tracks.iter().any(Track::is_waiting)
}
