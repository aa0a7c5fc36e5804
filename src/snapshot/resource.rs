//! A resource: named, versioned bytes with references and provenance. The only place that encodes protobuf messages.
//!
//! `translate` hands in messages; everything after shares the bytes made here.

use super::canonical::canonical;
use super::entry::{Entry, Label, Later, Parts};
use super::fragments::Fragments;
use super::kind::Kind;
use super::wire;
use crate::model::provenance::{ObjectRef, Provenance};
use bytes::Bytes;
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;
use zeroize::Zeroizing;

/// The xxh3-128 hash of a resource's canonical bytes: equal content has an equal version on every replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u128);

/// The value of each hexadecimal digit; more than any has for other bytes.
const DIGITS: [u8; 256] = {
    let (mut digits, mut value) = ([u8::MAX; 256], 0);
    while value < 16 {
        digits[b"0123456789abcdef"[value] as usize] = value as u8;
        digits[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

impl Version {
    /// The version as it is displayed.
    pub fn digits(self) -> [u8; 32] {
        let bytes = self.0.to_be_bytes();
        let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
        std::array::from_fn(|at| digit(if at % 2 == 0 { bytes[at / 2] >> 4 } else { bytes[at / 2] & 15 }))
    }

    /// Reads a version as it is displayed: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Version> {
        let text: &[u8; 32] = text.as_bytes().try_into().ok()?;
        // No branch for each digit: a client that comes back states thousands of versions.
        let (mut all, mut halves) = (0, [0u64; 2]);
        for (half, text) in halves.iter_mut().zip(text.chunks_exact(16)) {
            for digit in text {
                let digit = DIGITS[usize::from(*digit)];
                all |= digit;
                *half = *half << 4 | u64::from(digit & 15);
            }
        }
        (all < 16).then(|| Version(u128::from(halves[0]) << 64 | u128::from(halves[1])))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).expect("digits are ASCII"))
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret with a proxy's own certificate and key.
pub const CERTIFICATE: &str = "default";
/// The secret with the authorities that vouch for workloads.
pub const AUTHORITIES: &str = "ROOTCA";

/// What the names of secrets begin with that are a workload's, out of Secrets of its namespace (Istio's).
pub const OF_NAMESPACE: &str = "kubernetes://";

/// A reference by name to another resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ref {
    /// The kind referred to.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
}

impl Ref {
    /// Whether it is to a secret that each proxy or its workload has of its own, and no layer that is shared.
    pub fn is_private(&self) -> bool {
        let own = [CERTIFICATE, AUTHORITIES].contains(&&*self.name) || self.name.starts_with(OF_NAMESPACE);
        self.kind == Kind::Secret && own
    }
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
        Self::of_bytes(name, entry, refs, provenance)
    }

    /// A fragment of bytes that are not an entry of ours: for tests of what only carries resources.
    pub fn opaque(name: &str, entry: &[u8], refs: Vec<Ref>) -> Self {
        Self::of_bytes(name, entry.to_vec(), refs, Provenance::default())
    }

    fn of_bytes(name: &str, entry: Vec<u8>, refs: Vec<Ref>, provenance: Provenance) -> Self {
        let version = Version(xxh3_128(&entry));
        Self { name: name.into(), version, entry: entry.into(), refs: refs.into(), provenance }
    }

    /// The fragment's name: that of the virtual host.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The hash of its name and content.
    pub fn version(&self) -> Version {
        self.version
    }

    /// It as an entry of the field of the message it is part of.
    pub fn entry(&self) -> &Bytes {
        &self.entry
    }

    /// Its message; none if it is not one.
    pub fn message<M: Message + Default>(&self) -> Option<M> {
        let field = wire::fields(&self.entry).next()??;
        M::decode(&self.entry[field.content]).ok()
    }

    /// What it refers to, sorted.
    pub fn refs(&self) -> &[Ref] {
        &self.refs
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
    form: Form,
    refs: Arc<[Ref]>,
    provenance: Provenance,
    /// Hashes of its vital parts, sorted.
    vital: Option<Arc<[u64]>>,
}

#[derive(Clone, Debug)]
enum Form {
    Whole(Entry),
    Parts(Arc<Parts>),
    Later(Arc<Later>),
}

impl Resource {
    /// Encodes `message`, whose type must be that of `kind`.
    pub fn new<M: Message + Name>(kind: Kind, name: &str, message: &M, refs: Vec<Ref>, provenance: Provenance) -> Self {
        debug_assert_eq!(kind.type_url(), M::type_url().trim_start_matches('/'), "message of another kind");
        Self::of_bytes(kind, name, &encode(message), refs, provenance)
    }

    /// A resource made of `head` followed by fragments; its references are theirs, its provenance is theirs and that
    /// given. Its version is a hash of the head and of the fragments' versions, its bytes are joined when they are sent.
    pub fn of_fragments<M: Message + Name>(
        kind: Kind,
        name: &str,
        head: &M,
        fragments: Fragments,
        provenance: Provenance,
    ) -> Self {
        let parts = Parts::new(encode(head).into(), fragments);
        let (version, form) = (parts.version(), Form::Parts(Arc::new(parts)));
        Self { kind, name: name.into(), version, form, refs: [].into(), provenance, vital: None }
    }

    /// The same resource with other fragments after its head.
    pub fn with_fragments(&self, fragments: Fragments) -> Self {
        let head = match &self.form {
            Form::Whole(entry) => entry.body(),
            Form::Parts(parts) => parts.head.clone(),
            Form::Later(later) => later.entry().body(),
        };
        let parts = Parts::new(head, fragments);
        Self { version: parts.version(), form: Form::Parts(Arc::new(parts)), ..self.clone() }
    }

    /// A resource of bytes that are not a message of ours: for tests of what only carries resources.
    pub fn opaque(kind: Kind, name: &str, body: &[u8], refs: Vec<Ref>) -> Self {
        Self::of_bytes(kind, name, body, refs, Provenance::default())
    }

    /// A secret, of a version that says what it is; its bytes differ from replica to replica, and are overwritten once
    /// nobody holds them.
    pub fn sealed<M: Message + Name>(name: &str, version: Version, message: &M) -> Self {
        debug_assert_eq!(Kind::Secret.type_url(), M::type_url().trim_start_matches('/'), "message of another kind");
        let body = Zeroizing::new(message.encode_to_vec());
        let form = Form::Whole(Entry::sealed(Label { kind: Kind::Secret, name, version }, &body));
        let (refs, provenance) = ([].into(), Provenance::default());
        Self { kind: Kind::Secret, name: name.into(), version, form, refs, provenance, vital: None }
    }

    /// A secret of that version that is made when its bytes are wanted for the first time, and once for all who want them.
    pub fn later(name: &str, version: Version, make: impl Fn() -> Resource + Send + Sync + 'static) -> Self {
        let form = Form::Later(Arc::new(Later::new(move || make().entry())));
        let (refs, provenance) = ([].into(), Provenance::default());
        Self { kind: Kind::Secret, name: name.into(), version, form, refs, provenance, vital: None }
    }

    /// The same, shaped by these objects.
    pub fn shaped_by(self, provenance: Provenance) -> Self {
        Self { provenance, ..self }
    }

    fn of_bytes(kind: Kind, name: &str, body: &[u8], refs: Vec<Ref>, provenance: Provenance) -> Self {
        let version = Version(xxh3_128(body));
        let entry = Entry::new(Label { kind, name, version }, body.len(), |out| out.extend_from_slice(body));
        let (form, refs) = (Form::Whole(entry), refs.into());
        Self { kind, name: name.into(), version, form, refs, provenance, vital: None }
    }

    /// The same resource, with those of its parts that must not be used any more once they are gone.
    pub fn with_vital<P: Hash>(self, parts: impl Iterator<Item = P>) -> Self {
        let mut hashes: Vec<u64> =
            parts.map(|part| BuildHasherDefault::<DefaultHasher>::default().hash_one(part)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self { vital: (!hashes.is_empty()).then(|| hashes.into()), ..self }
    }

    /// Whether it has a vital part that `newer` lacks.
    pub fn loses_to(&self, newer: &Resource) -> bool {
        let (before, after) = (self.vital.as_deref().unwrap_or_default(), newer.vital.as_deref().unwrap_or_default());
        let mut after = after.iter();
        // Both are sorted: one walk finds each of the first among the second, or not.
        !before.iter().all(|part| after.find(|other| *other >= part) == Some(part))
    }

    /// How long the message is, in bytes.
    pub fn size(&self) -> usize {
        match &self.form {
            Form::Whole(entry) => entry.body().len(),
            Form::Parts(parts) => parts.head.len() + parts.fragments.length(),
            Form::Later(later) => later.entry().body().len(),
        }
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

    fn entry(&self) -> Entry {
        match &self.form {
            Form::Whole(entry) => entry.clone(),
            Form::Parts(parts) => parts.entry(Label { kind: self.kind, name: &self.name, version: self.version }),
            Form::Later(later) => later.entry(),
        }
    }

    /// The whole entry of a Delta response: field 2, a `Resource` with its `Any` last.
    pub fn delta_entry(&self) -> Bytes {
        self.entry().delta()
    }

    /// The whole entry of a SotW response: field 2, an `Any`; a suffix of [`Resource::delta_entry`].
    pub fn sotw_entry(&self) -> Bytes {
        self.entry().sotw()
    }

    /// How often its bytes were put together: never for what is encoded as one, and once for all who send it while somebody
    /// holds them.
    pub fn joins(&self) -> u64 {
        match &self.form {
            Form::Whole(_) | Form::Later(_) => 0,
            Form::Parts(parts) => parts.joins(),
        }
    }

    /// What it refers to: clusters a route names, routes a listener names, endpoints and secrets a cluster names. What
    /// several of its fragments refer to comes several times.
    pub fn refs(&self) -> impl Iterator<Item = &Ref> {
        let fragments = self.fragments().into_iter().flat_map(Fragments::iter);
        self.refs.iter().chain(fragments.flat_map(|fragment| fragment.refs.iter()))
    }

    /// The objects that shaped it; one that shaped several of its fragments comes several times.
    pub fn sources(&self) -> impl Iterator<Item = &ObjectRef> {
        let fragments = self.fragments().into_iter().flat_map(Fragments::iter);
        self.provenance.refs().iter().chain(fragments.flat_map(|fragment| fragment.provenance.refs()))
    }

    /// The objects that shaped what of it is not a fragment.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Whether what of it is not a fragment is the same in another.
    pub(super) fn has_head_of(&self, other: &Resource) -> bool {
        match (&self.form, &other.form) {
            (Form::Parts(one), Form::Parts(other)) => one.head == other.head,
            _ => self.version == other.version,
        }
    }

    /// The fragments it is made of; none for most kinds.
    pub fn fragments(&self) -> Option<&Fragments> {
        match &self.form {
            Form::Whole(_) | Form::Later(_) => None,
            Form::Parts(parts) => Some(&parts.fragments),
        }
    }

    /// The message itself; none where the bytes are not a message of that type.
    pub fn message<M: Message + Default>(&self) -> Option<M> {
        M::decode(self.body()).ok()
    }

    /// The encoded message itself, without envelope.
    pub fn body(&self) -> Bytes {
        self.entry().body()
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.version == other.version
            && self.kind == other.kind
            && self.name == other.name
            && self.provenance == other.provenance
            && self.fragments() == other.fragments()
    }
}

/// Equality is one of values, so that shared ones are compared by their place first.
impl Eq for Resource {}

/// Encodes a message canonically and wraps it with its type URL: for typed extensions inside other messages.
pub fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: encode(message) }
}

fn encode<M: Message + Name>(message: &M) -> Vec<u8> {
    canonical(&M::full_name(), message.encode_to_vec())
}
