//! Why the server ends a stream, or answers no call: a sentence for the client, a gRPC code, and a label for the metrics.

use super::trust::{Distrusted, THROTTLED};
use crate::snapshot::board::MOST_FORMS;
use crate::snapshot::kind::Kind;
use std::time::Duration;
use thiserror::Error;
use tonic::Code;

/// Why the server ends a stream, or answers no call.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// The first request of a stream must say who asks (xDS protocol, "Basic protocol overview").
    #[error("the first request of a stream must carry a node with an id")]
    NoNode,
    /// On an aggregated stream only the type URL says what a request is about.
    #[error("a request on an aggregated stream must carry a type_url")]
    NoType,
    /// The node is not one this server configures.
    #[error("{0}")]
    Identity(String),
    /// The node claims to be somebody else than the connection has proven.
    #[error("{0}")]
    Denied(String),
    /// Whoever connects has not proven who it is.
    #[error("not authenticated: {}", .0.text)]
    Distrusted(Distrusted),
    /// What is to be signed is nothing that is signed.
    #[error("{text}")]
    Unsigned {
        /// Why.
        text: String,
        /// The word for it, of a closed set.
        reason: &'static str,
    },
    /// Nothing can be signed.
    #[error("nothing can be signed: {0}")]
    Unable(String),
    /// Too much from there was not believed.
    #[error("too many calls from this address were not believed: nothing from there is looked at for a while")]
    Throttled,
    /// More names than a stream may subscribe to.
    #[error("{count} {kind} names were asked for; the limit is {limit} names per type")]
    TooManyNames {
        /// The type asked for.
        kind: Kind,
        /// How many names were asked for.
        count: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A resource name beyond any that exists.
    #[error("a {kind} name of {length} bytes was asked for; the limit is {limit} bytes")]
    NameTooLong {
        /// The type asked for.
        kind: Kind,
        /// The name's length in bytes.
        length: usize,
        /// The allowed length in bytes.
        limit: usize,
    },
    /// A request larger than the server reads, or a response larger than it sends.
    #[error("{0}")]
    TooLarge(Large),
    /// A request that is not protobuf, or not gRPC.
    #[error("a request could not be read: {0}")]
    Garbage(String),
    /// Nothing may be answered from a half-known world.
    #[error("not ready: waiting for {0}")]
    NotReady(String),
    /// The proxy's Pod did not appear in time, or nothing was computed for it.
    #[error("{0}")]
    Unknown(String),
    /// Too many proxies say different things of themselves and to be of the same Pod.
    #[error(
        "of Pod {0} there are proxies already that state {MOST_FORMS} different things of themselves; that is as many as are served"
    )]
    Crowded(String),
    /// One client has more streams than any needs.
    #[error("there are {0} streams already of this Pod, or from this address; that is as many as are served")]
    TooManyStreams(usize),
    /// Nobody said who asks in time.
    #[error("no request came within {0:?}")]
    Silent(Duration),
    /// One stream more, and the process might be killed for want of memory.
    #[error("there is too little memory for more streams; those there are go on")]
    Short,
    /// The server is going away.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// A message beyond its limit.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("a {what} of {size} bytes, for {node:?}; the limit is {limit} bytes")]
pub struct Large {
    /// A request or a response.
    pub what: &'static str,
    /// Its size in bytes.
    pub size: usize,
    /// The allowed size in bytes.
    pub limit: usize,
    /// The id of the node, as far as it is known.
    pub node: String,
}

/// How much of what a client wrote is told back or logged, in characters.
const SHOWN: usize = 800;

impl Refusal {
    /// The node is not one this server configures. What it says about itself may be of any length; `text` is cut.
    pub fn identity(text: &str) -> Self {
        let mut shown: String = text.chars().take(SHOWN).collect();
        if shown.len() < text.len() {
            shown.push_str(" ... (cut)");
        }
        Refusal::Identity(shown)
    }

    /// The gRPC status code that ends the stream.
    pub fn code(&self) -> Code {
        match self {
            Refusal::NoNode | Refusal::NoType | Refusal::Identity(_) | Refusal::Unsigned { .. } => {
                Code::InvalidArgument
            }
            Refusal::Denied(_) => Code::PermissionDenied,
            Refusal::Distrusted(_) => Code::Unauthenticated,
            Refusal::TooManyNames { .. }
            | Refusal::NameTooLong { .. }
            | Refusal::TooLarge(_)
            | Refusal::Crowded(_)
            | Refusal::TooManyStreams(_)
            | Refusal::Throttled => Code::ResourceExhausted,
            Refusal::Garbage(_) => Code::Internal,
            Refusal::Silent(_) => Code::DeadlineExceeded,
            Refusal::NotReady(_)
            | Refusal::Unknown(_)
            | Refusal::Unable(_)
            | Refusal::Short
            | Refusal::ShuttingDown => Code::Unavailable,
        }
    }

    /// A short word for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::NoNode => "no_node",
            Refusal::NoType => "no_type",
            Refusal::Identity(_) => "identity",
            Refusal::Denied(_) => "denied",
            Refusal::Distrusted(distrusted) => distrusted.reason,
            Refusal::Unsigned { reason, .. } => reason,
            Refusal::Unable(_) => "signing",
            Refusal::Throttled => THROTTLED,
            Refusal::TooManyNames { .. } => "too_many_names",
            Refusal::NameTooLong { .. } => "name_too_long",
            Refusal::TooLarge(_) => "too_large",
            Refusal::Garbage(_) => "garbage",
            Refusal::NotReady(_) => "not_ready",
            Refusal::Unknown(_) => "unknown_proxy",
            Refusal::Crowded(_) => "crowded",
            Refusal::TooManyStreams(_) => "too_many_streams",
            Refusal::Silent(_) => "silent",
            Refusal::Short => "memory",
            Refusal::ShuttingDown => "shutdown",
        }
    }
}
