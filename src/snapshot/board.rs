//! The board: where `publish` posts configuration and `xds` finds it; neither knows the other.
//!
//! A stream joins with what its proxy states and holds a [`Seat`]; `publish` sees who is seated, places each and posts
//! a layer per audience and per workload. Only what somebody sits for is computed.

use super::set::{Layer, Snapshot};
use crate::model::audience::{Placement, ProxyFacts, Subject};
use dashmap::DashMap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
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

/// The board. Shared by all streams and the publisher.
#[derive(Debug, Default)]
pub struct Board {
    places: Mutex<std::collections::BTreeMap<ProxyFacts, Place>>,
    posts: DashMap<Subject, watch::Sender<Option<Posted>>>,
    joined: Notify,
}

impl Board {
    /// Takes a seat for a proxy. The snapshot arrives when the publisher has placed the proxy and computed for it.
    pub fn join(self: &Arc<Self>, facts: ProxyFacts) -> Seat {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place =
            places.entry(facts.clone()).or_insert_with(|| Place { seats: 0, placement: watch::Sender::new(None) });
        place.seats += 1;
        let placement = place.placement.subscribe();
        let fresh = place.seats == 1;
        drop(places);
        if fresh {
            self.joined.notify_one();
        }
        Seat { board: self.clone(), facts, placement, halves: None }
    }

    /// Waits until a proxy has joined or left since the last call.
    pub async fn joined(&self) {
        self.joined.notified().await;
    }

    /// Who is seated now.
    pub fn seated(&self) -> BTreeSet<ProxyFacts> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Says where a proxy belongs; wakes its seats if that is new.
    pub fn place(&self, facts: &ProxyFacts, placement: Option<Placement>) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(facts) {
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
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get_mut(facts) {
            place.seats -= 1;
            if place.seats == 0 {
                places.remove(facts);
                self.joined.notify_one();
            }
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
            if self.placement.has_changed().unwrap_or(false) || self.halves.is_none() {
                self.follow();
            }
            let Some(halves) = &mut self.halves else {
                self.placement_changed().await;
                continue;
            };
            tokio::select! {
                biased;
                () = changed(&mut self.placement) => self.halves = None,
                () = changed(&mut halves.outbound) => {}
                () = changed(&mut halves.inbound) => {}
            }
            if let Some(snapshot) = self.current() {
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

    async fn placement_changed(&mut self) {
        changed(&mut self.placement).await;
    }

    fn current(&mut self) -> Option<Snapshot> {
        let halves = self.halves.as_mut()?;
        let outbound = halves.outbound.borrow_and_update().clone()?;
        let inbound = halves.inbound.borrow_and_update().clone()?;
        let since = outbound.since.max(inbound.since);
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
