//! Sidecars: what a workload listens on.

use super::labels::Labels;
use super::service::Protocol;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A Sidecar.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sidecar {
    /// `workloadSelector.labels`; empty means the whole namespace.
    pub selector: Labels,
    /// `ingress`, in the order written; ports are unique.
    pub ingress: Vec<Ingress>,
}

/// One listener for incoming traffic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Ingress {
    /// `port.number`.
    pub port: u16,
    /// `port.protocol`.
    pub protocol: Protocol,
    /// `bind`; absent means all addresses.
    pub bind: Option<IpAddr>,
    /// `defaultEndpoint`: where the application listens; absent means 127.0.0.1 and the same port.
    pub endpoint: SocketAddr,
}

impl Ingress {
    /// The address listened on.
    pub fn address(&self) -> IpAddr {
        self.bind.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Whether the listener, really bound, would take the very address the application listens on.
    pub fn takes_its_own_endpoint(&self) -> bool {
        let same = self.address() == self.endpoint.ip() || self.address().is_unspecified();
        same && self.port == self.endpoint.port()
    }
}
