//! The bytes of a resource as responses carry them: one piece, or a head and fragments that are joined to be sent.
//!
//! The entry of a Delta response ends with that of a SotW response, so one encoding serves both. Joined bytes live as
//! long as somebody holds them, and all who want them meanwhile share them.

use super::fragments::Fragments;
use super::kind::Kind;
use super::resource::Version;
use super::wire;
use bytes::Bytes;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use zeroize::Zeroizing;

/// Field numbers of `envoy.service.discovery.v3.Resource`.
const RESOURCE_VERSION: u32 = 1;
const RESOURCE_ANY: u32 = 2;
const RESOURCE_NAME: u32 = 3;
/// Field numbers of `google.protobuf.Any`.
const ANY_TYPE_URL: u32 = 1;
const ANY_VALUE: u32 = 2;
/// The field of both response messages that carries a resource: `Resource` in Delta, `Any` in SotW.
const RESPONSE_RESOURCES: u32 = 2;

/// What a resource is called, and of which version it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) version: Version,
}

/// An entry of a Delta response, the SotW entry in it, and the message in that.
#[derive(Clone)]
pub(super) struct Entry {
    bytes: Bytes,
    any_at: usize,
    body_at: usize,
}

impl Entry {
    /// The entry of a resource whose message is that many bytes, which `write` appends.
    pub(super) fn new(label: Label, length: usize, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let (bytes, any_at, body_at) = entry(label, length, write);
        Self { bytes: bytes.into(), any_at, body_at }
    }

    /// The same of a message that is a secret: the bytes are overwritten when nobody holds them any more.
    pub(super) fn sealed(label: Label, message: &[u8]) -> Self {
        let (bytes, any_at, body_at) = entry(label, message.len(), |out| out.extend_from_slice(message));
        Self { bytes: Bytes::from_owner(Zeroizing::new(bytes)), any_at, body_at }
    }

    /// The whole entry of a Delta response.
    pub(super) fn delta(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The whole entry of a SotW response.
    pub(super) fn sotw(&self) -> Bytes {
        self.bytes.slice(self.any_at..)
    }

    /// The message itself.
    pub(super) fn body(&self) -> Bytes {
        self.bytes.slice(self.body_at..)
    }
}

/// How long it is: what is in it may be a secret.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} bytes)", self.bytes.len())
    }
}

/// An entry that is made when somebody wants it.
pub(super) struct Later {
    made: OnceLock<Entry>,
    make: Box<dyn Fn() -> Entry + Send + Sync>,
}

impl Later {
    pub(super) fn new(make: impl Fn() -> Entry + Send + Sync + 'static) -> Self {
        Self { made: OnceLock::new(), make: Box::new(make) }
    }

    /// The entry, which whoever is first has made.
    pub(super) fn entry(&self) -> Entry {
        self.made.get_or_init(|| (self.make)()).clone()
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

/// A head and fragments.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) head: Bytes,
    pub(super) fragments: Fragments,
    joined: Mutex<Last>,
}

/// What was joined last, and how often anything was.
#[derive(Default, Debug)]
struct Last {
    joined: Weak<Joined>,
    count: u64,
}

#[derive(Debug)]
struct Joined(Vec<u8>, usize, usize);

/// Keeps joined bytes as long as somebody holds them.
struct Holder(Arc<Joined>);

impl AsRef<[u8]> for Holder {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

impl Parts {
    pub(super) fn new(head: Bytes, fragments: Fragments) -> Self {
        Self { head, fragments, joined: Mutex::default() }
    }

    pub(super) fn version(&self) -> Version {
        self.fragments.version(&self.head)
    }

    /// The entry, joined now unless somebody holds it.
    pub(super) fn entry(&self, label: Label) -> Entry {
        let mut last = self.last();
        let joined = last.joined.upgrade().unwrap_or_else(|| {
            let length = self.head.len() + self.fragments.length();
            let (bytes, any_at, body_at) = entry(label, length, |out| self.write(out));
            let joined = Arc::new(Joined(bytes, any_at, body_at));
            *last = Last { joined: Arc::downgrade(&joined), count: last.count + 1 };
            joined
        });
        let (any_at, body_at) = (joined.1, joined.2);
        Entry { bytes: Bytes::from_owner(Holder(joined)), any_at, body_at }
    }

    /// How often it was joined.
    pub(super) fn joins(&self) -> u64 {
        self.last().count
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        self.fragments.iter().for_each(|fragment| out.extend_from_slice(fragment.entry()));
    }
}

/// The bytes, and where the `Any` and the message start in them.
fn entry(label: Label, length: usize, write: impl FnOnce(&mut Vec<u8>)) -> (Vec<u8>, usize, usize) {
    let Label { kind, name, version } = label;
    let any_len = wire::field_len(ANY_TYPE_URL, kind.type_url().len()) + wire::field_len(ANY_VALUE, length);
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
    wire::put_head(&mut out, ANY_VALUE, length);
    let body_at = out.len();
    write(&mut out);
    debug_assert_eq!(out.len() - body_at, length, "as long as announced");
    (out, any_at, body_at)
}
