//! One type's state on one stream: the subscription, the response in flight, and what the client's state lacks.
//!
//! For a name that is wanted and has no [`Pending`] entry, the client has been told what the snapshot says; so a stream
//! that has caught up holds nothing but the snapshot, which all streams share.

use super::rejection::Rejection;
use super::{Counters, IN_FLIGHT, MAX_NAMES, Outcome, Received};
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Resource, Version};
use crate::snapshot::set::Snapshot;
use crate::xds::absent::Absence;
use crate::xds::digest::Digest;
use crate::xds::refusal::Refusal;
use crate::xds::request::{Names, Request, Wire};
use crate::xds::subscription::{Change, Subscription};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// What the client holds of a name.
#[derive(Clone, Debug)]
enum Held {
    /// Nothing, as far as is known.
    Nothing,
    /// What it states to hold from an earlier stream; none if the version is not one of ours.
    Claimed(Option<Version>),
    /// What was sent.
    Sent(Arc<Resource>),
}

impl Held {
    fn version(&self) -> Option<Version> {
        match self {
            Held::Nothing => None,
            Held::Claimed(version) => *version,
            Held::Sent(resource) => Some(resource.version()),
        }
    }

    fn of(resource: Option<&Arc<Resource>>) -> Held {
        resource.map_or(Held::Nothing, |resource| Held::Sent(resource.clone()))
    }
}

/// A name whose state may have to be sent.
#[derive(Clone, Debug)]
struct Pending {
    held: Held,
    /// Whether it goes even if the client holds the same version.
    force: bool,
}

/// What has to be said about a pending name.
enum Due {
    Nothing,
    Add(Arc<Resource>),
    /// It was asked for and does not exist.
    Absent(Absence),
    /// The client holds it and it is gone.
    Gone(Absence),
}

/// Additions go before removals, and never in one response: a rejected response still applies its removals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::xds) enum Phase {
    /// What is new, changed or asked for.
    Add,
    /// What the client holds and should not.
    Remove,
}

/// What one response carries.
#[derive(Default)]
pub(super) struct Batch {
    /// Every resource it carries.
    pub(super) resources: Vec<Arc<Resource>>,
    /// The names it removes.
    pub(super) removed: Vec<Arc<str>>,
    /// Those of the resources that are the reason for it.
    pub(super) changed: Vec<Arc<Resource>>,
}

/// The pending names by what has to be said about them.
#[derive(Default)]
struct Work {
    settled: Vec<Arc<str>>,
    added: Vec<Arc<Resource>>,
    absent: Vec<(Arc<str>, Absence)>,
    gone: Vec<(Arc<str>, Absence)>,
}

/// The response in flight.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    nonce: u64,
    at: Instant,
    version: Version,
    since: Option<Instant>,
    /// Whether it is too old to be waited for.
    aged: bool,
}

/// One type's state on one stream.
#[derive(Debug)]
pub(in crate::xds) struct Track {
    pub(super) kind: Kind,
    wire: Wire,
    pub(super) subscription: Subscription,
    /// Whether the client has asked for the type.
    asked: bool,
    /// Whether the first request is still to be answered.
    owed: bool,
    pending: BTreeMap<Arc<str>, Pending>,
    /// Names whose owner was sent before the type was asked for: they go whatever version the client then states.
    early: BTreeSet<Arc<str>>,
    /// Over what the client was told.
    told: Digest,
    outstanding: Option<Outstanding>,
    last_nonce: Option<u64>,
    /// When the oldest change that is pending was seen.
    since: Option<Instant>,
    pub(super) sent: Option<(Version, Instant)>,
    pub(super) acked: Option<(Version, Instant)>,
    pub(super) nacked: Option<Rejection>,
}

