//! Reasons for responses that only time brings: what waited, or stayed, for long enough.

use super::references::NAMERS;
use super::{Asked, Event, What};
use chancery::snapshot::kind::Kind;
use chancery::xds::request::Wire;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a cluster stays at least after the routes or listeners without it were accepted.
const LINGERS: Duration = Duration::from_secs(5);

/// A client left warming asks for endpoints or secrets and not for clusters: after thirty seconds they are sent again, once.
#[derive(Default)]
pub(super) struct Warming {
    since: Option<Duration>,
    clusters: bool,
    again: BTreeSet<Kind>,
}

impl Warming {
    pub(super) fn see(&mut self, event: &Event) {
        match &event.what {
            What::Asked(Asked { kind: Some(Kind::Cluster), .. }) => self.clusters = true,
            What::Asked(Asked { kind: Some(Kind::Endpoint | Kind::Secret), .. }) => {
                self.since.get_or_insert(event.at);
            }
            _ => {}
        }
    }

    pub(super) fn is_over(&mut self, event: &Event, kind: Kind) -> bool {
        let over = self.since.is_some_and(|since| event.at >= since + Duration::from_secs(30));
        over && !self.clusters && matches!(kind, Kind::Endpoint | Kind::Secret) && self.again.insert(kind)
    }
}

/// Listeners and routes that were told anew: clusters that only the old ones name stay for a while.
#[derive(Default)]
pub(super) struct Lingers {
    sotw: bool,
    told: Vec<Duration>,
    /// The last set of clusters, and whether the last response about them took any away.
    there: BTreeSet<String>,
    takes: bool,
}

impl Lingers {
    pub(super) fn see(&mut self, event: &Event) {
        match &event.what {
            What::Opened(wire) => self.sotw = *wire == Wire::Sotw,
            What::Sent(sent) if NAMERS.contains(&sent.kind) => self.told.push(event.at),
            What::Sent(sent) if sent.kind == Kind::Cluster => {
                let now: BTreeSet<String> = sent.resources.iter().map(|(name, _)| name.clone()).collect();
                self.takes = !sent.removed.is_empty() || (self.sotw && self.there.difference(&now).next().is_some());
                self.there = now;
            }
            _ => {}
        }
    }

    /// Whether that is over for some, of which it was no reason yet.
    pub(super) fn is_over(&mut self, event: &Event) -> bool {
        let over = self.told.iter().position(|since| event.at >= *since + LINGERS).filter(|_| self.takes);
        over.map(|at| self.told.remove(at)).is_some()
    }
}

/// Changes of what names clusters, of which nothing was sent before the next: after fifteen seconds a unit that waits goes in the
/// form it waited with, and then in the newest.
#[derive(Default)]
pub(super) struct Unsent(BTreeMap<Kind, (usize, Duration)>);

impl Unsent {
    /// The world changes again; `left` are the responses that there are reasons for.
    pub(super) fn note(&mut self, left: &BTreeMap<Kind, usize>, now: Duration) {
        for kind in NAMERS {
            let (count, _) = self.0.entry(kind).or_insert((0, now));
            *count += left.get(&kind).copied().unwrap_or_default().min(2);
        }
    }

    pub(super) fn is_over(&mut self, event: &Event, kind: Kind) -> bool {
        let Some((count, since)) = self.0.get_mut(&kind) else { return false };
        let over = *count > 0 && event.at >= *since + Duration::from_secs(15);
        *count = count.saturating_sub(usize::from(over));
        over
    }
}
