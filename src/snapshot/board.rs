//! The board: where `publish` posts configuration and `xds` finds it; neither knows the other.
//!
//! A stream joins with what its proxy states and holds a [`Seat`]; `publish` sees who is seated, places each and posts
//! a layer per audience and per workload. Only what somebody sits for is computed.

use super::set::{Layer, Snapshot};
use crate::model::audience::{Placement, ProxyFacts, Subject};
use dashmap::DashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// A posted layer and the moment the change behind it was seen.
#[derive(Clone, Default, Debug)]
pub struct Posted {
    /// The layer.
    pub layer: Arc<Layer>,
    /// When the change behind it was seen.
    pub since: Option<Instant>,
}

/// Where a proxy belongs and how many seats it has.
#[derive(Debug)]
struct Place {
    seats: usize,
    placement: watch::Sender<Option<Placement>>,
}

/// Who came and who went.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Seats {
    /// Proxies that took their first seat; perhaps again, and then they are to be placed again.
    pub joined: BTreeSet<ProxyFacts>,
    /// Proxies that gave up their last seat.
    pub left: BTreeSet<ProxyFacts>,
}

/// The places, and what of them the publisher has not heard yet.
#[derive(Debug, Default)]
struct Places {
    by_proxy: BTreeMap<ProxyFacts, Place>,
    news: Seats,
}

/// The board. Shared by all streams and the publisher.
#[derive(Debug, Default)]
pub struct Board {
    places: Mutex<Places>,
    posts: DashMap<Subject, watch::Sender<Option<Posted>>>,
    joined: Notify,
}

impl Board {
    /// Takes a seat for a proxy. The snapshot arrives when the publisher has placed the proxy and computed for it.
    pub fn join(self: &Arc<Self>, facts: ProxyFacts) -> Seat {
        let placement = self.places().join(&facts);
        self.joined.notify_one();
        Seat { board: self.clone(), facts, placement, halves: None, seen: false }
    }

    /// Waits until a proxy has joined or left since the last call.
    pub async fn joined(&self) {
        self.joined.notified().await;
    }

    /// Who came and who went since the last call.
    pub fn news(&self) -> Seats {
        std::mem::take(&mut self.places().news)
    }

    /// How many proxies are seated.
    pub fn seated(&self) -> usize {
        self.places().by_proxy.len()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says where a proxy belongs; wakes its seats if that is new.
    pub fn place(&self, facts: &ProxyFacts, placement: Option<Placement>) {
        if let Some(place) = self.places().by_proxy.get(facts) {
            place.placement.send_if_modified(|held| {
                let differs = *held != placement;
                *held = placement;
                differs
            });
        }
    }

    /// Posts the newest layer of a subject.
    pub fn post(&self, subject: &Subject, posted: Posted) {
        let sender = self.posts.entry(subject.clone()).or_insert_with(|| watch::Sender::new(None));
        sender.send_replace(Some(posted));
    }

    /// Forgets a subject for which nobody sits any more.
    pub fn forget(&self, subject: &Subject) {
        self.posts.remove(subject);
    }

    fn watch(&self, subject: Subject) -> watch::Receiver<Option<Posted>> {
        self.posts.entry(subject).or_insert_with(|| watch::Sender::new(None)).subscribe()
    }

    fn leave(&self, facts: &ProxyFacts) {
        self.places().leave(facts);
        self.joined.notify_one();
    }
}

impl Places {
    fn join(&mut self, facts: &ProxyFacts) -> watch::Receiver<Option<Placement>> {
        if !self.by_proxy.contains_key(facts) {
            self.news.left.remove(facts);
            self.news.joined.insert(facts.clone());
        }
        let empty = || Place { seats: 0, placement: watch::Sender::new(None) };
        let place = self.by_proxy.entry(facts.clone()).or_insert_with(empty);
        place.seats += 1;
        place.placement.subscribe()
    }

    fn leave(&mut self, facts: &ProxyFacts) {
        let Some(place) = self.by_proxy.get_mut(facts) else { return };
        place.seats -= 1;
        if place.seats == 0 {
            self.by_proxy.remove(facts);
            self.news.joined.remove(facts);
            self.news.left.insert(facts.clone());
        }
    }
}

/// A stream's place on the board; given up when dropped.
#[derive(Debug)]
pub struct Seat {
    board: Arc<Board>,
    facts: ProxyFacts,
    placement: watch::Receiver<Option<Placement>>,
    halves: Option<Halves>,
    seen: bool,
}

#[derive(Debug)]
struct Halves {
    outbound: watch::Receiver<Option<Posted>>,
    inbound: watch::Receiver<Option<Posted>>,
}

impl Seat {
    /// Waits for a snapshot newer than the last returned. Never returns while the proxy's Pod is unknown. Cancel safe.
    pub async fn changed(&mut self) -> Snapshot {
        loop {
            if self.halves.is_none() {
                self.follow();
            }
            let Some(halves) = &mut self.halves else {
                changed(&mut self.placement).await;
                continue;
            };
            let news = tokio::select! {
                biased;
                () = changed(&mut self.placement) => {
                    self.halves = None;
                    continue;
                }
                () = changed(&mut halves.outbound) => [true, halves.inbound.has_changed().unwrap_or(false)],
                () = changed(&mut halves.inbound) => [halves.outbound.has_changed().unwrap_or(false), true],
            };
            if let Some(snapshot) = self.current(news) {
                return snapshot;
            }
        }
    }

    /// Whether the publisher has said where the proxy belongs.
    pub fn is_placed(&self) -> bool {
        self.placement.borrow().is_some()
    }

    fn follow(&mut self) {
        let placement = self.placement.borrow_and_update().clone();
        self.halves = placement.map(|placement| {
            let mut outbound = self.board.watch(Subject::Audience(placement.audience));
            let mut inbound = self.board.watch(Subject::Workload(placement.workload));
            outbound.mark_changed();
            inbound.mark_changed();
            Halves { outbound, inbound }
        });
    }

    fn current(&mut self, news: [bool; 2]) -> Option<Snapshot> {
        let halves = self.halves.as_mut()?;
        let outbound = halves.outbound.borrow_and_update().clone()?;
        let inbound = halves.inbound.borrow_and_update().clone()?;
        // What was there before this seat was taken is not late by any change.
        let late = news.into_iter().zip([outbound.since, inbound.since]).filter(|(is_news, _)| *is_news && self.seen);
        let since = late.filter_map(|(_, since)| since).min();
        self.seen = true;
        Some(Snapshot { outbound: outbound.layer, inbound: inbound.layer, since })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.leave(&self.facts);
    }
}

/// Waits for a new value; for ever if the publisher is gone, since then the process is ending.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
