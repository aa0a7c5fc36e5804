//! Sidecars: what a workload listens on, and what it sees.

use super::labels::Labels;
use super::mesh::OutboundMode;
use super::name::{Host, Namespace};
use super::service::Protocol;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// A Sidecar.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sidecar {
    /// `workloadSelector.labels`; empty means the whole namespace.
    pub selector: Labels,
    /// `ingress`, in the order written; ports are unique.
    pub ingress: Vec<Ingress>,
    /// `egress[].hosts`: what the workload sees; absent means everything.
    pub egress: Option<Vec<EgressHost>>,
    /// `outboundTrafficPolicy.mode`; absent means the mesh's.
    pub outbound: Option<OutboundMode>,
}

/// Services a workload sees, written `namespace/host`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EgressHost {
    /// Of which namespace.
    pub namespace: EgressNamespace,
    /// Of which name: a full name, or a wildcard.
    pub host: Host,
}

/// The namespace of an [`EgressHost`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EgressNamespace {
    /// `*`: any.
    Any,
    /// `.`: the workload's own.
    Own,
    /// That one.
    Named(Namespace),
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
