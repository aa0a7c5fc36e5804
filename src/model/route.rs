//! VirtualServices: where requests to a host go.

use super::exports::Exports;
use super::name::Host;
use super::text::StringMatch;
use std::sync::Arc;
use std::time::Duration;

/// A VirtualService for sidecars (gateway `mesh`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VirtualService {
    /// The hosts it routes, resolved, each once.
    pub hosts: Vec<Host>,
    /// `http`, tried in order.
    pub http: Vec<HttpRoute>,
    /// `exportTo`; absent means the mesh's default.
    pub exports: Option<Exports>,
}

/// One entry of `http`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HttpRoute {
    /// `name`, used in logs; may be empty.
    pub name: Arc<str>,
    /// `match`: any of them; none matches every request.
    pub matches: Vec<HttpMatch>,
    /// `route`: at least one.
    pub destinations: Vec<WeightedDestination>,
    /// `timeout`; absent or zero means none.
    pub timeout: Option<Duration>,
}

/// Conditions that must all hold.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct HttpMatch {
    /// `name`, used in logs; may be empty.
    pub name: Arc<str>,
    /// `uri`: the path; a prefix is a prefix of bytes.
    pub uri: Option<StringMatch>,
    /// `method`.
    pub method: Option<StringMatch>,
    /// `headers`, sorted by name; `None` asks for presence only.
    pub headers: Vec<(Arc<str>, Option<StringMatch>)>,
}

/// One destination and its share of the requests.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WeightedDestination {
    /// `destination`.
    pub destination: Destination,
    /// `weight`: a share relative to the sum of all.
    pub weight: u32,
}

/// A service, or a subset of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Destination {
    /// The host, resolved.
    pub host: Host,
    /// `subset`.
    pub subset: Option<Arc<str>>,
    /// `port.number`; absent means the port the request came for, or the service's only one.
    pub port: Option<u16>,
}
