//! Sidecars: what a workload listens on, and what it sees.

use super::destination::ConnectionPool;
use super::labels::Labels;
use super::mesh::OutboundMode;
use super::name::{Host, Namespace};
use super::service::Protocol;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A Sidecar.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sidecar {
    /// `workloadSelector.labels`; empty means the whole namespace.
    pub selector: Labels,
    /// `ingress`, in the order written; ports are unique.
    pub ingress: Vec<Ingress>,
    /// `inboundConnectionPool`: limits of incoming connections where the ingress states none.
    pub pool: Option<ConnectionPool>,
    /// `egress`: what the workload sees; absent means everything. Ports are unique, and at most one entry has none.
    pub egress: Option<Vec<EgressListener>>,
    /// `outboundTrafficPolicy.mode`; absent means the mesh's.
    pub outbound: Option<OutboundMode>,
}

/// What a workload sees on a port, or on every port that no other entry names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EgressListener {
    /// Which entry of `egress` it is; of several without a port, the first.
    pub entry: usize,
    /// `port`: its number, and what the services speak; absent is what each says itself.
    pub port: Option<(u16, Option<Protocol>)>,
    /// `bind`; absent means the services' own addresses, or a loopback address where the port is opened really.
    pub bind: Option<IpAddr>,
    /// `captureMode: NONE`: the port is opened really, also where traffic is captured.
    pub opened: bool,
    /// `hosts`, sorted, each once.
    pub hosts: Vec<EgressHost>,
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
    /// `bind`; absent means all addresses, or all of the Pod's where traffic is captured.
    pub bind: Option<IpAddr>,
    /// `captureMode: NONE`: the port is opened really, also where traffic is captured.
    pub opened: bool,
    /// `defaultEndpoint`.
    pub endpoint: DefaultEndpoint,
    /// `connectionPool`.
    pub pool: Option<ConnectionPool>,
}

/// Where the application behind an [`Ingress`] listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DefaultEndpoint {
    /// Nothing said: on the ingress port of 127.0.0.1; of a captured connection, where it wanted to go.
    Unsaid,
    /// On a loopback address.
    Loopback(SocketAddr),
    /// `0.0.0.0:port` or `[::]:port`: on the Pod's own address of that family.
    Instance(SocketAddr),
    /// `unix://`: on that socket; a leading `@` stands for one without a file.
    Socket(Arc<str>),
}

impl Ingress {
    /// Where the application behind a port that is really open listens, if on a loopback address.
    pub fn on_loopback(&self) -> Option<SocketAddr> {
        match self.endpoint {
            DefaultEndpoint::Unsaid => Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port)),
            DefaultEndpoint::Loopback(endpoint) => Some(endpoint),
            DefaultEndpoint::Instance(_) | DefaultEndpoint::Socket(_) => None,
        }
    }
}

impl Sidecar {
    /// Whether what is listened on follows from the Pod's own addresses.
    pub fn asks_for_addresses(&self, captured: bool) -> bool {
        self.ingress.iter().any(|ingress| {
            let opened = ingress.opened || !captured;
            let specific = ingress.bind.filter(|bind| !bind.is_unspecified());
            let bound = opened && specific.map_or(captured, |bind| !bind.is_loopback());
            bound || matches!(ingress.endpoint, DefaultEndpoint::Instance(_))
        })
    }
}
