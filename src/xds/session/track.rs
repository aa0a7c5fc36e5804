//! One type's state on one stream: the subscription, the response in flight, and what the client has still to be told.

mod corrections;
mod holdings;
mod rolls;

use super::backlog::{Backlog, Work};
use super::rejection::Rejection;
use super::view::View;
use super::{Counters, IN_FLIGHT, MAX_NAMES, Outcome, Received};
use crate::snapshot::interest::Wanted;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Resource, Version};
use crate::snapshot::roll::Roll;
use crate::xds::absent::Absence;
use crate::xds::pace::{self, Pace};
use crate::xds::quarantine::Before;
use crate::xds::refusal::Refusal;
use crate::xds::request::{Names, Request, Wire};
use crate::xds::subscription::{Change, Subscription};
use crate::xds::texts::Versions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

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
    /// Carries everything on it.
    pub(super) roll: Option<Arc<Roll>>,
    /// Whether what is on the roll is the reason for it.
    pub(super) is_first: bool,
    /// Every other resource it carries.
    pub(super) resources: Vec<Arc<Resource>>,
    /// The names it removes.
    pub(super) removed: Vec<Arc<str>>,
    /// Those of the resources that are the reason for it.
    pub(super) changed: Vec<Arc<Resource>>,
    /// What the client had been told of the names the response is about.
    pub(super) outdated: Vec<Arc<Resource>>,
    /// The names of which it says that there is nothing.
    pub(super) absent: BTreeSet<Arc<str>>,
    /// The names that an owner may wait for.
    pub(super) awaited: BTreeSet<Arc<str>>,
    /// What it held, as far as is known, of those that are the reason for it.
    pub(super) before: BTreeMap<Arc<str>, Before>,
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
    /// Whether the client came with something of the type that it accepted on an earlier stream.
    pub(super) came: bool,
    backlog: Backlog,
    pub(super) pace: Pace,
    /// Names whose owner was sent before the type was asked for: they go whatever version the client then states.
    early: BTreeSet<Arc<str>>,
    /// Whether the owners of all names were.
    all_early: bool,
    /// Names of which the client may hold something else than it states: they go whatever that is.
    distrusted: BTreeSet<Arc<str>>,
    /// Those of them of which it states nothing: it may hold nothing.
    doubtful: BTreeSet<Arc<str>>,
    /// Whether something went without a word since [`Track::went_quietly`] was asked.
    quiet: bool,
    outstanding: Option<Outstanding>,
    last_nonce: Option<u64>,
    /// Since when something the client holds is gone and has not been taken away.
    gone_since: Option<Instant>,
    /// When the oldest change that is pending was seen.
    since: Option<Instant>,
    /// When what the client should hold became what it is.
    pub(super) desired_at: Option<Instant>,
    pub(super) sent: Option<(Version, Instant)>,
    pub(super) acked: Option<(Version, Instant)>,
    pub(super) nacked: Option<Rejection>,
}

impl Track {
    pub(super) fn new(kind: Kind, wire: Wire, pace: pace::Options) -> Self {
        Self {
            kind,
            wire,
            subscription: Subscription::default(),
            asked: false,
            owed: false,
            came: false,
            backlog: Backlog::new(kind, wire),
            pace: Pace::new(kind, wire, pace),
            early: BTreeSet::new(),
            all_early: false,
            distrusted: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            quiet: false,
            outstanding: None,
            last_nonce: None,
            gone_since: None,
            since: None,
            desired_at: None,
            sent: None,
            acked: None,
            nacked: None,
        }
    }

