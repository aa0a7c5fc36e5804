//! Who is connected: the live sessions, for the admin port.
//!
//! A stream enters its session here once; whoever asks locks the session and reads its state. Nothing is copied when a
//! session changes.

pub mod parted;
pub mod reach;
pub mod rejections;

use super::chorus::Complaints;
use super::quarantine::Charges;
use super::request::Wire;
use super::session::lacking::Lacking;
use super::session::status::TypeStatus;
use super::session::{Counters, Session};
use super::trust::Means;
use crate::model::audience::ProxyFacts;
use crate::snapshot::set::Snapshot;
use dashmap::DashMap;
use parted::Parted;
use rejections::{Ledger, Rejections};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::sync::Notify;

/// A session that its stream and the admin port share. It is locked for computation only, never across a wait.
#[derive(Clone, Debug)]
pub struct SharedSession(Arc<Mutex<Session>>);

impl SharedSession {
    /// Shares a session.
    pub fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }

    /// Locks the session.
    pub fn lock(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connected proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// The node id it stated.
    pub node_id: String,
    /// What it stated about itself.
    pub facts: ProxyFacts,
    /// Which form of the protocol it speaks.
    pub wire: Wire,
    /// The version it stated of its own software, such as `envoy 1.40.0`; empty if none.
    pub user_agent: String,
    /// Where it connects from.
    pub peer: Option<SocketAddr>,
    /// By what it has proven who it is; none where it has not.
    pub means: Option<Means>,
    /// When its stream was opened.
    pub connected_at: SystemTime,
    session: SharedSession,
}

impl Proxy {
    /// A proxy whose stream runs `session`.
    pub fn new(node_id: String, facts: ProxyFacts, wire: Wire, session: SharedSession) -> Self {
        let connected_at = SystemTime::now();
        let (user_agent, peer, means) = (String::new(), None, None);
        Self { node_id, facts, wire, user_agent, peer, means, connected_at, session }
    }

    /// The state of every type it has asked for.
    pub fn status(&self) -> Vec<TypeStatus> {
        self.session.lock().status()
    }

    /// What is held back because it rejected it: the same allocation as long as that has not changed; none if it is nothing.
    pub fn charges(&self) -> Option<Arc<Charges>> {
        self.session.lock().charges()
    }

    /// What it has yet to accept of a snapshot posted for it.
    pub fn lacking(&self, newest: &Snapshot) -> Lacking {
        self.session.lock().lacking(newest)
    }

    /// Whether it was left warming by an earlier stream and does not ask for clusters.
    pub fn is_stranded(&self) -> bool {
        self.session.lock().is_stranded()
    }

    /// What happened on its stream that is worth counting.
    pub fn counters(&self) -> Counters {
        self.session.lock().counters()
    }
}

/// The connected proxies. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Live>);

#[derive(Debug, Default)]
struct Live {
    next: AtomicU64,
    proxies: DashMap<u64, Arc<Proxy>>,
    /// The newest stream of each proxy, by node id.
    newest: DashMap<String, u64>,
    parted: Parted,
    rejections: Mutex<Ledger>,
    complaints: Complaints,
    stirred: Notify,
}

impl Registry {
    /// Enters a proxy; it is listed until the guard is dropped.
    pub fn enter(&self, proxy: Proxy) -> Listed {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let proxy = Arc::new(proxy);
        self.0.recall(id, &proxy);
        self.0.proxies.insert(id, proxy.clone());
        self.stir();
        Listed { live: self.0.clone(), id, proxy }
    }

    /// A proxy has said something, has come or has gone.
    pub fn stir(&self) {
        self.0.stirred.notify_one();
    }

    /// Waits until any has since the last call.
    pub async fn stirred(&self) {
        self.0.stirred.notified().await;
    }

    /// What clients say is wrong, and what is wrong with them.
    pub fn complaints(&self) -> &Complaints {
        &self.0.complaints
    }

    /// The connected proxies, in the order in which they connected.
    pub fn proxies(&self) -> Vec<Arc<Proxy>> {
        self.streams().into_iter().map(|(_, proxy)| proxy).collect()
    }

    /// The same, each with the number of its stream.
    fn streams(&self) -> Vec<(u64, Arc<Proxy>)> {
        let mut proxies: Vec<_> = self.0.proxies.iter().map(|entry| (*entry.key(), entry.value().clone())).collect();
        proxies.sort_by_key(|(id, _)| *id);
        proxies
    }

    /// What they reject. Costs what has changed of it since it was asked last, and a look at each of them.
    pub fn rejections(&self) -> Arc<Rejections> {
        let streams = self.streams();
        self.0.rejections.lock().unwrap_or_else(PoisonError::into_inner).survey(&streams)
    }
}

impl Live {
    /// A proxy is told what it may hold and not state, for it was told it on a stream that is gone, or is about to.
    fn recall(&self, id: u64, proxy: &Proxy) {
        let before = self.newest.insert(proxy.node_id.clone(), id);
        let earlier = before.and_then(|before| Some(self.proxies.get(&before)?.value().clone()));
        let unsettled = match earlier {
            Some(earlier) => Some(earlier.session.lock().unsettled()),
            None => self.parted.recall(&proxy.node_id, Instant::now()),
        };
        unsettled.into_iter().for_each(|unsettled| proxy.session.lock().recall(unsettled));
    }

    /// Notes what it may hold, unless it is back already.
    fn part(&self, id: u64, proxy: &Proxy) {
        if self.newest.remove_if(&proxy.node_id, |_, newest| *newest == id).is_some() {
            let unsettled = proxy.session.lock().unsettled();
            self.parted.note(&proxy.node_id, unsettled, Instant::now());
        }
    }
}

/// Keeps a proxy listed as long as it lives.
#[derive(Debug)]
pub struct Listed {
    live: Arc<Live>,
    id: u64,
    proxy: Arc<Proxy>,
}

impl Listed {
    /// The proxy.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.live.part(self.id, &self.proxy);
        self.live.proxies.remove(&self.id);
        self.live.stirred.notify_one();
    }
}
