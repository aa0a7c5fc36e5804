//! What a group of proxies has heard and said since it was last reset, and what somebody waits for.

use super::wire::Response;
use chancery::snapshot::kind::Kind;
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use tokio::sync::Notify;

/// The proxies whose every ACK is logged by service.
pub const SAMPLE: usize = 16;

/// What is waited for.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Goal {
    /// So many first configurations.
    Configured(usize),
    /// So many clusters', endpoints', secrets', listeners' or routes' ACKs, by the place of the kind.
    Acks(usize, usize),
    /// So many services' ACKs by each of the proxies that are logged.
    Logged(usize),
}

/// By kind: messages, resources in them, names removed, bytes of messages.
pub type Counts = [[u64; 4]; Kind::ALL.len()];

/// What was counted.
#[derive(Default)]
pub struct Tally {
    counts: Counts,
    /// Bytes read from sockets.
    pub wire: u64,
    /// When each ACK was said, by kind.
    pub acks: [Vec<u64>; Kind::ALL.len()],
    /// When each first configuration was complete.
    pub configured: Vec<u64>,
    /// Connections that ended.
    pub closed: u64,
    /// Connections that resumed a session.
    pub resumed: u64,
    /// Which proxy of the sample acknowledged endpoints of which service, and when.
    pub log: Vec<(usize, u32, u64)>,
    pub logs: bool,
    /// The newest messages of the first proxy, by kind, if they are kept.
    pub kept: [Vec<u8>; Kind::ALL.len()],
    pub keeps: bool,
    goal: Option<(Goal, Rc<Notify>)>,
}

/// What the fleet says of a group.
#[derive(Default, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Whether the goal was met in time.
    pub met: bool,
    pub counts: Counts,
    pub wire: u64,
    /// When each ACK was said, by kind, ascending; first configurations likewise.
    pub acks: [Vec<u64>; Kind::ALL.len()],
    pub configured: Vec<u64>,
    pub closed: u64,
    pub resumed: u64,
    pub log: Vec<(usize, u32, u64)>,
    /// CPU time of the whole fleet, in nanoseconds.
    pub cpu: u64,
}

impl Tally {
    /// Counts a response.
    pub fn heard(&mut self, proxy: usize, kind: Kind, response: &Response<'_>, content: &[u8]) {
        let counts = &mut self.counts[kind as usize];
        let sizes = [1, response.resources.len(), response.removed.len(), content.len()];
        counts.iter_mut().zip(sizes).for_each(|(count, size)| *count += size as u64);
        if self.keeps && proxy == 0 {
            self.kept[kind as usize] = content.to_vec();
        }
        if self.logs && kind == Kind::Endpoint && proxy < SAMPLE {
            let at = super::role::now();
            self.log.extend(response.resources.iter().filter_map(|(name, ..)| Some((proxy, service_of(name)?, at))));
        }
    }

    /// Forgets what was counted, not what is kept.
    pub fn reset(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        *self = Self { kept, keeps: self.keeps, logs: self.logs, ..Self::default() };
    }

    /// Who waits for a goal is woken when it is met.
    pub fn wait_for(&mut self, goal: Goal, waker: Rc<Notify>) {
        self.goal = Some((goal, waker));
        self.check();
    }

    pub fn is_met(&self, goal: Goal) -> bool {
        match goal {
            Goal::Configured(count) => self.configured.len() >= count,
            Goal::Acks(kind, count) => self.acks[kind].len() >= count,
            Goal::Logged(count) => self.log.len() >= count * SAMPLE,
        }
    }

    /// Wakes who waits, if the goal is met.
    pub fn check(&self) {
        if let Some((goal, waker)) = &self.goal
            && self.is_met(*goal)
        {
            waker.notify_one();
        }
    }

    /// What there is to say. Takes the times.
    pub fn report(&mut self, met: bool) -> Report {
        self.goal = None;
        let mut acks = std::mem::take(&mut self.acks);
        acks.iter_mut().for_each(|times| times.sort_unstable());
        let mut configured = std::mem::take(&mut self.configured);
        configured.sort_unstable();
        let (counts, wire, closed, resumed) = (self.counts, self.wire, self.closed, self.resumed);
        let (log, cpu) = (std::mem::take(&mut self.log), super::role::cpu());
        Report { met, counts, wire, acks, configured, closed, resumed, log, cpu }
    }
}

/// The number of the service whose endpoints these are: of `outbound|8080||s12.ns2.svc.cluster.local` it is 12.
fn service_of(name: &str) -> Option<u32> {
    name.rsplit('|').next()?.strip_prefix('s')?.split('.').next()?.parse().ok()
}
