//! What an operator can set about the xDS server: how long, how large, how much at once.

use super::gate;
use std::time::Duration;

/// Limits of the xDS server.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a proxy whose Pod is not known waits before its stream is ended.
    pub pod_wait: Duration,
    /// How often a connection is asked whether it is alive.
    pub keepalive_interval: Duration,
    /// How long it has to answer.
    pub keepalive_timeout: Duration,
    /// How many connections may be shaking hands at once; further ones wait to be accepted.
    pub handshakes: usize,
    /// On how many connections at once nobody may have been let in yet; further ones wait to be accepted.
    pub unadmitted: usize,
    /// How long after it was accepted a connection ends on which nobody has been let in; calls that are being looked at then
    /// have half of that more. Nobody has to be able to set it: who has a credential shows it with the first call.
    pub admitted_within: Duration,
    /// How old a connection may become, give or take a tenth; zero for any age.
    pub max_age: Duration,
    /// The largest request that is read, in bytes.
    pub max_request: usize,
    /// The largest response that is sent, in bytes.
    pub max_response: usize,
    /// How long a client that is given its first configuration keeps others waiting at most: one that is dead or slow must
    /// not do so for ever.
    pub turn: Duration,
    /// How many bytes may be on their way to streams that are not configured yet, before further ones have to wait.
    pub admission: u64,
    /// How many bytes of memory the process may have, near which new streams are refused; 0 for any number, none for what
    /// its control group says.
    pub memory_limit: Option<u64>,
    /// How long things wait for each other on a stream.
    pub gate: gate::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            pod_wait: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            turn: Duration::from_secs(10),
            handshakes: 256,
            unadmitted: 4096,
            admitted_within: Duration::from_secs(10),
            max_age: Duration::from_secs(30 * 60),
            // 30,000 names of a large mesh make 8 MiB, and the usual default of 4 MiB has caused outages.
            max_request: 16 << 20,
            max_response: 256 << 20,
            admission: 128 << 20,
            memory_limit: None,
            gate: gate::Options::default(),
        }
    }
}
