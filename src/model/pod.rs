//! Pods, reduced to what decides configuration.

use super::labels::Labels;
use super::name::Name;
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
    /// `spec.nodeName`; none while it is not scheduled.
    pub node: Option<Name>,
    /// The TCP ports that containers name, sorted; names are unique in a Pod.
    pub ports: Vec<(Arc<str>, u16)>,
}

impl Pod {
    /// The number of the port of that name.
    pub fn port_named(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(other, _)| **other == *name).map(|(_, number)| *number)
    }
}
