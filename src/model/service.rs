//! Kubernetes Services.

use super::exports::Exports;
use super::labels::Labels;
use super::name::{Host, ServiceKey};
use super::pod::Pod;
use std::net::IpAddr;
use std::sync::Arc;

/// What a port speaks, from `appProtocol` or the prefix of its name (Istio's protocol selection).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 with prior knowledge: `http2`, `grpc`, `grpc-web`, `kubernetes.io/h2c`.
    Http2,
    /// Opaque bytes: `tcp`, and protocols proxied as such (`tls`, `https`, `mongo`, `mysql`, `redis`).
    Tcp,
    /// UDP and SCTP: not proxied.
    Udp,
    /// Nothing said.
    Unnamed,
}

/// Which endpoints are preferred to others that are ready, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Distribution {
    /// Those of the client's zone: `PreferSameZone`, and `PreferClose` of old.
    SameZone,
    /// Those on the client's Node: `PreferSameNode`.
    SameNode,
    /// Those that hints say are meant for the client's zone, if all have hints: the annotation
    /// `service.kubernetes.io/topology-mode: Auto`.
    Hinted,
}

/// A Service.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Service {
    /// Namespace and name.
    pub key: ServiceKey,
    /// The fully qualified host.
    pub host: Host,
    /// `spec.clusterIPs`, sorted; empty for headless services.
    pub addresses: Vec<IpAddr>,
    /// Whether IPv6 is the first of its families, by which Pods of both are called first: the family of the first cluster
    /// address, or for want of one the first of `spec.ipFamilies`.
    pub prefers_v6: bool,
    /// `spec.ports`, sorted by number.
    pub ports: Vec<ServicePort>,
    /// `spec.selector`.
    pub selector: Labels,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// Whether `spec.clusterIP` is `None`: clients address the endpoints themselves.
    pub headless: bool,
    /// Of type ExternalName, `spec.externalName`: the name that this one stands for.
    pub external: Option<Host>,
    /// `spec.trafficDistribution`.
    pub distribution: Option<Distribution>,
    /// Whether `spec.internalTrafficPolicy` is `Local`: only endpoints on the client's own Node.
    pub node_local: bool,
    /// The annotation `networking.istio.io/exportTo`; absent means the mesh's default.
    pub exports: Option<Exports>,
}

/// By what of a client's place endpoints are chosen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Nearness {
    /// Its zone.
    Zone,
    /// Its Node and its zone.
    Node,
}

impl Service {
    /// By what of a client's place its endpoints are chosen; none if all clients are treated alike. Those of a headless
    /// Service are picked by the clients themselves.
    pub fn nearness(&self) -> Option<Nearness> {
        if self.headless || self.external.is_some() {
            return None;
        }
        match self.distribution {
            _ if self.node_local => Some(Nearness::Node),
            Some(Distribution::SameNode) => Some(Nearness::Node),
            Some(Distribution::SameZone | Distribution::Hinted) => Some(Nearness::Zone),
            None => None,
        }
    }

    /// The host of another Service that this one is only another name for.
    pub fn alias(&self) -> Option<&Host> {
        self.external.as_ref().filter(|name| name.is_inside())
    }

    /// The name outside that this Service stands for.
    pub fn outside(&self) -> Option<&Host> {
        self.external.as_ref().filter(|name| !name.is_inside())
    }
}

/// One port of a [`Service`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ServicePort {
    /// The port's name, by which EndpointSlices refer to it; empty for a single unnamed port.
    pub name: Arc<str>,
    /// The service port's number.
    pub number: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// `targetPort`: the service port's own number where absent.
    pub target: TargetPort,
}

/// Where on a Pod a service port leads.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TargetPort {
    /// That port.
    Number(u16),
    /// The port of that name, whose number each Pod may choose.
    Name(Arc<str>),
}

impl TargetPort {
    /// The port's number on a Pod; none if the Pod names no such port.
    pub fn on(&self, pod: &Pod) -> Option<u16> {
        match self {
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => pod.port_named(name),
        }
    }
}
