//! The units of translation: what is selected, built and recomputed as one, and what passes between the two steps.

use crate::model::access_log::AccessLog;
use crate::model::audience::Families;
use crate::model::destination::{ConnectionPool, DestinationRule, HashKey, ServerTls};
use crate::model::mesh::{OutboundMode, TrustDomains};
use crate::model::name::{Host, Namespace, ServiceKey};
use crate::model::node::Locality;
use crate::model::object::Stored;
use crate::model::problem::Problem;
use crate::model::provenance::{ObjectRef, Provenance};
use crate::model::route::VirtualService;
use crate::model::secret::{Grant, Secret};
use crate::model::service::{Protocol, Service};
use crate::snapshot::resource::{Fragment, Ref, Resource};
use std::collections::BTreeSet;
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
    /// A route configuration: which virtual hosts, with which domains.
    RouteTable(Table),
    /// One virtual host.
    VirtualHost(HostUnit),
    /// The virtual host of a route configuration that answers for unknown hosts.
    CatchAll(Table),
    /// The clusters of a service: one per port, and one per port and subset.
    Clusters(ServiceKey),
    /// The endpoints of those clusters.
    Endpoints(ServiceKey),
    /// What a workload may have of the Secrets of its namespace under a name.
    Secrets(Grant),
}

/// A route configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Table {
    /// The port requests come for.
    pub port: u16,
    /// Where the address already decides, the service; else the table has every HTTP service on the port.
    pub service: Option<ServiceKey>,
}

impl Table {
    /// The table of every HTTP service on a port.
    pub fn of_port(port: u16) -> Self {
        Self { port, service: None }
    }

    /// The name of the route configuration: `<port>`, or `<host>:<port>`.
    pub fn name(&self) -> Arc<str> {
        match &self.service {
            None => self.port.to_string().into(),
            Some(service) => format!("{}:{}", service.host(), self.port).into(),
        }
    }
}

/// A virtual host: a service on a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostUnit {
    /// The route configuration.
    pub table: Table,
    /// The service.
    pub service: ServiceKey,
}

impl Unit {
    /// The unit that lists this one as its child; none for the first.
    pub fn parent(&self) -> Option<Unit> {
        match self {
            Unit::Roots => None,
            Unit::Inbound | Unit::Fixed | Unit::Port(_) | Unit::Clusters(_) | Unit::Endpoints(_) | Unit::Secrets(_) => {
                Some(Unit::Roots)
            }
            Unit::RouteTable(table) => Some(Unit::Port(table.port)),
            Unit::VirtualHost(host) => Some(Unit::RouteTable(host.table.clone())),
            Unit::CatchAll(table) => Some(Unit::RouteTable(table.clone())),
        }
    }

    /// The unit before which no virtual host of a route configuration sorts.
    pub fn first_in(table: &Table) -> Unit {
        let service = ServiceKey { namespace: "".into(), name: "".into() };
        Unit::VirtualHost(HostUnit { table: table.clone(), service })
    }

    /// The route configuration it makes, or makes a virtual host of.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Unit::RouteTable(table) | Unit::CatchAll(table) => Some(table),
            Unit::VirtualHost(host) => Some(&host.table),
            _ => None,
        }
    }
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
    /// For the common audience: the namespaces whose audiences might be given something else.
    pub asked: BTreeSet<Namespace>,
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
    /// An outbound listener.
    Listener(ListenerInputs),
    /// A virtual host.
    VirtualHost(HostInputs),
    /// The virtual host for unknown hosts.
    CatchAll(OutboundMode),
    /// The cluster that leads to the original destination.
    Passthrough(&'static str),
    /// The listener that takes every captured outgoing connection.
    VirtualOutbound(OutboundInputs),
    /// An inbound cluster.
    InboundCluster(InboundInputs),
    /// An inbound listener of its own, really bound.
    InboundListener(InboundListenerInputs),
    /// The listener that takes every captured incoming connection.
    VirtualInbound(VirtualInboundInputs),
    /// A certificate and its key, under a name.
    Pair(Arc<str>, Stored<Secret>),
    /// Authorities, under a name.
    Authorities(Arc<str>, Stored<Secret>),
}

