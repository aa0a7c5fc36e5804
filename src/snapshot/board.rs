//! The board: where `publish` posts configuration and `xds` finds it; neither knows the other.
//!
//! A stream joins with what its proxy states and holds a [`Seat`]; `publish` sees who is seated, places each and posts
//! a layer per audience and per workload. Only what somebody sits for is computed; who leaves is kept a place for a
//! while, because the normal case is that the proxy comes back, or its successor.

mod post;

use super::bell::Bell;
use super::interest::Interest;
use super::private::Private;
use super::set::{Layer, Snapshot};
use crate::model::audience::{Placement, ProxyFacts, Subject};
use dashmap::DashMap;
use post::{Followed, Post};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A posted layer and the moment the change behind it was seen.
#[derive(Clone, Default, Debug)]
pub struct Posted {
    /// The layer.
    pub layer: Arc<Layer>,
    /// When the change behind it was seen.
    pub since: Option<Instant>,
}

impl Posted {
    /// Whether it is another layer than was seen last.
    fn is_new_to(&self, seen: Option<&Arc<Layer>>) -> bool {
        seen.is_none_or(|seen| !Arc::ptr_eq(seen, &self.layer))
    }
}

/// How long a proxy without a seat keeps its place, and what was computed for it: longer than an Envoy waits before it
/// connects again.
pub const KEPT: Duration = Duration::from_secs(60);
/// How many such proxies there are at most: anybody can say to be another.
pub const MOST_KEPT: usize = 10_000;

/// How many different things may be stated of one Pod at a time: its proxy, the one before it, and some more. Each may be something
/// of its own to compute.
pub const MOST_FORMS: usize = 8;

/// Where a proxy belongs, and its seats.
#[derive(Default, Debug)]
struct Place {
    /// When it gave up the last of them.
    left: Option<Instant>,
    placement: Option<Placement>,
    /// Rung when that is another one.
    bells: Vec<Arc<Bell>>,
}

/// Who came and who went.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Seats {
    /// Proxies that took their first seat; perhaps again, and then they are to be placed again.
    pub joined: BTreeSet<ProxyFacts>,
    /// Proxies that gave up their last seat and have been away for long.
    pub left: BTreeSet<ProxyFacts>,
}

/// The places, and what of them the publisher has not heard yet.
#[derive(Debug, Default)]
struct Places {
    by_proxy: BTreeMap<ProxyFacts, Place>,
    /// Who gave up the last seat, and when, in that order; those who have come back since are among them.
    left: VecDeque<(Instant, ProxyFacts)>,
    news: Seats,
}

/// The board. Shared by all streams and the publisher.
#[derive(Debug, Default)]
pub struct Board {
    places: Mutex<Places>,
    posts: DashMap<Subject, Arc<Post>>,
    joined: Notify,
    /// How many proxies have a seat: asked so often that it must not wait for the places.
    seated: AtomicUsize,
}

impl Board {
    /// Takes a seat for a proxy; none if [too many](MOST_FORMS) say something else of the same Pod. The snapshot arrives when the
    /// publisher has placed the proxy and computed for it.
    pub fn join(self: &Arc<Self>, facts: ProxyFacts) -> Option<Seat> {
        let (placed, first) = self.places().join(&facts)?;
        self.seated.fetch_add(usize::from(first), Ordering::Relaxed);
        self.joined.notify_one();
        let (interest, seen, posted) = (Interest::default(), [None, None, None], Arc::default());
        let (board, halves, private) = (self.clone(), None, Arc::default());
        Some(Seat { board, facts, placed, posted, interest, halves, private, seen })
    }

    /// Waits until a proxy has joined or left since the last call.
    pub async fn joined(&self) {
        self.joined.notified().await;
    }

    /// Until when the next place is kept of those whose proxies have left.
    pub fn kept_until(&self) -> Option<Instant> {
        self.places().left.front().map(|(left, _)| *left + KEPT)
    }

    /// Who came since the last call, and who went long enough ago.
    pub fn news(&self, now: Instant) -> Seats {
        let mut places = self.places();
        places.forget(now);
        std::mem::take(&mut places.news)
    }

