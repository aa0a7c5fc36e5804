//! Settings of the mesh as a whole: Istio's MeshConfig, as far as it is understood.

use super::access_log::AccessLog;
use super::exports::Exports;
use super::name::Namespace;
use super::provenance::ObjectKey;
use super::selector::Selector;
use std::sync::Arc;
use std::time::Duration;

/// Ports that every proxy's bootstrap opens for itself: admin, readiness, statistics.
pub const STATIC_PORTS: [u16; 3] = [15000, 15021, 15090];

/// MeshConfig. Absent fields have Istio's defaults, which [`Mesh::default`] holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Mesh {
    /// `connectTimeout`: 10 s (Envoy: 5 s).
    pub connect_timeout: Duration,
    /// `dnsRefreshRate`: 60 s; how soon a name is looked up again whose answer doesn't say how long it holds.
    pub dns_refresh: Duration,
    /// `outboundTrafficPolicy.mode`.
    pub outbound: OutboundMode,
    /// `trustDomain`: `cluster.local`.
    pub trust_domain: Arc<str>,
    /// `trustDomainAliases`, in the order written.
    pub trust_domain_aliases: Vec<Arc<str>>,
    /// `enableAutoMtls`: whether clients speak mutual TLS to workloads that take it, where no rule says.
    pub auto_mtls: bool,
    /// `rootNamespace`: `istio-system`.
    pub root_namespace: Namespace,
    /// `proxyListenPort`: 15001.
    pub outbound_port: u16,
    /// `proxyInboundListenPort`: 15006.
    pub inbound_port: u16,
    /// `protocolDetectionTimeout`: 5 s; none, written as `0s`, waits for ever, which is Istio's default and hangs a protocol
    /// in which the server speaks first.
    pub detection_timeout: Option<Duration>,
    /// `defaultServiceExportTo`.
    pub service_exports: Exports,
    /// `defaultVirtualServiceExportTo`.
    pub virtual_service_exports: Exports,
    /// `defaultDestinationRuleExportTo`.
    pub destination_rule_exports: Exports,
    /// `accessLogFile`, `accessLogFormat`, `accessLogEncoding` and `disableEnvoyListenerLog`; none without a file.
    pub access_log: Option<AccessLog>,
    /// `discoverySelectors`: a namespace that none of them selects is not read; all are, if there are none.
    pub discovery: Box<[Selector]>,
}

/// What becomes of requests to hosts nobody has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum OutboundMode {
    /// They go where they were sent.
    #[default]
    AllowAny,
    /// They are refused.
    RegistryOnly,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            dns_refresh: Duration::from_secs(60),
            outbound: OutboundMode::default(),
            trust_domain: "cluster.local".into(),
            trust_domain_aliases: Vec::new(),
            auto_mtls: true,
            root_namespace: "istio-system".into(),
            outbound_port: 15001,
            inbound_port: 15006,
            detection_timeout: Some(Duration::from_secs(5)),
            service_exports: Exports::Everyone,
            virtual_service_exports: Exports::Everyone,
            destination_rule_exports: Exports::Everyone,
            access_log: None,
            discovery: Box::default(),
        }
    }
}

/// The domains whose identities count: the mesh's own first, then the others that it is known by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TrustDomains(Arc<[Arc<str>]>);

impl TrustDomains {
    /// What the names of all workloads begin with, for each domain.
    pub fn prefixes(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|domain| format!("spiffe://{domain}/"))
    }

    /// The names that workloads of a namespace have which run as a service account.
    pub fn names(&self, namespace: &Namespace, account: &str) -> impl Iterator<Item = Arc<str>> {
        self.0.iter().map(move |domain| format!("spiffe://{domain}/ns/{namespace}/sa/{account}").into())
    }
}

impl Mesh {
    /// The domains whose identities count.
    pub fn trust(&self) -> TrustDomains {
        TrustDomains(std::iter::once(&self.trust_domain).chain(&self.trust_domain_aliases).cloned().collect())
    }

    /// The key of the one object that holds the settings.
    pub fn key() -> ObjectKey {
        ObjectKey::mesh()
    }
}
