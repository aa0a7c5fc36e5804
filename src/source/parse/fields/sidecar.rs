//! The fields of a Sidecar's `spec`, as documented by Istio.

use super::traffic_policy::{CONNECTION_POOL, PORT_SELECTOR};
use super::{Field, Shape, TEXT_MAP, TEXTS};
use Shape::{Choice, Flag, List, Object, Text, Whole};

/// The fields.
pub const FIELDS: &[Field] = &[
    Field::done(
        "workloadSelector",
        Object(&[Field::done("labels", TEXT_MAP, "labels a workload must carry")]),
        "the workloads it is for; none is every workload of the namespace",
    ),
    Field::done("ingress", List(&Object(INGRESS)), "what the workload listens on"),
    Field::done("egress", List(&Object(EGRESS)), "what the workload sees; none is every service"),
    Field::done(
        "inboundConnectionPool",
        Object(CONNECTION_POOL),
        "limits of incoming connections; none is those that DestinationRules of the port's Service give everyone",
    ),
    Field::done(
        "outboundTrafficPolicy",
        Object(OUTBOUND),
        "what captured connections to unknown hosts may do; without interception they are refused",
    ),
];

const CAPTURE: Shape = Choice(&["DEFAULT", "IPTABLES", "NONE"]);

const INGRESS: &[Field] = &[
    Field::done("port", Object(PORT), "the port listened on"),
    Field::done(
        "bind",
        Text,
        "the address listened on where the port is really opened; none is all, or all of the Pod's where traffic is captured",
    ),
    Field::done("captureMode", CAPTURE, "NONE opens the port really, which happens anyway without interception"),
    Field::done(
        "defaultEndpoint",
        Text,
        "where the application listens: a loopback address, 0.0.0.0:port or [::]:port for the Pod's own, or unix:///path; \
         none is where captured connections wanted to go, else 127.0.0.1 and the same port",
    ),
    Field::refused("tls", Object(SERVER_TLS), "the port would be open without TLS"),
    Field::done(
        "connectionPool",
        Object(CONNECTION_POOL),
        "limits of incoming connections; none is inboundConnectionPool",
    ),
];

const EGRESS: &[Field] = &[
    Field::done("port", Object(PORT), "the port it is for; none is every port that no other entry is for"),
    Field::done(
        "bind",
        Text,
        "the address the services are at; none is their own, or a loopback address where the port is really opened",
    ),
    Field::done("captureMode", CAPTURE, "NONE opens the port really, which happens anyway without interception"),
    Field::done(
        "hosts",
        TEXTS,
        "the services seen, as namespace/host: * is any, . the workload's own namespace, ~/* none",
    ),
];

const PORT: &[Field] = &[
    Field::done("number", Whole, "the port's number"),
    Field::done(
        "protocol",
        Text,
        "HTTP, HTTP2, GRPC, GRPC-Web, HTTPS, TLS, TCP, MONGO, MYSQL or REDIS; none is what Services say, and for ingress nothing",
    ),
    Field::done("name", Text, "the port's name, which nothing depends on"),
    Field::without("targetPort", Whole, "deprecated in Istio and ignored there too"),
];

const OUTBOUND: &[Field] = &[
    Field::done("mode", Choice(&["REGISTRY_ONLY", "ALLOW_ANY"]), "whether unknown hosts can be reached"),
    Field::without("egressProxy", Object(DESTINATION), "traffic to unknown hosts goes where it wanted to go"),
];

const DESTINATION: &[Field] = &[
    Field::done("host", Text, "the host"),
    Field::done("subset", Text, "the subset"),
    Field::done("port", Object(PORT_SELECTOR), "the port"),
];

const TLS_MODE: Shape =
    Choice(&["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"]);

const TLS_VERSION: Shape = Choice(&["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]);

const SERVER_TLS: &[Field] = &[
    Field::done("httpsRedirect", Flag, "whether plain requests are redirected"),
    Field::done("mode", TLS_MODE, "how TLS is used"),
    Field::done("serverCertificate", Text, "file of the certificate"),
    Field::done("privateKey", Text, "file of the key"),
    Field::done("caCertificates", Text, "file of the authorities trusted"),
    Field::done("caCrl", Text, "file of revoked certificates"),
    Field::done("credentialName", Text, "the Secret that holds all three"),
    Field::done("credentialNames", TEXTS, "Secrets of several certificates"),
    Field::done("caCertCredentialName", Text, "the Secret of the authorities trusted"),
    Field::done("tlsCertificates", List(&Object(CERTIFICATE)), "several certificates by file"),
    Field::done("subjectAltNames", TEXTS, "names clients may have"),
    Field::done("verifyCertificateSpki", TEXTS, "hashes of keys clients may have"),
    Field::done("verifyCertificateHash", TEXTS, "hashes of certificates clients may have"),
    Field::done("minProtocolVersion", TLS_VERSION, "the oldest version"),
    Field::done("maxProtocolVersion", TLS_VERSION, "the newest version"),
    Field::done("cipherSuites", TEXTS, "the ciphers allowed"),
    Field::done("insecureSkipVerify", Flag, "whether clients' certificates are taken unchecked"),
];

const CERTIFICATE: &[Field] = &[
    Field::done("serverCertificate", Text, "file of the certificate"),
    Field::done("privateKey", Text, "file of the key"),
    Field::done("caCertificates", Text, "file of the authorities trusted"),
];
