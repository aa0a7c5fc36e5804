//! The units of translation: what is selected, built and recomputed as one, and what passes between the two steps.

use crate::model::destination::{DestinationRule, HashKey};
use crate::model::name::{Host, ServiceKey};
use crate::model::node::Locality;
use crate::model::object::Stored;
use crate::model::problem::Problem;
use crate::model::provenance::{ObjectRef, Provenance};
use crate::model::route::VirtualService;
use crate::model::service::{Protocol, Service};
use crate::snapshot::resource::{Fragment, Resource};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Something computed for a subject. The order matters: a unit comes before those it lists as children.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Unit {
    /// Lists everything else.
    Roots,
    /// Inbound clusters and listeners.
    Inbound,
    /// Clusters that are always there.
    Fixed,
    /// The outbound listener on a port.
    Port(u16),
    /// The route configuration of a port: which virtual hosts, with which domains.
    RouteTable(u16),
    /// One virtual host.
    VirtualHost(HostUnit),
    /// The virtual host of a port that answers for unknown hosts.
    CatchAll(u16),
    /// The clusters of a service: one per port, and one per port and subset.
    Clusters(ServiceKey),
    /// The endpoints of those clusters.
    Endpoints(ServiceKey),
}

/// A virtual host: a service on a port, under the domains its route table gave it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostUnit {
    /// The port of the route configuration.
    pub port: u16,
    /// The service.
    pub service: ServiceKey,
    /// The domains, in order, each used once in the route configuration.
    pub domains: Arc<[Arc<str>]>,
}

/// What was selected for a unit.
#[derive(Clone, Default, Debug)]
pub struct Selection {
    /// Units that exist because of this one.
    pub children: Vec<Unit>,
    /// What to build.
    pub inputs: Vec<Inputs>,
    /// Mistakes seen on the way.
    pub problems: Vec<Problem>,
}

impl Selection {
    /// Only children.
    pub fn of_children(children: impl IntoIterator<Item = Unit>) -> Self {
        Self { children: children.into_iter().collect(), ..Self::default() }
    }

    /// Only inputs.
    pub fn of_inputs(inputs: impl IntoIterator<Item = Inputs>) -> Self {
        Self { inputs: inputs.into_iter().collect(), ..Self::default() }
    }
}

/// Everything a build may depend on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Inputs {
    /// The cluster without endpoints.
    BlackHole,
    /// An outbound cluster.
    Cluster(ClusterInputs),
    /// The endpoints of an outbound cluster.
    Endpoints(EndpointInputs),
    /// An outbound HTTP listener.
    HttpListener(ListenerInputs),
    /// An outbound TCP listener.
    TcpListener(ListenerInputs),
    /// A virtual host.
    VirtualHost(HostInputs),
    /// The virtual host for unknown hosts.
    CatchAll,
    /// An inbound cluster.
    InboundCluster(InboundInputs),
    /// An inbound listener.
    InboundListener(InboundInputs),
}

/// What a build made.
#[derive(Clone, Debug)]
pub enum Built {
    /// A whole resource.
    Resource(Arc<Resource>),
    /// A virtual host.
    Fragment(Arc<Fragment>),
}

/// An outbound cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClusterInputs {
    /// The service.
    pub service: Stored<Service>,
    /// The port's number.
    pub port: u16,
    /// The port's protocol.
    pub protocol: Protocol,
    /// The subset.
    pub subset: Option<Arc<str>>,
    /// The DestinationRules in effect, oldest first.
    pub rules: Vec<Stored<DestinationRule>>,
    /// How long connecting may take where no rule says.
    pub connect_timeout: Duration,
    /// The settings of the mesh, where somebody wrote them.
    pub settings: Option<ObjectRef>,
}

/// The endpoints of an outbound cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EndpointInputs {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The endpoints, sorted by locality, address and port, each once.
    pub endpoints: Vec<ResolvedEndpoint>,
    /// The objects that shaped the list.
    pub provenance: Provenance,
}

/// An endpoint of a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResolvedEndpoint {
    /// Where it is.
    pub locality: Locality,
    /// Its address and port.
    pub address: SocketAddr,
    /// Whether it may be picked.
    pub healthy: bool,
}

/// An outbound listener.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ListenerInputs {
    /// The address it binds to.
    pub bind: IpAddr,
    /// The port it binds to.
    pub port: u16,
    /// For TCP, the cluster; for HTTP, the name of the route configuration.
    pub target: Arc<str>,
    /// For TCP, how long a connection may live.
    pub lifetime: Lifetime,
    /// The object that opened the port.
    pub provenance: Provenance,
}

/// How long a TCP connection may live; absent is Envoy's default.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Lifetime {
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// At all.
    pub total: Option<Duration>,
}

/// A virtual host.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostInputs {
    /// The service's host.
    pub host: Host,
    /// The port of the route configuration.
    pub port: u16,
    /// The domains.
    pub domains: Arc<[Arc<str>]>,
    /// The VirtualService in effect.
    pub routes: Option<Stored<VirtualService>>,
    /// Where each of its routes leads; one entry, the service itself, where no VirtualService applies.
    pub targets: Vec<Targets>,
    /// The objects that shaped it.
    pub provenance: Provenance,
}

/// Where a route leads.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Targets {
    /// The cluster of each destination.
    pub clusters: Vec<Arc<str>>,
    /// What their clusters pick endpoints by, sorted, each once; empty where none does by hash.
    pub hashes: Vec<HashKey>,
}

/// An inbound cluster and its listener.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InboundInputs {
    /// The port listened on.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// The address listened on.
    pub bind: IpAddr,
    /// Where the application listens.
    pub endpoint: SocketAddr,
    /// The Sidecar.
    pub provenance: Provenance,
}
