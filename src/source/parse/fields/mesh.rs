//! The fields of MeshConfig, as documented by Istio. What is not done is looked into only where a map without fields would say
//! something.

use super::traffic_policy::{KEEPALIVE, PLACE};
use super::virtual_service::RETRIES;
use super::{Field, Shape, TEXT_MAP, TEXTS};
use Shape::{Any, Choice, Duration, Flag, List, Object, Text, Whole};

/// The fields.
pub const FIELDS: &[Field] = &[
    Field::done("proxyListenPort", Whole, "where captured outgoing connections arrive; 15001 if none"),
    Field::done("proxyInboundListenPort", Whole, "where captured incoming connections arrive; 15006 if none"),
    Field::without("proxyHttpPort", Any, "proxies are no explicit HTTP proxy").except(&["0"]),
    Field::done("connectTimeout", Duration, "how long connecting may take where no DestinationRule says; 10s if none"),
    Field::without("hboneIdleTimeout", Any, "there are no HBONE tunnels"),
    Field::done(
        "protocolDetectionTimeout",
        Duration,
        "how long first bytes are waited for; 5s if none, for ever if 0s",
    ),
    Field::without("tcpKeepalive", Object(KEEPALIVE), "keepalive is set by DestinationRules only"),
    Field::without("ingressClass", Any, INGRESS),
    Field::without("ingressService", Any, INGRESS),
    Field::without("ingressControllerMode", Any, INGRESS),
    Field::without("ingressSelector", Any, INGRESS),
    Field::without("enableTracing", Any, "there are no traces").except(&["false"]),
    Field::done("accessLogFile", Text, "where proxies log: /dev/stdout or /dev/stderr; nowhere if none"),
    Field::done("accessLogFormat", Text, "what an entry says, with Envoy's command operators; Istio's default if none"),
    Field::done(
        "accessLogEncoding",
        Choice(&["TEXT", "JSON"]),
        "whether the format is a text or an object of JSON; TEXT if none",
    ),
    Field::without("enableEnvoyAccessLogService", Any, "logs are not sent to a service").except(&["false"]),
    Field::done(
        "disableEnvoyListenerLog",
        Flag,
        "whether connections for which a listener has no chain are left out of the log",
    ),
    Field::without("defaultConfig", Any, "chancery bootstrap has options of its own"),
    Field::done(
        "outboundTrafficPolicy",
        Object(&[Field::done("mode", Choice(&["REGISTRY_ONLY", "ALLOW_ANY"]), "whether unknown hosts can be reached")]),
        "what captured connections to unknown hosts may do; without interception they are refused",
    ),
    Field::without("inboundTrafficPolicy", Any, "Sidecar.ingress says where applications listen"),
    Field::without("configSources", Any, "objects come from one folder or one cluster, as flags say"),
    Field::done(
        "enableAutoMtls",
        Flag,
        "whether clients speak mutual TLS to workloads that take it where no DestinationRule says; true if none",
    ),
    Field::done("trustDomain", Text, "what the identities of workloads begin with; cluster.local if none"),
    Field::done("trustDomainAliases", TEXTS, "other trust domains whose identities count as well"),
    Field::without("caCertificates", Any, "the roots that proxies trust are those of chancery's own authority"),
    Field::done("defaultServiceExportTo", TEXTS, "for whom Services are that don't say; everyone if none"),
    Field::done(
        "defaultVirtualServiceExportTo",
        TEXTS,
        "for whom VirtualServices are that don't say; everyone if none",
    ),
    Field::done(
        "defaultDestinationRuleExportTo",
        TEXTS,
        "for whom DestinationRules are that don't say; everyone if none",
    ),
    Field::done(
        "rootNamespace",
        Text,
        "the namespace whose DestinationRules, PeerAuthentication and default Sidecar stand behind all others; istio-system if none",
    ),
    Field::without("localityLbSetting", Any, PLACE),
    Field::without("zoneAwareLbSetting", Any, PLACE),
    Field::done(
        "dnsRefreshRate",
        Duration,
        "how soon a name outside is looked up again whose answer doesn't say how long it holds; 60s if none",
    ),
    Field::without("h2UpgradePolicy", Any, "ports named http stay HTTP/1.1").except(&["\"DO_NOT_UPGRADE\""]),
    Field::without("inboundClusterStatName", Any, "statistics carry the cluster's name"),
    Field::without("outboundClusterStatName", Any, "statistics carry the cluster's name"),
    Field::without("certificates", Any, "deprecated in Istio"),
    Field::without("serviceSettings", Any, "there is one cluster of Kubernetes"),
    Field::without("serviceScopeConfigs", Any, "there is one cluster of Kubernetes"),
    Field::without("enablePrometheusMerge", Any, "proxies serve their own metrics only").except(&["false"]),
    Field::without("verifyCertificateAtClient", Any, "deprecated in Istio"),
    Field::without("ca", Any, "chancery's own authority signs the certificates of workloads"),
    Field::without("extensionProviders", Any, "nothing refers to providers yet"),
    Field::without("defaultProviders", Any, "nothing refers to providers yet"),
    Field::done(
        "discoverySelectors",
        List(&Object(SELECTOR)),
        "which namespaces are read, by their labels: those that any of these selects; all if none",
    ),
    Field::without("pathNormalization", Any, "paths are normalized as with BASE")
        .except(&[r#"{"normalization":"BASE"}"#]),
    Field::without("defaultHttpRetryPolicy", Object(RETRIES), "2 retries of what was not processed"),
    Field::without("meshMTLS", Any, "mutual TLS is of version 1.2 or 1.3, with Istio's suites"),
    Field::without("tlsDefaults", Any, "TLS is of version 1.2 or 1.3, with Envoy's suites"),
    Field::without("defaultTrafficPolicy", Any, "limits are set by DestinationRules only"),
    Field::without("serviceEntryVisibility", Any, "ServiceEntries are not read"),
];

const INGRESS: &str = "Ingress objects are not read";

const SELECTOR: &[Field] = &[
    Field::done("matchLabels", TEXT_MAP, "labels that must be there"),
    Field::done("matchExpressions", List(&Object(EXPRESSION)), "what else must be so, all of it"),
];

const EXPRESSION: &[Field] = &[
    Field::done("key", Text, "the label that is looked at"),
    Field::done("operator", Choice(&["In", "NotIn", "Exists", "DoesNotExist"]), "what must be so of its value"),
    Field::done("values", TEXTS, "the values of In and NotIn"),
];
