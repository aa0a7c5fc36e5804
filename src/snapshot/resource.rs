//! A resource: named, versioned bytes with references and provenance. The only place that encodes protobuf messages.
//!
//! `translate` hands in messages; everything after shares the bytes made here.

use super::canonical::canonical;
use super::kind::Kind;
use super::wire;
use crate::model::provenance::{ObjectRef, Provenance};
use bytes::Bytes;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

/// Field numbers of `envoy.service.discovery.v3.Resource`.
const RESOURCE_VERSION: u32 = 1;
const RESOURCE_ANY: u32 = 2;
const RESOURCE_NAME: u32 = 3;
/// Field numbers of `google.protobuf.Any`.
const ANY_TYPE_URL: u32 = 1;
const ANY_VALUE: u32 = 2;
/// The field of both response messages that carries a resource: `Resource` in Delta, `Any` in SotW.
const RESPONSE_RESOURCES: u32 = 2;

/// The xxh3-128 hash of a resource's canonical bytes: equal content has an equal version on every replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u128);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A reference by name to another resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ref {
    /// The kind referred to.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
}

/// An encoded part of a resource with references and provenance of its own: a virtual host.
#[derive(Clone, Debug)]
pub struct Fragment {
    name: Arc<str>,
    version: Version,
    entry: Bytes,
    refs: Arc<[Ref]>,
    provenance: Provenance,
}

impl Fragment {
    /// Encodes `message` as an entry of the repeated field `field` of the message it is part of.
    pub fn new<M: Message + Name>(name: &str, field: u32, message: &M, refs: Vec<Ref>, provenance: Provenance) -> Self {
        let body = encode(message);
        let mut entry = Vec::with_capacity(wire::field_len(field, body.len()));
        wire::put_field(&mut entry, field, &body);
        let version = Version(xxh3_128(&entry));
        Self { name: name.into(), version, entry: entry.into(), refs: refs.into(), provenance }
    }

    /// The fragment's name: that of the virtual host.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The objects that shaped it.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

impl PartialEq for Fragment {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version && self.provenance == other.provenance
    }
}

impl Eq for Fragment {}

impl Hash for Fragment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.version.hash(state);
    }
}

/// An encoded resource. Shared, never changed. Equal are resources of one kind, name and content that the same objects
/// shaped.
#[derive(Clone, Debug)]
pub struct Resource {
    kind: Kind,
    name: Arc<str>,
    version: Version,
    entry: Bytes,
    any_at: usize,
    refs: Arc<[Ref]>,
    provenance: Provenance,
    fragments: Arc<[Arc<Fragment>]>,
}

impl Resource {
    /// Encodes `message`, whose type must be that of `kind`.
    pub fn new<M: Message + Name>(kind: Kind, name: &str, message: &M, refs: Vec<Ref>, provenance: Provenance) -> Self {
        debug_assert_eq!(kind.type_url(), M::type_url().trim_start_matches('/'), "message of another kind");
        Self::of_bytes(kind, name, &encode(message), refs, provenance)
    }

    /// A resource made of `head` followed by fragments in the order given; its references and provenance are theirs and
    /// those given.
    pub fn of_fragments<M: Message + Name>(
        kind: Kind,
        name: &str,
        head: &M,
        fragments: Vec<Arc<Fragment>>,
        provenance: Provenance,
    ) -> Self {
        let mut body = encode(head);
        body.reserve(fragments.iter().map(|fragment| fragment.entry.len()).sum());
        fragments.iter().for_each(|fragment| body.extend_from_slice(&fragment.entry));
        let whole = Self::of_bytes(kind, name, &body, Vec::new(), provenance);
        Self { fragments: fragments.into(), ..whole }
    }

    /// A resource of bytes that are not a message of ours: for tests of what only carries resources.
    pub fn opaque(kind: Kind, name: &str, body: &[u8], refs: Vec<Ref>) -> Self {
        Self::of_bytes(kind, name, body, refs, Provenance::default())
    }