    /// How many proxies are seated.
    pub fn seated(&self) -> usize {
        self.seated.load(Ordering::Relaxed)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where a proxy belongs; wakes its seats if that is new.
    pub fn place(&self, facts: &ProxyFacts, placement: Option<Placement>) {
        if let Some(place) = self.places().by_proxy.get_mut(facts).filter(|place| place.placement != placement) {
            place.placement = placement;
            place.bells.iter().for_each(|bell| bell.ring());
        }
    }

    /// Posts the newest layer of a subject; wakes the seats that want any of what differs from the one before.
    pub fn post(&self, subject: &Subject, posted: Posted) {
        self.post_of(subject.clone()).replace(posted);
    }

    /// Forgets a subject for which nobody sits any more.
    pub fn forget(&self, subject: &Subject) {
        self.posts.remove(subject);
    }

    fn post_of(&self, subject: Subject) -> Arc<Post> {
        self.posts.entry(subject).or_default().clone()
    }

    /// Where a proxy belongs, and the newest that is posted for it; none before that was computed.
    pub fn posted_for(&self, facts: &ProxyFacts) -> Option<(Placement, Snapshot)> {
        let placement = self.placement(facts)?;
        let newest = |subject| Some(self.posts.get(&subject)?.newest()?.layer);
        let outbound = newest(Subject::Audience(placement.audience.clone()))?;
        let inbound = newest(Subject::Workload(placement.workload.clone()))?;
        Some((placement, Snapshot { outbound, inbound, ..Snapshot::default() }))
    }

    fn placement(&self, facts: &ProxyFacts) -> Option<Placement> {
        self.places().by_proxy.get(facts)?.placement.clone()
    }

    fn leave(&self, facts: &ProxyFacts, bell: &Arc<Bell>) {
        let last = self.places().leave(facts, bell, Instant::now());
        self.seated.fetch_sub(usize::from(last), Ordering::Relaxed);
        self.joined.notify_one();
    }
}

impl Places {
    /// Takes a seat, if there is room; what rings when the proxy is placed elsewhere, and whether it is the proxy's first seat.
    fn join(&mut self, facts: &ProxyFacts) -> Option<(Arc<Bell>, bool)> {
        if !self.by_proxy.contains_key(facts) {
            if self.forms_of(facts) >= MOST_FORMS {
                return None;
            }
            self.news.left.remove(facts);
            self.news.joined.insert(facts.clone());
        }
        let place = self.by_proxy.entry(facts.clone()).or_default();
        let bell = Arc::new(Bell::default());
        place.bells.push(bell.clone());
        place.left = None;
        Some((bell, place.bells.len() == 1))
    }

    /// How many different things are stated of a Pod.
    fn forms_of(&self, facts: &ProxyFacts) -> usize {
        let is_of_pod = |other: &ProxyFacts| other.namespace == facts.namespace && other.pod == facts.pod;
        let before = self.by_proxy.range(..facts).rev().take_while(|(other, _)| is_of_pod(other));
        let after = self.by_proxy.range(facts..).take_while(|(other, _)| is_of_pod(other));
        before.count() + after.count()
    }

    /// Gives up a seat; whether it was the proxy's last.
    fn leave(&mut self, facts: &ProxyFacts, bell: &Arc<Bell>, now: Instant) -> bool {
        let Some(place) = self.by_proxy.get_mut(facts) else { return false };
        place.bells.retain(|other| !Arc::ptr_eq(other, bell));
        if !place.bells.is_empty() {
            return false;
        }
        place.left = Some(now);
        self.left.push_back((now, facts.clone()));
        true
    }

