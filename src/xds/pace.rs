//! Pace: how soon a stream is sent the next update of a large resource, and how many clusters at once.
//!
//! An update costs every proxy that applies it, in proportion to its bytes: the first after quiet goes at once, the next
//! when the last is paid for. What makes a client stop using something that is gone goes on credit. Only updates of what
//! the client was told on this stream wait; whatever it asks for, or lacks, never does. With nothing to wait for, nothing
//! is kept.

use super::request::Wire;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::Resource;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The kinds whose resources are sent each by itself and may be large. Clusters and listeners are small, or sent as a set.
const PACED: [Kind; 2] = [Kind::Endpoint, Kind::Route];

/// What updates cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How long the next update waits after one of a mebibyte. 2 s by default: an Envoy works for 0.1 s on a mebibyte of
    /// endpoints with metadata, so updates of such take a twentieth of its CPU at most.
    pub proxy: Duration,
    /// How long it waits for each proxy that is connected, if that is longer. 4 ms by default: 256 MiB a second in all.
    pub each: Duration,
    /// The longest wait. 2 s by default.
    pub most: Duration,
    /// Smaller resources never wait, in bytes. 4 KiB by default, which are paid for before they are acknowledged.
    pub free: usize,
    /// How many updates of a resource that take something away go on credit. 4 by default.
    pub credit: u32,
    /// How many changed clusters one Delta response carries, so that endpoints go in between. 500 by default.
    pub clusters: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            proxy: Duration::from_secs(2),
            each: Duration::from_millis(4),
            most: Duration::from_secs(2),
            free: 4 << 10,
            credit: 4,
            clusters: 500,
        }
    }
}

impl Options {
    /// How long after an update of so many bytes the next of the same resource goes, with so many proxies connected.
    fn interval(&self, bytes: usize, proxies: usize) -> Duration {
        if bytes < self.free {
            return Duration::ZERO;
        }
        let each = self.each.saturating_mul(u32::try_from(proxies).unwrap_or(u32::MAX));
        let mebibytes = bytes as f64 / f64::from(1 << 20);
        Duration::try_from_secs_f64(self.proxy.max(each).as_secs_f64() * mebibytes).unwrap_or(self.most).min(self.most)
    }
}

/// One type's pace on one stream.
#[derive(Debug)]
pub(super) struct Pace {
    kind: Kind,
    wire: Wire,
    options: Options,
    /// How many proxies are connected.
    pub(super) proxies: usize,
    /// When the updates sent of a name are paid for.
    paid: BTreeMap<Arc<str>, Instant>,
    /// The names that wait, and when the first of them goes.
    held: BTreeSet<Arc<str>>,
    goes: Option<Instant>,
    /// The secret that was sent last.
    alone: Option<Arc<str>>,
    /// Whether there was more than goes at once.
    pub(super) midway: bool,
    /// How many updates had to wait.
    pub(super) waited: u64,
}

impl Pace {
    pub(super) fn new(kind: Kind, wire: Wire, options: Options) -> Self {
        let (paid, held) = Default::default();
        Self { kind, wire, options, proxies: 1, paid, held, goes: None, alone: None, midway: false, waited: 0 }
    }

    /// Leaves in `added` what goes now, and notes what that costs. `told`: what the client was told of a name before, if
    /// it goes only because it has changed.
    pub(super) fn admit<'a>(
        &mut self,
        added: &mut Vec<Arc<Resource>>,
        told: impl Fn(&str) -> Option<&'a Arc<Resource>>,
        now: Instant,
    ) {
        if self.kind == Kind::Cluster && self.wire == Wire::Delta {
            let (all, mut room) = (added.len(), self.options.clusters);
            added.retain(|cluster| told(cluster.name()).is_none() || take_one(&mut room));
            self.midway = added.len() < all;
        }
        if self.kind == Kind::Secret {
            self.choose_one(added);
        }
        if !PACED.contains(&self.kind) {
            return;
        }
        let before = std::mem::take(&mut self.held);
        self.goes = None;
        added.retain(|newest| told(newest.name()).is_none_or(|told| self.goes_now(told, newest, now)));
        self.waited += self.held.difference(&before).count() as u64;
    }

    /// Secrets go one by one, each in its turn: of several that are rejected together nobody could find out which one it was,
    /// for Envoy accepts the bytes of a secret that it has just rejected.
    fn choose_one(&mut self, added: &mut Vec<Arc<Resource>>) {
        let is_next = |secret: &Arc<Resource>| self.alone.as_ref().is_none_or(|last| secret.name() > last);
        let next = added.iter().position(is_next).unwrap_or_default();
        *added = added.drain(..).skip(next).take(1).collect();
        self.alone = added.first().map(|secret| secret.name().clone());
    }

    fn goes_now(&mut self, told: &Resource, newest: &Resource, now: Instant) -> bool {
        let interval = self.options.interval(newest.size(), self.proxies);
        if interval.is_zero() {
            return true;
        }
        let paid = self.paid.get(newest.name()).copied().unwrap_or(now).max(now);
        let credit = if told.loses_to(newest) { interval * self.options.credit } else { Duration::ZERO };
        if paid <= now + credit {
            self.paid.insert(newest.name().clone(), paid + interval);
            return true;
        }
        let goes = paid.checked_sub(credit).unwrap_or(now);
        self.goes = Some(self.goes.map_or(goes, |first| first.min(goes)));
        self.held.insert(newest.name().clone());
        false
    }

    /// Notes the time: what is paid for is forgotten.
    pub(super) fn age(&mut self, now: Instant) {
        self.paid.retain(|_, paid| *paid > now);
    }

    /// When the first of what waits goes; none where nothing does.
    pub(super) fn goes(&self) -> Option<Instant> {
        self.goes
    }

    /// When everything is paid for.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        self.paid.values().max().copied()
    }

    /// The names that wait.
    pub(super) fn held(&self) -> impl Iterator<Item = &Arc<str>> {
        self.held.iter()
    }
}

fn take_one(room: &mut usize) -> bool {
    let some = *room > 0;
    *room = room.saturating_sub(1);
    some
}