impl Track {
    pub(super) fn new(kind: Kind, wire: Wire) -> Self {
        Self {
            kind,
            wire,
            subscription: Subscription::default(),
            asked: false,
            owed: false,
            pending: BTreeMap::new(),
            early: BTreeSet::new(),
            told: Digest::default(),
            outstanding: None,
            last_nonce: None,
            since: None,
            sent: None,
            acked: None,
            nacked: None,
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// Reads a request as an answer to a response. Only the nonce says which one, and only on its own stream: a first
    /// request may carry the nonce of an earlier stream. Only an error says that it is a rejection.
    pub(super) fn answer(&mut self, request: &Request, now: Instant) -> Received {
        let received = |outcome| Received { kind: Some(self.kind), outcome, change_to_ack: None };
        if !self.asked {
            return received(Outcome::Init);
        }
        let nonce = request.nonce.parse().ok();
        let Some(outstanding) = self.outstanding.filter(|outstanding| Some(outstanding.nonce) == nonce) else {
            let newest = nonce.is_some() && nonce == self.last_nonce && request.error.is_none();
            let answers_nothing = request.nonce.is_empty() || newest;
            return received(if answers_nothing { Outcome::Change } else { Outcome::Stale });
        };
        let Outstanding { version, since, .. } = outstanding;
        self.outstanding = None;
        match &request.error {
            Some(message) => {
                self.nacked = Some(Rejection::new(version, message, now));
                received(Outcome::Nack)
            }
            None => {
                self.acked = Some((version, now));
                let change_to_ack = since.map(|since| now.saturating_duration_since(since));
                Received { change_to_ack, ..received(Outcome::Ack) }
            }
        }
    }

    /// Applies the names of a request; those of a stale one too, because they are the client's newest wish all the same.
    /// `warming`: the versions the client states are not to be relied on.
    pub(super) fn subscribe(
        &mut self,
        names: &Names,
        first: bool,
        warming: bool,
        snapshot: &Snapshot,
    ) -> Result<(), Refusal> {
        let was_wildcard = self.subscription.is_wildcard();
        let kind = self.kind;
        // Most names are those of resources that exist: they share one string among all streams.
        let intern = |name: &str| snapshot.get(kind, name).map_or_else(|| name.into(), |known| known.name().clone());
        let change = self.subscription.apply(kind, first, names, intern);
        let count = self.subscription.names().len();
        if count > MAX_NAMES {
            return Err(Refusal::TooManyNames { kind, count, limit: MAX_NAMES });
        }
        self.follow(change, was_wildcard, snapshot);
        if let (true, Names::Change { initial, .. }) = (first, names) {
            self.claim(initial, warming);
        }
        if first {
            self.asked = true;
            self.owed = !self.subscription.is_empty() && self.may_be_empty();
            self.early.clear();
        }
        Ok(())
    }

    fn follow(&mut self, change: Change, was_wildcard: bool, snapshot: &Snapshot) {
        for name in &change.dropped {
            self.forget(name, snapshot);
        }
        for (name, held) in change.asked {
            self.force(&name, held, snapshot);
        }
        if change.opened {
            self.open(was_wildcard, snapshot);
        }
        if change.closed {
            self.close(snapshot);
        }
    }

    /// Every resource is asked for; `again` if it was before.
    fn open(&mut self, again: bool, snapshot: &Snapshot) {
        self.owed = self.may_be_empty();
        for resource in snapshot.iter(self.kind) {
            let name = resource.name();
            if again {
                self.force(name, true, snapshot);
            } else if !self.subscription.names().contains(name) {
                let fresh = Pending { held: Held::Nothing, force: false };
                self.pending.entry(name.clone()).or_insert(fresh);
            }
        }
    }

    /// Only the explicit names are wanted from now on.
    fn close(&mut self, snapshot: &Snapshot) {
        let names = self.subscription.names();
        self.pending.retain(|name, _| names.contains(name));
        self.told = Digest::default();
        for name in names {
            let held = match self.pending.get(name) {
                Some(pending) => pending.held.clone(),
                None => Held::of(snapshot.get(self.kind, name)),
            };
            if let Held::Sent(resource) = held {
                self.told.add(&resource);
            }
        }
    }

    /// The client states what it holds from an earlier stream: equal versions are not sent again.
    fn claim(&mut self, initial: &[(String, String)], warming: bool) {
        for (name, version) in initial {
            if !self.subscription.covers(name) {
                continue;
            }
            let force = warming || self.early.contains(name.as_str());
            let version = u128::from_str_radix(version, 16).ok().map(Version);
            let claimed = Pending { held: Held::Claimed(version), force };
            self.pending.insert(name.as_str().into(), claimed);
        }
    }

    /// The name goes even if the client holds the same version. `held`: it was wanted before.
    fn force(&mut self, name: &Arc<str>, held: bool, snapshot: &Snapshot) {
        let told = || if held { Held::of(snapshot.get(self.kind, name)) } else { Held::Nothing };
        self.pending.entry(name.clone()).or_insert_with(|| Pending { held: told(), force: true }).force = true;
    }

    /// Sends a name again because its owner was sent.
    pub(super) fn renew(&mut self, name: &Arc<str>, snapshot: &Snapshot) {
        if self.subscription.covers(name) {
            self.force(name, true, snapshot);
        } else if !self.asked && self.wire == Wire::Delta {
            self.early.insert(name.clone());
        }
    }

    fn forget(&mut self, name: &Arc<str>, snapshot: &Snapshot) {
        let held = match self.pending.remove(name) {
            Some(pending) => pending.held,
            None => Held::of(snapshot.get(self.kind, name)),
        };
        if let Held::Sent(resource) = held {
            self.told.take(&resource);
        }
    }

    /// Notes the names that differ between two snapshots; `since`: when the change between them was seen.
    pub(super) fn compare(&mut self, old: &Snapshot, new: &Snapshot, since: Option<Instant>) {
        if self.subscription.is_empty() {
            return;
        }
        for name in new.changed_since(old, self.kind) {
            if !self.subscription.covers(&name) {
                continue;
            }
            self.since = self.since.or(since);
            let held = || Pending { held: Held::of(old.get(self.kind, &name)), force: false };
            self.pending.entry(name.clone()).or_insert_with(held);
        }
    }

    fn due(&self, name: &str, pending: &Pending, snapshot: &Snapshot) -> Due {
        let absence = || Absence::of(self.kind, self.wire, name);
        match (snapshot.get(self.kind, name), &pending.held) {
            (Some(resource), held) if pending.force || held.version() != Some(resource.version()) => {
                Due::Add(resource.clone())
            }
            (Some(_), _) => Due::Nothing,
            (None, Held::Nothing) if pending.force => Due::Absent(absence()),
            (None, Held::Nothing) => Due::Nothing,
            (None, _) => Due::Gone(absence()),
        }
    }

    /// Sorts the pending names by what has to be said about them.
    fn sort(&self, snapshot: &Snapshot, counters: &mut Counters) -> Work {
        let mut work = Work::default();
        for (name, pending) in &self.pending {
            match self.due(name, pending, snapshot) {
                Due::Nothing | Due::Gone(Absence::Silence) => work.settled.push(name.clone()),
                Due::Absent(Absence::Silence) => {
                    counters.missing_secrets += 1;
                    work.settled.push(name.clone());
                }
                Due::Add(resource) => work.added.push(resource),
                Due::Absent(absence) => work.absent.push((name.clone(), absence)),
                Due::Gone(absence) => work.gone.push((name.clone(), absence)),
            }
        }
        work
    }

    /// Takes what the next response of a phase carries; none if there is nothing to say or one is in flight.
    pub(super) fn take(&mut self, phase: Phase, snapshot: &Snapshot, counters: &mut Counters) -> Option<Batch> {
        if self.is_waiting() || !self.has_work() {
            return None;
        }
        let mut work = self.sort(snapshot, counters);
        for name in std::mem::take(&mut work.settled) {
            self.settle(&name, snapshot);
        }
        let batch = match phase {
            Phase::Add => self.take_additions(work, snapshot),
            Phase::Remove => self.take_removals(work, snapshot),
        };
        if self.pending.is_empty() && batch.is_none() {
            self.since = None;
        }
        batch
    }

    fn take_additions(&mut self, work: Work, snapshot: &Snapshot) -> Option<Batch> {
        let Work { added, absent, gone, .. } = work;
        // What is only answered as absent waits for a response without additions, where Envoy would apply the one although
        // it rejects the other.
        let apart = self.wire == Wire::Delta && self.kind.is_whole_set() && !added.is_empty();
        let absent = if apart { Vec::new() } else { absent };
        if added.is_empty() && absent.is_empty() && !(self.owed && gone.is_empty()) {
            return None;
        }
        let mut batch = Batch { changed: added.clone(), ..Batch::default() };
        batch.resources = if self.is_whole() { self.whole(snapshot) } else { added };
        for resource in &batch.changed {
            self.settle(resource.name(), snapshot);
        }
        self.say_absent(absent, &mut batch, snapshot);
        Some(batch)
    }

    fn take_removals(&mut self, work: Work, snapshot: &Snapshot) -> Option<Batch> {
        if work.gone.is_empty() {
            return None;
        }
        let mut batch = Batch::default();
        self.say_absent(work.gone, &mut batch, snapshot);
        if self.is_whole() {
            batch.resources = self.whole(snapshot);
        }
        Some(batch)
    }

    fn say_absent(&mut self, names: Vec<(Arc<str>, Absence)>, batch: &mut Batch, snapshot: &Snapshot) {
        for (name, absence) in names {
            self.settle(&name, snapshot);
            match absence {
                Absence::Removed => batch.removed.push(name),
                Absence::Placeholder(resource) => batch.resources.push(resource),
                Absence::LeftOut | Absence::Silence => {}
            }
        }
    }

    /// Everything wanted, and what is gone but not yet taken away: absence from a whole set is a removal.
    fn whole(&self, snapshot: &Snapshot) -> Vec<Arc<Resource>> {
        let wanted = |resource: &&Arc<Resource>| self.subscription.covers(resource.name());
        let mut whole: Vec<_> = match self.subscription.is_wildcard() {
            true => snapshot.iter(self.kind).filter(wanted).cloned().collect(),
            false => {
                self.subscription.names().iter().filter_map(|name| snapshot.get(self.kind, name)).cloned().collect()
            }
        };
        whole.extend(self.pending.iter().filter_map(|(name, pending)| match &pending.held {
            Held::Sent(resource) if snapshot.get(self.kind, name).is_none() => Some(resource.clone()),
            _ => None,
        }));
        whole
    }

    /// The client has been told what the snapshot says of the name.
    fn settle(&mut self, name: &str, snapshot: &Snapshot) {
        if let Some(Pending { held: Held::Sent(resource), .. }) = self.pending.remove(name) {
            self.told.take(&resource);
        }
        if let Some(resource) = snapshot.get(self.kind, name) {
            self.told.add(resource);
        }
    }

    /// Notes that what [`Track::take`] returned is sent; returns the version of everything the client now holds.
    pub(super) fn sent(&mut self, nonce: u64, now: Instant) -> Version {
        let version = self.told.version();
        let unanswered = self.outstanding.and_then(|outstanding| outstanding.since);
        let since = unanswered.or(self.since.take());
        self.since = None;
        self.owed = false;
        self.last_nonce = Some(nonce);
        self.sent = Some((version, now));
        self.outstanding = Some(Outstanding { nonce, at: now, version, since, aged: false });
        version
    }

    /// Notes the time: a response in flight may become too old to be waited for.
    pub(super) fn age(&mut self, now: Instant) {
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.aged |= now.saturating_duration_since(outstanding.at) >= IN_FLIGHT;
        }
    }

    /// When [`Track::age`] will make a difference.
    pub(super) fn ages_at(&self) -> Option<Instant> {
        self.outstanding.filter(|outstanding| !outstanding.aged).map(|outstanding| outstanding.at + IN_FLIGHT)
    }

    /// Whether a response is in flight that has to be waited for.
    pub(in crate::xds) fn is_waiting(&self) -> bool {
        self.outstanding.is_some_and(|outstanding| !outstanding.aged)
    }

    /// Whether there may be something to send.
    pub(super) fn has_work(&self) -> bool {
        self.owed || !self.pending.is_empty()
    }

    /// The version the client should hold.
    pub(super) fn desired(&self, snapshot: &Snapshot) -> Version {
        let mut digest = self.told;
        for (name, pending) in &self.pending {
            if let Held::Sent(resource) = &pending.held {
                digest.take(resource);
            }
            if let Some(resource) = snapshot.get(self.kind, name) {
                digest.add(resource);
            }
        }
        digest.version()
    }

    /// How many names have something waiting to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// When the response was sent that is not answered yet.
    pub(super) fn in_flight_since(&self) -> Option<Instant> {
        self.outstanding.map(|outstanding| outstanding.at)
    }

    /// Whether each response carries the whole set.
    fn is_whole(&self) -> bool {
        self.wire == Wire::Sotw && self.kind.is_whole_set()
    }

    /// Whether a response that carries nothing means something: not for secrets, about which nothing is said when they do
    /// not exist, and not in SotW for partial types.
    fn may_be_empty(&self) -> bool {
        self.is_whole() || (self.wire == Wire::Delta && self.kind != Kind::Secret)
    }
}
