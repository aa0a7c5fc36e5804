//! EndpointSlices: the addresses behind a Service.

use super::name::{Name, ServiceKey};
use std::net::IpAddr;
use std::sync::Arc;

/// An EndpointSlice of one service.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EndpointSlice {
    /// The service, from the label `kubernetes.io/service-name`.
    pub service: ServiceKey,
    /// `ports`: name and number; a port without a number is not listed.
    pub ports: Vec<(Arc<str>, u16)>,
    /// `endpoints`, in the order of the slice.
    pub endpoints: Vec<Endpoint>,
    /// Whether somebody else wrote it than Kubernetes' controller, by the label `endpointslice.kubernetes.io/managed-by`.
    pub by_hand: bool,
}

/// One endpoint of an [`EndpointSlice`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Endpoint {
    /// The first address; Kubernetes gives the others no meaning.
    pub address: IpAddr,
    /// `conditions.ready`; absent means ready.
    pub ready: bool,
    /// `conditions.serving`: whether it could take requests, were it not going away; absent means it could.
    pub serving: bool,
    /// `conditions.terminating`; absent means no.
    pub terminating: bool,
    /// The Pod named by `targetRef`, in the slice's namespace.
    pub pod: Option<Name>,
    /// `targetRef.uid`, which tells a Pod from its successor of the same name.
    pub pod_uid: Option<Arc<str>>,
    /// `nodeName`.
    pub node: Option<Name>,
    /// `zone`, which wins against the Node's label.
    pub zone: Option<Arc<str>>,
    /// `hints.forZones`, sorted: the zones whose clients should use it; none is no hint.
    pub for_zones: Vec<Arc<str>>,
    /// `hints.forNodes`, sorted: the Nodes whose clients should use it.
    pub for_nodes: Vec<Name>,
}
