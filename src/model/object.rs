//! An object of the World: a value, what is known about the object that carried it, and a hash of both.

use super::authentication::PeerAuthentication;
use super::destination::DestinationRule;
use super::endpoint::EndpointSlice;
use super::labels::Labels;
use super::mesh::Mesh;
use super::node::Node;
use super::pod::Pod;
use super::provenance::{ObjectKey, ObjectRef};
use super::route::VirtualService;
use super::secret::Secret;
use super::service::Service;
use super::sidecar::Sidecar;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// What is known about an object besides its value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Meta {
    /// Which object, and which state of it.
    pub reference: ObjectRef,
    /// `metadata.creationTimestamp` in seconds since the epoch; none counts as newest.
    pub created: Option<i64>,
}

impl Meta {
    /// The key by which ties are broken: oldest first, then namespace, then name (Istio's rule).
    pub fn age(&self) -> (i64, &ObjectKey) {
        (self.created.unwrap_or(i64::MAX), &self.reference.key)
    }
}

/// A shared, immutable object. Equality and hash cover [`Meta`] and value; both are cheap for equal pointers, and the
/// hash is computed once.
#[derive(Debug)]
pub struct Stored<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    hash: u64,
    meta: Meta,
    value: T,
}

impl<T: Hash> Stored<T> {
    /// Shares `value`.
    pub fn new(meta: Meta, value: T) -> Self {
        let mut hasher = Xxh3::new();
        meta.hash(&mut hasher);
        value.hash(&mut hasher);
        Self(Arc::new(Inner { hash: hasher.finish(), meta, value }))
    }
}

impl<T> Stored<T> {
    /// What is known about the object besides its value.
    pub fn meta(&self) -> &Meta {
        &self.0.meta
    }

    /// The object's key.
    pub fn key(&self) -> &ObjectKey {
        &self.0.meta.reference.key
    }

    /// The reference that goes into the provenance of what this object shapes.
    pub fn reference(&self) -> ObjectRef {
        self.0.meta.reference.clone()
    }
}

/// Orders objects oldest first; see [`Meta::age`].
pub fn by_age<T>(a: &Stored<T>, b: &Stored<T>) -> Ordering {
    a.meta().age().cmp(&b.meta().age())
}

impl<T> Clone for Stored<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Stored<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: PartialEq> PartialEq for Stored<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.meta == other.0.meta && self.0.value == other.0.value)
    }
}

impl<T: Eq> Eq for Stored<T> {}

impl<T> Hash for Stored<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// A Kubernetes namespace: known by its labels only.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct NamespaceInfo {
    /// `metadata.labels`.
    pub labels: Labels,
}

/// Any object of the World.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Object {
    /// See [`NamespaceInfo`].
    Namespace(Stored<NamespaceInfo>),
    /// See [`Service`].
    Service(Stored<Service>),
    /// See [`EndpointSlice`].
    EndpointSlice(Stored<EndpointSlice>),
    /// See [`Pod`].
    Pod(Stored<Pod>),
    /// See [`DestinationRule`].
    DestinationRule(Stored<DestinationRule>),
    /// See [`VirtualService`].
    VirtualService(Stored<VirtualService>),
    /// See [`Sidecar`].
    Sidecar(Stored<Sidecar>),
    /// See [`PeerAuthentication`].
    PeerAuthentication(Stored<PeerAuthentication>),
    /// See [`Node`].
    Node(Stored<Node>),
    /// See [`Mesh`].
    MeshConfig(Stored<Mesh>),
    /// See [`Secret`].
    Secret(Stored<Secret>),
}

impl Object {
    /// What is known about the object besides its value.
    pub fn meta(&self) -> &Meta {
        match self {
            Object::Namespace(object) => object.meta(),
            Object::Service(object) => object.meta(),
            Object::EndpointSlice(object) => object.meta(),
            Object::Pod(object) => object.meta(),
            Object::DestinationRule(object) => object.meta(),
            Object::VirtualService(object) => object.meta(),
            Object::Sidecar(object) => object.meta(),
            Object::PeerAuthentication(object) => object.meta(),
            Object::Node(object) => object.meta(),
            Object::MeshConfig(object) => object.meta(),
            Object::Secret(object) => object.meta(),
        }
    }

    /// The object's key.
    pub fn key(&self) -> &ObjectKey {
        &self.meta().reference.key
    }
}
