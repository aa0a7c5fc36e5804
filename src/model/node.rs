//! Nodes, and where in the world they stand.

use std::sync::Arc;

/// A Node, reduced to its place.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Node {
    /// Where it stands.
    pub locality: Locality,
}

/// A place, from wide to narrow; an empty part is unknown.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Locality {
    /// The label `topology.kubernetes.io/region`.
    pub region: Arc<str>,
    /// The label `topology.kubernetes.io/zone`.
    pub zone: Arc<str>,
    /// The label `topology.istio.io/subzone`.
    pub subzone: Arc<str>,
}
