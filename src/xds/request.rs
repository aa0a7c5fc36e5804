//! A request of either wire form, as the session sees it.
//!
//! The version a client reports is left out: it is not evidence of an ACK, of a NACK or of what the client holds
//! (protocol rule 3; after a NACK a SotW client reports an old version with other contents). Only that there is none says
//! something: such a client has accepted nothing of the type yet.

use super::texts::{Texts, Versions};
use envoy_types::pb::envoy::config::core::v3::Node;

/// The two forms of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// State of the world: `StreamAggregatedResources`.
    Sotw,
    /// Incremental: `DeltaAggregatedResources`.
    Delta,
}

impl Wire {
    /// A short word for logs and the admin port: `sotw` or `delta`.
    pub fn short(self) -> &'static str {
        match self {
            Wire::Sotw => "sotw",
            Wire::Delta => "delta",
        }
    }
}

/// A request of either wire form.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// Which type the request is about.
    pub type_url: String,
    /// Who asks; clients may leave it out after the first request of a stream.
    pub node: Option<Node>,
    /// The response this answers; empty if none.
    pub nonce: String,
    /// Why the response was rejected; none if it was not.
    pub error: Option<String>,
    /// SotW: whether the client states a version, and so has accepted something of the type on this stream or an earlier one.
    pub stated: bool,
    /// What the client asks for.
    pub names: Names,
}

/// What a request asks for.
#[derive(Clone, PartialEq, Debug)]
pub enum Names {
    /// SotW: all names the client wants from now on.
    All(Texts),
    /// Delta: what is added to and taken from the subscription.
    Change {
        /// Names to be added, each of which is answered.
        subscribe: Texts,
        /// Names to be dropped.
        unsubscribe: Texts,
        /// Names and versions the client holds from an earlier stream; means something in a type's first request only.
        initial: Versions,
    },
}

impl Names {
    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        match self {
            Names::All(names) => names.is_empty(),
            Names::Change { subscribe, unsubscribe, initial } => {
                subscribe.is_empty() && unsubscribe.is_empty() && initial.is_empty()
            }
        }
    }

    /// The names of which the client states what it holds.
    pub fn stated(&self) -> impl Iterator<Item = &str> {
        let initial = match self {
            Names::All(_) => None,
            Names::Change { initial, .. } => Some(initial.names()),
        };
        initial.into_iter().flat_map(Texts::iter)
    }

    /// How long the longest name is that the request carries, in bytes.
    pub fn longest(&self) -> usize {
        match self {
            Names::All(names) => names.longest(),
            Names::Change { subscribe, unsubscribe, initial } => {
                subscribe.longest().max(unsubscribe.longest()).max(initial.names().longest())
            }
        }
    }
}