    fn of_bytes(kind: Kind, name: &str, body: &[u8], refs: Vec<Ref>, provenance: Provenance) -> Self {
        let version = Version(xxh3_128(body));
        let (entry, any_at) = entry(kind, name, version, body);
        Self { kind, name: name.into(), version, entry, any_at, refs: refs.into(), provenance, fragments: [].into() }
    }

    /// The resource's kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The resource's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hash of its content.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The whole entry of a Delta response: field 2, a `Resource` with its `Any` last.
    pub fn delta_entry(&self) -> Bytes {
        self.entry.clone()
    }

    /// The whole entry of a SotW response: field 2, an `Any`; a suffix of [`Resource::delta_entry`].
    pub fn sotw_entry(&self) -> Bytes {
        self.entry.slice(self.any_at..)
    }

    /// What it refers to: clusters a route names, routes a listener names, endpoints and secrets a cluster names. What
    /// several of its fragments refer to comes several times.
    pub fn refs(&self) -> impl Iterator<Item = &Ref> {
        self.refs.iter().chain(self.fragments.iter().flat_map(|fragment| fragment.refs.iter()))
    }

    /// The objects that shaped it; one that shaped several of its fragments comes several times.
    pub fn sources(&self) -> impl Iterator<Item = &ObjectRef> {
        let fragments = self.fragments.iter().flat_map(|fragment| fragment.provenance.refs());
        self.provenance.refs().iter().chain(fragments)
    }

    /// The fragments it is made of; empty for most kinds.
    pub fn fragments(&self) -> &[Arc<Fragment>] {
        &self.fragments
    }

    /// The message itself; none where the bytes are not a message of that type.
    pub fn message<M: Message + Default>(&self) -> Option<M> {
        M::decode(self.body()).ok()
    }

    /// The encoded message itself, without envelope.
    pub fn body(&self) -> &[u8] {
        let mut rest = &self.entry[self.any_at..];
        take_head(&mut rest);
        take_head(&mut rest);
        rest = &rest[self.kind.type_url().len()..];
        if !rest.is_empty() {
            take_head(&mut rest);
        }
        rest
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
            && self.kind == other.kind
            && self.name == other.name
            && self.provenance == other.provenance
            && self.fragments == other.fragments
    }
}

fn take_head(rest: &mut &[u8]) {
    wire::take_varint(rest).and_then(|_| wire::take_varint(rest)).expect("made by entry()");
}

fn entry(kind: Kind, name: &str, version: Version, body: &[u8]) -> (Bytes, usize) {
    let any_len = wire::field_len(ANY_TYPE_URL, kind.type_url().len()) + wire::field_len(ANY_VALUE, body.len());
    let version = version.to_string();
    let head_len = wire::field_len(RESOURCE_NAME, name.len()) + wire::field_len(RESOURCE_VERSION, version.len());
    let total = head_len + wire::field_len(RESOURCE_ANY, any_len);
    let mut out = Vec::with_capacity(wire::field_len(RESPONSE_RESOURCES, total));
    wire::put_head(&mut out, RESPONSE_RESOURCES, total);
    wire::put_field(&mut out, RESOURCE_NAME, name.as_bytes());
    wire::put_field(&mut out, RESOURCE_VERSION, version.as_bytes());
    let any_at = out.len();
    wire::put_head(&mut out, RESOURCE_ANY, any_len);
    wire::put_field(&mut out, ANY_TYPE_URL, kind.type_url().as_bytes());
    wire::put_field(&mut out, ANY_VALUE, body);
    (out.into(), any_at)
}

/// Encodes a message canonically and wraps it with its type URL: for typed extensions inside other messages.
pub fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: encode(message) }
}

fn encode<M: Message + Name>(message: &M) -> Vec<u8> {
    canonical(&M::full_name(), message.encode_to_vec())
}
