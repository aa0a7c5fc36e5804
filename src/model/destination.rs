//! DestinationRules: how a client treats the endpoints of a host.

use super::exports::Exports;
use super::labels::Labels;
use super::name::Host;
use super::provenance::ObjectKey;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A DestinationRule.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DestinationRule {
    /// The host it applies to, resolved.
    pub host: Host,
    /// `trafficPolicy`.
    pub policy: TrafficPolicy,
    /// `subsets`, in the order written; names are unique.
    pub subsets: Vec<Subset>,
    /// `exportTo`; absent means the mesh's default.
    pub exports: Option<Exports>,
    /// `workloadSelector`: labels of the only workloads it is for, which are of its own namespace; absent is for all.
    pub selector: Option<Labels>,
}

impl DestinationRule {
    /// The Secrets that it lets its workloads connect with: only a rule that says which these are has any.
    pub fn credentials(&self) -> impl Iterator<Item = (&ServerTls, &Credential)> {
        let policies = std::iter::once(&self.policy).chain(self.subsets.iter().map(|subset| &subset.policy));
        policies.filter(|_| self.selector.is_some()).flat_map(TrafficPolicy::credentials)
    }
}

/// A named part of a host's endpoints.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Subset {
    /// The subset's name.
    pub name: Arc<str>,
    /// Labels a Pod must carry; none selects all endpoints.
    pub labels: Labels,
    /// `trafficPolicy` of the subset, laid over the rule's block by block.
    pub policy: TrafficPolicy,
}

/// Policy towards a host; an absent block means Istio's default.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TrafficPolicy {
    /// `loadBalancer`.
    pub load_balancer: Option<LoadBalancer>,
    /// `connectionPool`.
    pub connection_pool: Option<ConnectionPool>,
    /// `outlierDetection`.
    pub outlier_detection: Option<OutlierDetection>,
    /// `tls`; absent leaves it to whether workloads take mutual TLS.
    pub tls: Option<ClientTls>,
    /// `portLevelSettings`, by the Service's port; these have none of their own.
    pub ports: BTreeMap<u16, TrafficPolicy>,
}

impl TrafficPolicy {
    /// The policy towards a port: what is said for it, and nothing else, where anything is (Istio's rule).
    pub fn on(&self, port: u16) -> TrafficPolicy {
        let general = || TrafficPolicy { ports: BTreeMap::new(), ..self.clone() };
        self.ports.get(&port).cloned().unwrap_or_else(general)
    }

    /// This policy towards a port with each block of `over` in place of its own, where `over` has it; what `over` says for
    /// the port takes the place of all of them (Istio's subset rule).
    pub fn overlaid(&self, over: &TrafficPolicy, port: u16) -> TrafficPolicy {
        if let Some(own) = over.ports.get(&port) {
            return own.clone();
        }
        TrafficPolicy {
            load_balancer: over.load_balancer.clone().or_else(|| self.load_balancer.clone()),
            connection_pool: over.connection_pool.clone().or_else(|| self.connection_pool.clone()),
            outlier_detection: over.outlier_detection.clone().or_else(|| self.outlier_detection.clone()),
            tls: over.tls.clone().or_else(|| self.tls.clone()),
            ports: BTreeMap::new(),
        }
    }

    /// The Secrets that connections are made with.
    pub fn credentials(&self) -> impl Iterator<Item = (&ServerTls, &Credential)> {
        self.all_tls().filter_map(|tls| match tls {
            ClientTls::Server(server) => Some((server, server.credential.as_ref()?)),
            _ => None,
        })
    }

    /// Every word on TLS in it.
    pub fn all_tls(&self) -> impl Iterator<Item = &ClientTls> {
        self.tls.iter().chain(self.ports.values().filter_map(|policy| policy.tls.as_ref()))
    }
}

/// `tls`: how connections are made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClientTls {
    /// `DISABLE`: without TLS.
    Disable,
    /// `ISTIO_MUTUAL`: mutual TLS of the mesh.
    Mesh {
        /// `sni`; absent is that of the port, the subset and the host.
        sni: Option<Arc<str>>,
        /// `subjectAltNames`; none is the service accounts of the host's workloads.
        names: Vec<Arc<str>>,
    },
    /// `SIMPLE` and `MUTUAL`: TLS with other authorities.
    Server(ServerTls),
}

/// TLS to a server that other authorities vouch for than the mesh's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerTls {
    /// `clientCertificate` and `privateKey`: files of the proxy; none shows no certificate of a file.
    pub certificate: Option<(Arc<str>, Arc<str>)>,
    /// `credentialName`: a Secret that stands for all files.
    pub credential: Option<Credential>,
    /// `sni`; absent is the host that a request is for.
    pub sni: Option<Arc<str>>,
    /// How the server is checked.
    pub check: ServerCheck,
}