    pub(in crate::xds) fn is_asked(&self) -> bool {
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
    /// `warming`: the versions the client states are not to be relied on. Returns whether it does not want all that it wanted before.
    pub(super) fn subscribe(
        &mut self,
        names: &Names,
        first: bool,
        warming: bool,
        snapshot: &View,
    ) -> Result<bool, Refusal> {
        if first && self.begin(names, warming, snapshot) {
            return Ok(false);
        }
        let was_wildcard = self.subscription.is_wildcard();
        let kind = self.kind;
        // Most names are those of resources that exist: they share one string among all streams.
        let intern = |name: &str| snapshot.get(kind, name).map_or_else(|| name.into(), |known| known.name().clone());
        let change = self.subscription.apply(kind, first, names, intern);
        let count = self.subscription.names().len();
        if count > MAX_NAMES {
            return Err(Refusal::TooManyNames { kind, count, limit: MAX_NAMES });
        }
        let less = change.closed || !change.dropped.is_empty();
        if !change.is_empty() {
            let before = self.backlog.told();
            self.backlog.unroll(!was_wildcard);
            self.follow(change, was_wildcard, snapshot);
            self.restate(before);
            self.subscription.share(&snapshot.outbound_names(kind));
        }
        if let (true, Names::Change { initial, .. }) = (first, names) {
            self.claim(initial, warming);
            self.disbelieve();
        }
        if first {
            self.asked = true;
            self.owed = !self.subscription.is_empty() && self.may_be_empty();
            self.early.clear();
        }
        Ok(less)
    }

    /// Notes that the client asks for the type, before there is anything to look its names up in.
    pub(super) fn expect(&mut self) {
        self.asked = true;
    }

    fn follow(&mut self, change: Change, was_wildcard: bool, snapshot: &View) {
        for name in &change.dropped {
            self.backlog.forget(name, snapshot);
        }
        for (name, wanted) in &change.asked {
            self.backlog.force(name, *wanted, snapshot);
        }
        if change.opened {
            self.open(was_wildcard, snapshot);
        }
        if change.closed {
            self.backlog.keep(self.subscription.names(), snapshot);
        }
    }

    /// Every resource is asked for; `again` if it was before.
    fn open(&mut self, again: bool, snapshot: &View) {
        self.owed = self.may_be_empty();
        for resource in snapshot.iter(self.kind) {
            let name = resource.name();
            if again {
                self.backlog.force(name, true, snapshot);
            } else if !self.subscription.names().contains(name) {
                self.backlog.want(name);
            }
        }
    }

    /// The client states what it holds from an earlier stream: equal versions are not sent again, unless it is `warming`
    /// or an owner was sent before.
    fn claim(&mut self, initial: &Versions, warming: bool) {
        for (name, version) in initial.iter().filter(|(name, _)| self.subscription.covers(name)) {
            self.backlog.claim(name, version, warming || self.all_early || self.early.contains(name));
        }
    }

    /// Sends a name again because its owner was sent.
    pub(super) fn renew(&mut self, name: &Arc<str>, snapshot: &View) {
        if self.subscription.covers(name) {
            self.backlog.await_again(name, snapshot);
        } else if !self.asked && self.wire == Wire::Delta {
            self.early.insert(name.clone());
        }
    }

    /// Sends every name again that the client wants and that exists.
    pub(super) fn renew_all(&mut self, snapshot: &View) {
        for resource in snapshot.iter(self.kind).filter(|resource| self.subscription.covers(resource.name())) {
            self.backlog.force(resource.name(), true, snapshot);
        }
    }

    /// Notes the names that differ between two snapshots; `since`: when the change between them was seen.
    pub(super) fn compare(&mut self, old: &View, new: &View, since: Option<Instant>, now: Instant) {
        if self.subscription.is_empty() {
            return;
        }
        let untold = self.call_again(new);
        let is_untold = |name: &str| untold.as_ref().is_some_and(|roll| roll.names().contains(name));
        for name in new.changed_since(old, self.kind).iter() {
            if !self.subscription.covers(name) {
                continue;
            }
            self.since = self.since.or(since);
            self.desired_at = Some(now);
            if !is_untold(name) {
                self.backlog.differs(name, old);
            }
        }
    }

    /// Takes what the next response of a phase carries; none if there is nothing to say or one is in flight.
    pub(super) fn take(
        &mut self,
        phase: Phase,
        now: Instant,
        snapshot: &View,
        counters: &mut Counters,
    ) -> Option<Batch> {
        if self.is_waiting() || !self.has_work() {
            return None;
        }
        let before = self.backlog.told();
        let mut work = self.backlog.sort(snapshot, counters);
        self.restate(before);
        if phase == Phase::Add {
            self.pace.admit(&mut work.added, |name| self.backlog.told_before(name), now);
        }
        self.gone_since = if work.gone.is_empty() { None } else { self.gone_since.or(Some(now)) };
        let batch = match phase {
            Phase::Add => self.take_additions(work, snapshot),
            Phase::Remove => self.take_removals(work, snapshot),
        };
        if self.backlog.is_empty() && batch.is_none() {
            self.since = None;
        }
        if phase == Phase::Remove {
            self.gone_since = None;
        }
        batch
    }

    fn take_additions(&mut self, work: Work, snapshot: &View) -> Option<Batch> {
        let Work { added, absent, gone, .. } = work;
        let roll = self.backlog.tell_roll();
        let adds = roll.is_some() || !added.is_empty();
        // What is only answered as absent waits for a response without additions, where Envoy would apply the one although
        // it rejects the other.
        let apart = self.wire == Wire::Delta && self.kind.is_whole_set() && adds;
        let absent = if apart { Vec::new() } else { absent };
        let spoken = gone.iter().any(|(_, absence)| !matches!(absence, Absence::Silence));
        if !adds && absent.is_empty() && (spoken || !self.owed) {
            return None;
        }
        let mut batch = Batch { changed: added.clone(), is_first: roll.is_some(), ..Batch::default() };
        (batch.roll, batch.resources) = if self.is_whole() { self.whole(snapshot) } else { (roll, added) };
        if self.is_whole() {
            self.backlog.calm(snapshot);
        }
        for resource in &batch.changed {
            let before = self.backlog.before(resource.name());
            batch.before.extend(before.map(|before| (resource.name().clone(), before)));
            batch.awaited.extend(self.backlog.is_awaited(resource.name()).then(|| resource.name().clone()));
            batch.outdated.extend(self.backlog.settle(resource.name(), snapshot));
        }
        self.say_absent(absent, &mut batch, snapshot);
        Some(batch)
    }

    fn take_removals(&mut self, work: Work, snapshot: &View) -> Option<Batch> {
        if work.gone.is_empty() {
            return None;
        }
        let (mut batch, before) = (Batch::default(), self.backlog.told());
        self.say_absent(work.gone, &mut batch, snapshot);
        if batch.removed.is_empty() && batch.resources.is_empty() && !self.is_whole() {
            // Whatever is gone went with its owner.
            self.restate(before);
            self.quiet = true;
            return None;
        }
        if self.is_whole() {
            (batch.roll, batch.resources) = self.whole(snapshot);
        }
        Some(batch)
    }

    fn say_absent(&mut self, names: Vec<(Arc<str>, Absence)>, batch: &mut Batch, snapshot: &View) {
        for (name, absence) in names {
            if !matches!(absence, Absence::Silence) {
                batch.absent.insert(name.clone());
                batch.before.extend(self.backlog.before(&name).map(|before| (name.clone(), before)));
            }
            batch.outdated.extend(self.backlog.settle(&name, snapshot));
            match absence {
                Absence::Removed => batch.removed.push(name),
                Absence::Placeholder(resource) => batch.resources.push(resource),
                Absence::LeftOut | Absence::Silence => {}
            }
        }
    }

    /// Whether something went without a word since this was asked last.
    pub(super) fn went_quietly(&mut self) -> bool {
        std::mem::take(&mut self.quiet)
    }

    /// Notes that what [`Track::take`] returned is sent; returns the version of everything the client now holds.
    pub(super) fn sent(&mut self, nonce: u64, now: Instant) -> Version {
        let version = self.backlog.told();
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
        self.pace.age(now);
    }

    /// When an update goes that waits for its turn, or none has to wait any more.
    pub(super) fn paces_at(&self) -> Option<Instant> {
        let goes = self.pace.goes().filter(|_| !self.is_waiting() && self.has_work());
        goes.into_iter().chain(self.pace.quiet_at()).min()
    }

    /// When [`Track::age`] will make a difference.
    pub(super) fn ages_at(&self) -> Option<Instant> {
        self.outstanding.filter(|outstanding| !outstanding.aged).map(|outstanding| outstanding.at + IN_FLIGHT)
    }

    /// Whether a response is in flight that has to be waited for.
    pub(in crate::xds) fn is_waiting(&self) -> bool {
        self.outstanding.is_some_and(|outstanding| !outstanding.aged)
    }

    /// Since when a removal has waited.
    pub(in crate::xds) fn gone_since(&self) -> Option<Instant> {
        self.gone_since.filter(|_| self.has_work())
    }

    /// A removal of another type was sent: this one waits anew.
    pub(super) fn wait_anew(&mut self, now: Instant) {
        self.gone_since = self.gone_since.map(|_| now);
    }

    /// Whether there may be something to send.
    pub(super) fn has_work(&self) -> bool {
        self.owed || !self.backlog.is_empty()
    }

    /// Whether nothing can be said now.
    pub(super) fn is_idle(&self, snapshot: &View) -> bool {
        !self.owed && self.backlog.is_idle(snapshot)
    }

    /// The names about which there may be something to say; none where that is everything.
    pub(super) fn pending(&self) -> Option<impl Iterator<Item = &Arc<str>>> {
        self.backlog.names()
    }

    /// What the client wants of the type.
    pub(super) fn wanted(&self) -> Wanted {
        match &self.subscription {
            all if all.is_wildcard() => Wanted::Everything,
            none if none.is_empty() => Wanted::Nothing,
            some => Wanted::Names(some.names().clone()),
        }
    }

    /// Whether the client wants every resource.
    pub(in crate::xds) fn is_wildcard(&self) -> bool {
        self.subscription.is_wildcard()
    }

    /// The version the client should hold.
    pub(super) fn desired(&self, snapshot: &View) -> Version {
        self.backlog.desired(snapshot, &self.subscription)
    }

    /// How many names have something waiting to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// Whether something of a name is waiting to be sent.
    pub(super) fn is_pending(&self, name: &str) -> bool {
        self.backlog.contains(name)
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
