//! Definitions of kinds that are not Kubernetes' own: those of the projects as they publish them, where that can be had.

use super::kubectl::Kubectl;
use crate::harness::{Outcome, deadline, tools};
use std::time::Duration;

/// The definitions of one project.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Definitions {
    /// Istio's, with its validation.
    Istio,
    /// The Gateway API's, with what is experimental.
    Gateway,
    /// TrafficSplit of the Service Mesh Interface: ours, since the published one is of a form that is no longer served.
    Smi,
    /// The Prometheus operator's, as far as manifests of ours are of its kinds. chancery doesn't know them.
    Operator,
    /// cert-manager's, likewise.
    CertManager,
}

impl Definitions {
    /// All that chancery knows.
    pub const ALL: [Self; 3] = [Self::Istio, Self::Gateway, Self::Smi];

    /// The file they are in.
    pub fn path(self) -> Outcome<String> {
        let path = match self {
            Self::Istio => tools::definitions("istio-crds", "CHANCERY_ISTIO_CRDS")?,
            Self::Gateway => tools::definitions("gateway-crds", "CHANCERY_GATEWAY_CRDS")?,
            Self::Operator => tools::definitions("operator-crds", "CHANCERY_OPERATOR_CRDS")?,
            Self::CertManager => tools::definitions("cert-manager-crds", "CHANCERY_CERT_MANAGER_CRDS")?,
            Self::Smi => tools::root().join("integration/harness/cluster/smi-crds.yaml"),
        };
        Ok(path.to_string_lossy().into_owned())
    }
}

/// Creates them and waits until objects of every kind can be.
pub async fn install(kubectl: &Kubectl, all: &[Definitions], limit: Duration) -> Outcome<()> {
    if all.is_empty() {
        return Ok(());
    }
    let paths = all.iter().map(|definitions| definitions.path()).collect::<Outcome<Vec<_>>>()?;
    let mut create = vec!["create", "--validate=false"];
    create.extend(paths.iter().flat_map(|path| ["-f", path]));
    kubectl.succeed(&create, "").await?;
    // Asked for all at once: `kubectl wait` asks for one after the other and takes its time.
    let format = "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Established')].status},{end}";
    deadline::until("every kind is established", limit, async || {
        let told = kubectl.succeed(&["get", "customresourcedefinitions", "-o", format], "").await.ok()?;
        told.strip_suffix(',')?.split(',').all(|status| status == "True").then_some(())
    })
    .await
}
