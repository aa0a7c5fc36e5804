//! What happened on streams, recorded: every request, every response, every world. What must hold of it is judged
//! afterwards by [`oracles`], apart from the tests that made it happen.
#![allow(dead_code, reason = "each test target records or judges a part")]

pub mod holding;
mod kind;
mod late;
pub mod oracles;
mod references;
pub mod rules;
mod unsettled;

use chancery::snapshot::kind::Kind;
use chancery::snapshot::set::Snapshot;
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::response::Response;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::protobuf::Any;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_128;

/// The hash of a resource's content: its version.
pub type Hash = u128;

/// What a resource of the world is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub hash: Hash,
    pub refs: Vec<(Kind, String)>,
}

/// Everything a proxy is meant to hold.
pub type World = BTreeMap<(Kind, String), Entry>;

/// A request.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// None for a type that is not served.
    pub kind: Option<Kind>,
    pub node: String,
    pub nonce: String,
    pub error: Option<String>,
    /// SotW: whether the client states a version.
    pub stated: bool,
    /// SotW: every name wanted.
    pub all: Option<Vec<String>>,
    pub subscribe: Vec<String>,
    pub unsubscribe: Vec<String>,
    /// What the client states to hold; none for a version that is not one of ours.
    pub initial: Vec<(String, Option<Hash>)>,
}

/// A response.
#[derive(Clone, Debug)]
pub struct Sent {
    pub kind: Kind,
    pub nonce: String,
    pub version: String,
    pub resources: Vec<(String, Hash)>,
    pub removed: Vec<String>,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// A stream opened.
    Opened(Wire),
    /// What the proxy is meant to hold became this; before the first, nothing is known.
    World(World),
    Asked(Asked),
    Sent(Sent),
    /// How much the server keeps for the stream: names that wait to be sent.
    Waiting(usize),
    /// Everything was read and answered, and time was given: nothing more is to come.
    Rest,
}

/// What happened, when, and on which stream.
#[derive(Clone, Debug)]
pub struct Event {
    pub at: Duration,
    pub stream: usize,
    pub what: What,
}

/// Records events. Streams are numbered in the order in which they open.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    pub events: Vec<Event>,
    streams: usize,
}

impl Trace {
    /// A stream opens; returns its number.
    pub fn open(&mut self, at: Duration, wire: Wire) -> usize {
        self.streams += 1;
        self.note(at, self.streams, What::Opened(wire));
        self.streams
    }

    pub fn note(&mut self, at: Duration, stream: usize, what: What) {
        self.events.push(Event { at, stream, what });
    }

    /// What is wrong with it, by all oracles.
    pub fn violations(&self) -> Vec<String> {
        oracles::ALL
            .iter()
            .flat_map(|(name, oracle)| oracle(&self.events).into_iter().map(move |text| format!("{name}: {text}")))
            .collect()
    }
}

/// The world a snapshot describes.
pub fn world(snapshot: &Snapshot) -> World {
    let all = Kind::ALL.into_iter().flat_map(|kind| snapshot.iter(kind));
    all.map(|resource| {
        let refs = resource.refs().map(|to| (to.kind, to.name.to_string())).collect();
        ((resource.kind(), resource.name().to_string()), Entry { hash: resource.version().0, refs })
    })
    .collect()
}

impl From<&Request> for Asked {
    fn from(request: &Request) -> Self {
        let node = request.node.as_ref().map(|node| node.id.clone()).unwrap_or_default();
        let (kind, nonce, error) =
            (Kind::from_type_url(&request.type_url), request.nonce.clone(), request.error.clone());
        let asked = Asked { kind, node, nonce, error, stated: request.stated, ..Asked::default() };
        match &request.names {
            Names::All(names) => Asked { all: Some(strings(names)), ..asked },
            Names::Change { subscribe, unsubscribe, initial } => {
                let hash = |version: &str| u128::from_str_radix(version, 16).ok();
                let initial = initial.iter().map(|(name, version)| (name.to_owned(), hash(version))).collect();
                Asked { subscribe: strings(subscribe), unsubscribe: strings(unsubscribe), initial, ..asked }
            }
        }
    }
}

impl From<&Response> for Sent {
    fn from(response: &Response) -> Self {
        let resource = |resource: &std::sync::Arc<chancery::snapshot::resource::Resource>| {
            (resource.name().to_string(), resource.version().0)
        };
        Sent {
            kind: response.kind,
            nonce: response.nonce.to_string(),
            version: response.version.to_string(),
            resources: response.all().map(resource).collect(),
            removed: response.removed.iter().map(|name| name.to_string()).collect(),
        }
    }
}

/// The hash of encoded content, and the name in it: field 1 of every type of resource, and canonically the first.
fn read(body: &[u8]) -> (String, Hash) {
    let length = body.get(1).map_or(0, |length| usize::from(*length));
    let name = body.get(2..2 + length).unwrap_or_default();
    (String::from_utf8_lossy(name).into_owned(), xxh3_128(body))
}

/// None for a type that is not served. Names longer than 127 bytes are not read.
impl TryFrom<&discovery::DiscoveryResponse> for Sent {
    type Error = ();
    fn try_from(response: &discovery::DiscoveryResponse) -> Result<Self, ()> {
        Ok(Sent {
            kind: Kind::from_type_url(&response.type_url).ok_or(())?,
            nonce: response.nonce.clone(),
            version: response.version_info.clone(),
            resources: response.resources.iter().map(|any| read(&any.value)).collect(),
            removed: Vec::new(),
        })
    }
}

impl TryFrom<&discovery::DeltaDiscoveryResponse> for Sent {
    type Error = ();
    fn try_from(response: &discovery::DeltaDiscoveryResponse) -> Result<Self, ()> {
        let hash = |any: &Option<Any>| any.as_ref().map(|any| xxh3_128(&any.value)).unwrap_or_default();
        Ok(Sent {
            kind: Kind::from_type_url(&response.type_url).ok_or(())?,
            nonce: response.nonce.clone(),
            version: response.system_version_info.clone(),
            resources: response.resources.iter().map(|one| (one.name.clone(), hash(&one.resource))).collect(),
            removed: response.removed_resources.clone(),
        })
    }
}

impl Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.events.iter().try_for_each(|event| writeln!(f, "{event}"))
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} stream {}: ", self.at, self.stream)?;
        match &self.what {
            What::Asked(asked) => write!(f, "asked {asked:?}"),
            What::Sent(sent) => write!(f, "sent {sent:?}"),
            other => write!(f, "{other:?}"),
        }
    }
}

fn strings(texts: &chancery::xds::texts::Texts) -> Vec<String> {
    texts.iter().map(str::to_owned).collect()
}
