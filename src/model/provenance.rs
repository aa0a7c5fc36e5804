//! Where a resource comes from: references to the objects that shaped it.

use super::name::{Name, Namespace, ServiceKey};
use std::fmt;
use std::sync::Arc;

/// The kinds of object chancery reads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ObjectKind {
    /// Kubernetes core `Namespace`, itself without a namespace.
    Namespace,
    /// Kubernetes core `Service`.
    Service,
    /// `discovery.k8s.io` `EndpointSlice`.
    EndpointSlice,
    /// Kubernetes core `Pod`.
    Pod,
    /// `networking.istio.io` `DestinationRule`.
    DestinationRule,
    /// `networking.istio.io` `VirtualService`.
    VirtualService,
    /// `networking.istio.io` `Sidecar`.
    Sidecar,
    /// `security.istio.io` `PeerAuthentication`.
    PeerAuthentication,
    /// Kubernetes core `Node`, without a namespace.
    Node,
    /// Settings of the mesh: one object, which no manifest declares.
    MeshConfig,
    /// Kubernetes core `Secret`.
    Secret,
}

impl ObjectKind {
    /// Every kind, in the order of the enum.
    pub const ALL: [ObjectKind; 11] = [
        ObjectKind::Namespace,
        ObjectKind::Service,
        ObjectKind::EndpointSlice,
        ObjectKind::Pod,
        ObjectKind::DestinationRule,
        ObjectKind::VirtualService,
        ObjectKind::Sidecar,
        ObjectKind::PeerAuthentication,
        ObjectKind::Node,
        ObjectKind::MeshConfig,
        ObjectKind::Secret,
    ];

    /// The kind as written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::Namespace => "Namespace",
            ObjectKind::Service => "Service",
            ObjectKind::EndpointSlice => "EndpointSlice",
            ObjectKind::Pod => "Pod",
            ObjectKind::DestinationRule => "DestinationRule",
            ObjectKind::VirtualService => "VirtualService",
            ObjectKind::Sidecar => "Sidecar",
            ObjectKind::PeerAuthentication => "PeerAuthentication",
            ObjectKind::Node => "Node",
            ObjectKind::MeshConfig => "MeshConfig",
            ObjectKind::Secret => "Secret",
        }
    }

    /// Whether people write objects of the kind to say how traffic is to be treated.
    pub fn is_policy(self) -> bool {
        use ObjectKind::{DestinationRule, MeshConfig, PeerAuthentication, Sidecar, VirtualService};
        matches!(self, DestinationRule | VirtualService | Sidecar | PeerAuthentication | MeshConfig)
    }

    /// Whether an object of the kind that is not understood stands for the strictest it could say, and not for what it said
    /// before: who protects something must not find it open because of a slip.
    pub fn fails_closed(self) -> bool {
        self == ObjectKind::PeerAuthentication
    }

    /// Whether objects of the kind are in a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, ObjectKind::Namespace | ObjectKind::Node | ObjectKind::MeshConfig)
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An object by kind, namespace and name; the namespace of a cluster-scoped object is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectKey {
    /// The object's kind.
    pub kind: ObjectKind,
    /// The object's namespace, empty for cluster-scoped kinds.
    pub namespace: Namespace,
    /// The object's name.
    pub name: Name,
}

impl ObjectKey {
    /// The key of the one object that holds the settings of the mesh.
    pub fn mesh() -> Self {
        Self { kind: ObjectKind::MeshConfig, namespace: Namespace::from(""), name: Name::from("mesh") }
    }
}

impl From<&ObjectKey> for ServiceKey {
    /// The key of the service that the object is.
    fn from(key: &ObjectKey) -> Self {
        Self { namespace: key.namespace.clone(), name: key.name.clone() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.as_str().is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// One state of an object: what `status` and `explain` show as a source.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectRef {
    /// Which object.
    pub key: ObjectKey,
    /// The object's `metadata.uid`, where the source has one.
    pub uid: Option<Arc<str>>,
    /// The object's `metadata.generation`; core kinds such as Service have none.
    pub generation: Option<i64>,
}

/// The objects that shaped a resource, sorted, each once.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Provenance(Arc<[ObjectRef]>);

impl Provenance {
    /// The references, sorted.
    pub fn refs(&self) -> &[ObjectRef] {
        &self.0
    }
}

impl FromIterator<ObjectRef> for Provenance {
    fn from_iter<I: IntoIterator<Item = ObjectRef>>(refs: I) -> Self {
        let mut refs: Vec<_> = refs.into_iter().collect();
        refs.sort();
        refs.dedup();
        Self(refs.into())
    }
}