    /// Forgets who has been away for too long, or is one too many.
    fn forget(&mut self, now: Instant) {
        let mut surplus = self.left.len().saturating_sub(MOST_KEPT);
        while let Some((left, facts)) = self.left.pop_front_if(|(left, _)| surplus > 0 || *left + KEPT <= now) {
            surplus = surplus.saturating_sub(1);
            if self.by_proxy.get(&facts).is_some_and(|place| place.left == Some(left)) {
                self.by_proxy.remove(&facts);
                self.news.joined.remove(&facts);
                self.news.left.insert(facts);
            }
        }
    }
}

/// A stream's seat at the board; given up when dropped.
#[derive(Debug)]
pub struct Seat {
    board: Arc<Board>,
    facts: ProxyFacts,
    /// Rings when the proxy is placed elsewhere.
    placed: Arc<Bell>,
    /// Rings when something new is posted of either half: one for both, for it is listened to again and again.
    posted: Arc<Bell>,
    interest: Interest,
    /// The posts that are followed.
    halves: Option<[Followed; 2]>,
    /// What is for it alone.
    private: Arc<Private>,
    /// The layers last returned: outbound, inbound, and what is for it alone.
    seen: [Option<Arc<Layer>>; 3],
}

impl Seat {
    /// Waits for a snapshot that differs from the last returned in what is wanted. Never returns while the proxy's Pod is
    /// unknown. Cancel safe.
    pub async fn changed(&mut self) -> Snapshot {
        poll_fn(|context| self.poll_changed(context)).await
    }

    fn poll_changed(&mut self, context: &Context<'_>) -> Poll<Snapshot> {
        loop {
            if self.placed.poll_heard(context).is_ready() {
                self.halves = None;
            }
            if self.halves.is_none() {
                self.follow();
            }
            if self.halves.is_none() || self.posted.poll_heard(context).is_pending() {
                return Poll::Pending;
            }
            if let Some(snapshot) = self.newest() {
                return Poll::Ready(snapshot);
            }
        }
    }

    /// The newest snapshot, if it is another one than the last returned: for who is about to look at something that was
    /// not wanted until now.
    pub fn newer(&mut self) -> Option<Snapshot> {
        self.seen[0].as_ref()?;
        self.newest()
    }

    /// From now on this is wanted.
    pub fn wants(&mut self, interest: Interest) {
        if interest.key() == self.interest.key() {
            return;
        }
        self.interest = interest;
        if let Some([outbound, inbound]) = &mut self.halves {
            outbound.want(&self.interest, self.seen[0].as_ref());
            inbound.want(&self.interest.of_inbound(), self.seen[1].as_ref());
        }
    }

    /// From now on this belongs to its snapshots.
    pub fn confide(&mut self, private: Arc<Private>) {
        private.follow(&self.posted);
        self.private = private;
    }

    /// Whether the publisher has said where the proxy belongs.
    pub fn is_placed(&self) -> bool {
        self.board.placement(&self.facts).is_some()
    }

    fn follow(&mut self) {
        self.halves = self.board.placement(&self.facts).map(|placement| {
            let half = |subject, interest: &Interest, seen: &Option<Arc<Layer>>| {
                self.board.post_of(subject).follow(interest, seen.as_ref(), self.posted.clone())
            };
            let [outbound, inbound, _] = &self.seen;
            [
                half(Subject::Audience(placement.audience), &self.interest, outbound),
                half(Subject::Workload(placement.workload), &self.interest.of_inbound(), inbound),
            ]
        });
    }

    /// What is posted now, if it is another than was returned last.
    fn newest(&mut self) -> Option<Snapshot> {
        let halves = self.halves.as_ref()?;
        self.posted.silence();
        let [outbound, inbound] = [halves[0].newest()?, halves[1].newest()?];
        let secrets = self.private.newest();
        let news = [outbound.is_new_to(self.seen[0].as_ref()), inbound.is_new_to(self.seen[1].as_ref())];
        let is_same = self.seen[2].as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &secrets));
        if is_same && news == [false, false] {
            return None;
        }
        // What was there before this seat was taken is not late by any change.
        let (late, was_seated) = (news.into_iter().zip([outbound.since, inbound.since]), self.seen[0].is_some());
        let since = late.filter(|(is_news, _)| *is_news && was_seated).filter_map(|(_, since)| since).min();
        let layers = [&outbound.layer, &inbound.layer, &secrets];
        self.seen = layers.map(|layer| Some(layer.clone()));
        Some(Snapshot { outbound: outbound.layer, inbound: inbound.layer, secrets, since })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.leave(&self.facts, &self.placed);
    }
}
