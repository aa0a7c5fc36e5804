//! Definitions of kinds that are not Kubernetes' own: those of the projects as they publish them, where that can be had.

use crate::harness::{Outcome, tools};

/// The definitions of one project.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Definitions {
    /// Istio's, with its validation.
    Istio,
    /// The Gateway API's, with what is experimental.
    Gateway,
    /// TrafficSplit of the Service Mesh Interface: ours, since the published one is of a form that is no longer served.
    Smi,
}

impl Definitions {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Istio, Self::Gateway, Self::Smi];

    /// The file they are in.
    pub fn path(self) -> Outcome<String> {
        let path = match self {
            Self::Istio => tools::definitions("istio-crds", "CHANCERY_ISTIO_CRDS")?,
            Self::Gateway => tools::definitions("gateway-crds", "CHANCERY_GATEWAY_CRDS")?,
            Self::Smi => tools::root().join("integration/harness/cluster/smi-crds.yaml"),
        };
        Ok(path.to_string_lossy().into_owned())
    }
}