/// What a build made.
#[derive(Clone, Debug)]
pub enum Built {
    /// A whole resource.
    Resource(Arc<Resource>),
    /// A virtual host.
    Fragment(Arc<Fragment>),
}

impl Built {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Resource(resource) => resource.name(),
            Self::Fragment(fragment) => fragment.name(),
        }
    }

    /// What it refers to.
    pub fn refs(&self) -> impl Iterator<Item = &Ref> {
        let (resource, fragment) = match self {
            Self::Resource(resource) => (Some(resource), None),
            Self::Fragment(fragment) => (None, Some(fragment)),
        };
        let of_resource = resource.into_iter().flat_map(|resource| resource.refs());
        of_resource.chain(fragment.into_iter().flat_map(|fragment| fragment.refs()))
    }
}

/// An outbound cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClusterInputs {
    /// The cluster's name.
    pub name: Arc<str>,
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
    /// Where its endpoints come from, unless policy says PASSTHROUGH.
    pub from: EndpointsFrom,
    /// How connections are made.
    pub tls: Tls,
    /// How long connecting may take where no rule says.
    pub connect_timeout: Duration,
    /// The settings of the mesh, where somebody wrote them, and what decided about TLS.
    pub others: Vec<ObjectRef>,
}

/// How the connections of a cluster are made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Tls {
    /// Without TLS.
    Plain,
    /// With mutual TLS of the mesh to the endpoints that say so.
    ByEndpoint(Peer),
    /// With mutual TLS of the mesh.
    Mesh(Peer),
    /// With TLS to a server that others vouch for.
    Server(ServerTls),
    /// Not at all: a certificate or authorities are to be had for it, and there are none.
    Impossible,
}

/// Whom mutual TLS of the mesh is spoken to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Peer {
    /// What is asked for.
    pub sni: Arc<str>,
    /// The names one of which it must have, sorted; none is any of the mesh.
    pub names: Vec<Arc<str>>,
    /// What names of the mesh begin with.
    pub trust: TrustDomains,
}

/// Where the endpoints of a cluster come from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EndpointsFrom {
    /// They are listed.
    List,
    /// Proxies look them up.
    Dns(Lookup),
    /// Clients have picked one: it is the original destination, on this port if one is given.
    Client(Option<u16>),
}

/// How a name outside is looked up in DNS.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Lookup {
    /// The name.
    pub name: Host,
    /// The families of addresses that the proxy can call.
    pub families: Families,
    /// How soon it is looked up again where the answer doesn't say.
    pub refresh: Duration,
    /// Whether the cluster is a subset by labels, which nothing outside has.
    pub nobody: bool,
}

/// The endpoints of an outbound cluster.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EndpointInputs {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// The endpoints, sorted by priority, locality, address and port, each once.
    pub endpoints: Vec<ResolvedEndpoint>,
    /// The objects that shaped the list.
    pub provenance: Provenance,
}

/// An endpoint of a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResolvedEndpoint {
    /// How far away it is, where that matters: the nearest has 0.
    pub priority: u32,
    /// Where it is.
    pub locality: Locality,
    /// Its address and port, of the family that is tried first.
    pub address: SocketAddr,
    /// Its address and port of the other family.
    pub other: Option<SocketAddr>,
    /// Whether it may be picked.
    pub healthy: bool,
    /// Whether mutual TLS of the mesh is spoken to it.
    pub mutual: bool,
}

/// The listener that takes every captured outgoing connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct OutboundInputs {
    /// The addresses it binds to.
    pub binds: Vec<IpAddr>,
    /// The port it binds to.
    pub port: u16,
    /// What happens to connections that no other listener takes.
    pub unknown: OutboundMode,
    /// How connections are logged.
    pub log: Option<AccessLog>,
    /// The settings of the mesh, where somebody wrote them.
    pub provenance: Provenance,
}

/// An outbound listener.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ListenerInputs {
    /// The address. A listener has no other: its name is that of its address, and if one of several went, the others would
    /// belong to two listeners for a while, of which Envoy refuses the second.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// Whether the address is really bound; captured connections are handed over instead.
    pub bound: bool,
    /// What it does with connections.
    pub chains: Chains,
    /// How long first bytes are waited for, where they are looked at; none for ever.
    pub detection: Option<Duration>,
    /// Whether the proxies hold certificates.
    pub certified: bool,
    /// How requests and connections are logged.
    pub log: Option<AccessLog>,
    /// The objects that opened the port.
    pub provenance: Provenance,
}

