//! Pods, reduced to what decides configuration.

use super::labels::Labels;
use std::net::IpAddr;
use std::sync::Arc;

/// A Pod.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Pod {
    /// `metadata.labels`.
    pub labels: Labels,
    /// `status.podIPs`, sorted.
    pub addresses: Vec<IpAddr>,
    /// `spec.serviceAccountName`, `default` when unset.
    pub service_account: Arc<str>,
}
