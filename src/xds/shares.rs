//! What one client may have at once, whoever else is there: streams, turns at the door, and room for requests that have begun to
//! arrive.
//!
//! A client is a Pod, or the address it comes from where its credential is bound to none. Who has proven nothing has no share:
//! such connections come from this machine, or somebody has said twice that they may come from elsewhere.

use super::refusal::Refusal;
use crate::model::identity::{BoundPod, Identity};
use crate::model::name::Namespace;
use dashmap::DashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How many streams a Pod has at most: whoever has stolen its token takes no more. An Envoy has one, and those it has lost may last
/// until they are found to be gone.
const OF_A_POD: usize = 32;
/// The same of an address, which may be that of many proxies.
const OF_AN_ADDRESS: usize = 4096;
/// How many streams of a client are given their first configuration at once. An Envoy has one, and may come back before the last has
/// been found to be gone.
const TURNS: usize = 8;
/// How many of the largest requests there is room for.
const LARGEST: usize = 8;
/// A little more than HTTP/2 keeps anyway: so much of a request takes no room, in bytes.
const SMALL: usize = 96 << 10;
/// The unit in which bytes are counted.
const UNIT: usize = 1 << 10;
/// How long any request may take to arrive: 480 KB at 64 kbit a second.
const ARRIVES: Duration = Duration::from_secs(60);
/// How many bytes of what is larger have to arrive in a second besides.
const PACE: usize = 256 << 10;

/// Who has a share.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Client {
    /// A Pod of a namespace.
    Pod(Namespace, BoundPod),
    /// Whoever comes from there.
    Address(IpAddr),
}

impl Client {
    /// Who has that identity, and comes from there.
    pub fn of(identity: &Identity, address: Option<IpAddr>) -> Option<Self> {
        let pod = identity.pod.clone().map(|pod| Client::Pod(identity.namespace.clone(), pod));
        pod.or_else(|| address.map(Client::Address))
    }

    /// How many streams it may have.
    pub fn most(&self) -> usize {
        match self {
            Client::Pod(..) => OF_A_POD,
            Client::Address(_) => OF_AN_ADDRESS,
        }
    }
}

#[derive(Debug)]
struct Share {
    turns: Arc<Semaphore>,
    requests: Arc<Semaphore>,
}

/// The shares of all clients. Clones share them.
#[derive(Clone, Debug)]
pub struct Shares {
    of: Arc<DashMap<Client, Arc<Share>>>,
    requests: Arc<Semaphore>,
    /// How many units the largest request takes.
    largest: usize,
}

impl Shares {
    /// Shares where a request has at most so many bytes.
    pub fn new(max_request: usize) -> Self {
        let largest = max_request.div_ceil(UNIT).max(1);
        let all = largest.saturating_mul(LARGEST).min(Semaphore::MAX_PERMITS);
        Self { of: Arc::default(), requests: Arc::new(Semaphore::new(all)), largest }
    }

    /// What a stream has of the share of its client; of none, if that is nobody in particular.
    ///
    /// # Errors
    /// The client has as many streams already as it [may](Client::most).
    pub fn part(&self, client: Option<Client>) -> Result<Part, Refusal> {
        let share = client.map(|client| self.share(client)).transpose()?;
        Ok(Part { shares: self.clone(), share })
    }

    fn share(&self, client: Client) -> Result<(Client, Arc<Share>), Refusal> {
        let new = || Share { turns: Arc::new(Semaphore::new(TURNS)), requests: Arc::new(Semaphore::new(self.largest)) };
        let most = client.most();
        let share = self.of.entry(client.clone()).or_insert_with(|| Arc::new(new()));
        // Each stream holds it once, and the table does. Who leaves meanwhile is counted still.
        match Arc::strong_count(&share) > most {
            true => Err(Refusal::TooManyStreams(most)),
            false => Ok((client, share.clone())),
        }
    }

    /// How many clients have a share.
    pub fn clients(&self) -> usize {
        self.of.len()
    }
}

/// What one stream has of the share of its client.
#[derive(Debug)]
pub struct Part {
    shares: Shares,
    share: Option<(Client, Arc<Share>)>,
}

impl Part {
    /// Waits until the client has fewer turns than it may have at once. Cancel safe.
    pub async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let (_, share) = self.share.as_ref()?;
        Some(share.turns.clone().acquire_owned().await.expect("the semaphore is never closed"))
    }

    /// What its requests take of it.
    pub fn arrival(&self) -> Arrival {
        let own = self.share.as_ref().map(|(_, share)| share.requests.clone());
        let rooms = own.into_iter().chain([self.shares.requests.clone()]);
        Arrival { rooms: rooms.collect(), held: Vec::new(), ends: None }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let Some((client, share)) = self.share.take() else { return };
        drop(share);
        // Whoever comes at the same time waits for the lock, and makes a new one.
        self.shares.of.remove_if(&client, |_, share| Arc::strong_count(share) == 1);
    }
}

/// A request that arrives: the room it takes, first of the client's own, then of what there is for all, and until when it has to be
/// whole. It takes what it needs at once, so that no two wait for what the other has.
#[derive(Debug)]
pub struct Arrival {
    rooms: Vec<Arc<Semaphore>>,
    held: Vec<OwnedSemaphorePermit>,
    ends: Option<Instant>,
}

impl Arrival {
    /// Waits for room for a request of that size, of which so much will have been read. Cancel safe.
    pub async fn room_for(&mut self, size: usize, read: usize) {
        if read <= SMALL {
            return;
        }
        let units = u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        while let Some(room) = self.rooms.get(self.held.len()).cloned() {
            self.held.push(room.acquire_many_owned(units).await.expect("the semaphore is never closed"));
        }
    }

    /// Until when a request has to be whole that is so large and has begun.
    pub fn ends(&mut self, size: usize) -> Instant {
        *self.ends.get_or_insert_with(|| Instant::now() + time(size))
    }

    /// The request is whole.
    pub fn is_over(&mut self) {
        self.ends = None;
        self.held.clear();
    }
}

/// How long a request of that size may take to arrive.
pub fn time(size: usize) -> Duration {
    ARRIVES + Duration::from_secs((size / PACE) as u64)
}