/// What an outbound listener does with connections.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Chains {
    /// Only HTTP is expected: routed by the route configuration of that name.
    Http(Arc<str>),
    /// HTTP is routed by the route configuration of that name; whatever else comes is unknown.
    HttpOr(Arc<str>, OutboundMode),
    /// Bytes are passed on to a cluster.
    Tcp(Arc<str>, TcpOptions),
    /// HTTP is routed by the route configuration, everything else is passed on to the cluster.
    Sniffed(Arc<str>, Arc<str>, TcpOptions),
}

/// How TCP connections are passed on; absent durations are Envoy's defaults.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TcpOptions {
    /// How long one may be without a byte in either direction.
    pub idle: Option<Duration>,
    /// How long one may live at all.
    pub total: Option<Duration>,
    /// Whether the client's address decides the endpoint: all that consistent hashing can go by without HTTP.
    pub by_source: bool,
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
    /// Those of them that would be taken for bytes if requests didn't say that they are HTTP, sorted, each once.
    pub speak_up: Vec<Arc<str>>,
    /// What their clusters pick endpoints by, sorted, each once; empty where none does by hash.
    pub hashes: Vec<HashKey>,
}

/// An inbound cluster, and what its listener needs of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InboundInputs {
    /// The port listened on.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// The addresses really listened on; none where captured connections to the port are meant.
    pub binds: Vec<IpAddr>,
    /// Where the application listens.
    pub endpoint: InboundEndpoint,
    /// Limits of incoming connections.
    pub pool: ConnectionPool,
    /// The objects that say so.
    pub provenance: Provenance,
}

/// What is taken on a port of a workload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Takes {
    /// Plain text; TLS is passed on unopened where bytes are.
    Plain,
    /// Plain text, and mutual TLS of the mesh.
    Both,
    /// Mutual TLS of the mesh.
    Mutual,
    /// Nothing: it should be mutual TLS, and there is no certificate.
    Nothing,
}

/// A port of a workload, as filter chains need it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct InboundPort {
    /// The number.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// How bytes are passed on.
    pub options: TcpOptions,
    /// What is taken.
    pub takes: Takes,
    /// Whether HTTP is told from the rest.
    pub sniffed: bool,
    /// Whether first bytes are looked at: is it TLS.
    pub inspected: bool,
    /// Whether somebody says that it is there; else its connections go where they wanted to go.
    pub known: bool,
}

/// An inbound listener of its own, really bound.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct InboundListenerInputs {
    /// What it takes in.
    pub inbound: InboundInputs,
    /// The same, as filter chains need it.
    pub port: InboundPort,
    /// Whose workloads are known.
    pub trust: TrustDomains,
    /// How long first bytes are waited for, where they are looked at; none for ever.
    pub detection: Option<Duration>,
    /// How requests and connections are logged.
    pub log: Option<AccessLog>,
    /// The objects that say so.
    pub provenance: Provenance,
}

/// Where an application listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum InboundEndpoint {
    /// Where the connection wanted to go.
    Original,
    /// On an address of this machine; whether the connection there must say that it comes from the proxy.
    At(SocketAddr, bool),
    /// On a Unix socket.
    Socket(Arc<str>),
}

/// The listener that takes every captured incoming connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct VirtualInboundInputs {
    /// The addresses it binds to.
    pub binds: Vec<IpAddr>,
    /// The ports that have chains of their own, ascending.
    pub ports: Vec<InboundPort>,
    /// What is taken on all others.
    pub rest: Takes,
    /// Whose workloads are known.
    pub trust: TrustDomains,
    /// Ports on which the workload speaks first, ascending.
    pub server_first: Vec<u16>,
    /// Whether the proxy holds a certificate.
    pub certified: bool,
    /// The port it binds to.
    pub port: u16,
    /// How long first bytes are waited for; none for ever.
    pub detection: Option<Duration>,
    /// How requests and connections are logged.
    pub log: Option<AccessLog>,
    /// The objects that say so.
    pub provenance: Provenance,
}