/// A Secret that is connected with.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Credential {
    /// Which: one of the rule's own namespace.
    pub secret: ObjectKey,
    /// Whether its certificate is shown, as with `MUTUAL`.
    pub shown: bool,
}

impl ServerTls {
    /// Whether the Secret must hold authorities, by which the server is checked.
    pub fn takes_authorities(&self) -> bool {
        self.credential.is_some() && self.check != ServerCheck::Unchecked
    }
}

/// How a server's certificate is checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ServerCheck {
    /// `insecureSkipVerify`: not at all.
    Unchecked,
    /// It has to be good.
    Checked {
        /// `caCertificates`: a file of the proxy; absent is those of its system.
        authorities: Option<Arc<str>>,
        /// `caCrl`: a file of the proxy.
        revoked: Option<Arc<str>>,
        /// `subjectAltNames`; none is the host that a request is for, if no SNI is stated either.
        names: Vec<Arc<str>>,
    },
}

/// `loadBalancer`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum LoadBalancer {
    /// The endpoint with fewer requests of two picked at random: Istio's default.
    #[default]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// None: the address the client asked for.
    Passthrough,
    /// By a hash of something the client says, so that the same goes to the same endpoint.
    ConsistentHash {
        /// What is hashed.
        key: HashKey,
        /// Where the hash is looked up.
        table: HashTable,
    },
}

/// What a consistent hash is taken of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HashKey {
    /// The header of that name.
    Header(Arc<str>),
    /// A cookie.
    Cookie {
        /// Its name.
        name: Arc<str>,
        /// Its path; may be empty.
        path: Arc<str>,
        /// How long a cookie the proxy makes lives, zero for the session; absent means that it makes none.
        ttl: Option<Duration>,
    },
    /// The client's address.
    SourceIp,
    /// The query parameter of that name.
    QueryParameter(Arc<str>),
}

/// Where a consistent hash finds its endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HashTable {
    /// A ring of at least that many entries, 1024 where nothing is said.
    Ring(u32),
    /// A Maglev table of that size, a prime; absent is Envoy's 65537.
    Maglev(Option<u32>),
}

/// `connectionPool`: limits; `None` and zero mean no limit.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ConnectionPool {
    /// `tcp.maxConnections`.
    pub max_connections: Option<u32>,
    /// `tcp.connectTimeout`.
    pub connect_timeout: Option<Duration>,
    /// `tcp.tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `tcp.idleTimeout`.
    pub tcp_idle_timeout: Option<Duration>,
    /// `tcp.maxConnectionDuration`.
    pub tcp_max_connection_duration: Option<Duration>,
    /// `http.http1MaxPendingRequests`.
    pub max_pending_requests: Option<u32>,
    /// `http.http2MaxRequests`.
    pub max_requests: Option<u32>,
    /// `http.maxRequestsPerConnection`.
    pub max_requests_per_connection: Option<u32>,
    /// `http.maxRetries`.
    pub max_retries: Option<u32>,
    /// `http.idleTimeout`, which wins over the TCP one in HTTP options.
    pub http_idle_timeout: Option<Duration>,
    /// `http.maxConcurrentStreams`, for HTTP/2 ports.
    pub max_concurrent_streams: Option<u32>,
}

/// `connectionPool.tcp.tcpKeepalive`; absent values are the operating system's.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct TcpKeepalive {
    /// Probes without an answer before the connection is dead.
    pub probes: Option<u32>,
    /// Idle time before the first probe, whole seconds.
    pub time: Option<Duration>,
    /// Time between probes, whole seconds.
    pub interval: Option<Duration>,
}

/// `outlierDetection`; absent values are Envoy's defaults unless said.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct OutlierDetection {
    /// `consecutive5xxErrors`: absent keeps Envoy's 5, zero turns the check off.
    pub consecutive_5xx: Option<u32>,
    /// `consecutiveGatewayErrors`: absent or zero turns the check off.
    pub consecutive_gateway_errors: Option<u32>,
    /// `splitExternalLocalOriginErrors`.
    pub split_external_local_origin_errors: bool,
    /// `consecutiveLocalOriginFailures`, with the split only.
    pub consecutive_local_origin_failures: Option<u32>,
    /// `interval`.
    pub interval: Option<Duration>,
    /// `baseEjectionTime`.
    pub base_ejection_time: Option<Duration>,
    /// `maxEjectionPercent`.
    pub max_ejection_percent: Option<u32>,
    /// `minHealthPercent`: the panic threshold; absent is 0, panic off.
    pub min_health_percent: Option<u32>,
}
