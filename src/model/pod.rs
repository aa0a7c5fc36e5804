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
    /// `spec.hostNetwork`: its addresses are its Node's.
    pub host_network: bool,
    /// `spec.serviceAccountName`, `default` when unset.
    pub service_account: Arc<str>,
    /// `spec.nodeName`; none while it is not scheduled.
    pub node: Option<Name>,
    /// The TCP ports that containers name, sorted; names are unique in a Pod.
    pub ports: Vec<(Arc<str>, u16)>,
}

impl Pod {
    /// Its addresses, where they are not its Node's.
    pub fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied().filter(|_| !self.host_network)
    }

    /// The number of the port of that name.
    pub fn port_named(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|(other, _)| **other == *name).map(|(_, number)| *number)
    }
}
