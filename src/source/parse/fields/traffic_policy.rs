//! The fields of a traffic policy, which rules and their subsets share, and of its blocks.

use super::{Field, Shape, TEXTS};
use Shape::{Choice, Duration, Flag, List, Map, Number, Object, Text, Whole};

/// `trafficPolicy`.
pub const POLICY: &[Field] = &[BALANCER, POOL, OUTLIER, TLS, PER_PORT, TUNNEL, PROXY_PROTOCOL, BUDGET];

const BALANCER: Field = Field::done("loadBalancer", Object(LOAD_BALANCER), "how an endpoint is picked");
const POOL: Field = Field::done("connectionPool", Object(CONNECTION_POOL), "limits towards the host");
const OUTLIER: Field =
    Field::done("outlierDetection", Object(OUTLIER_DETECTION), "when an endpoint is left alone for a while");
const TLS: Field = Field::done(
    "tls",
    Object(CLIENT_TLS),
    "how connections are made; none is mutual TLS of the mesh with workloads that take it, and without TLS with all others",
);
const PER_PORT: Field = Field::done(
    "portLevelSettings",
    List(&Object(PORT_POLICY)),
    "for the Service's ports of these numbers, in place of all of the four blocks around it",
);
const TUNNEL: Field = Field::refused("tunnel", Object(TUNNEL_SETTINGS), "connections would bypass the tunnel");
const PROXY_PROTOCOL: Field = Field::refused(
    "proxyProtocol",
    Object(&[Field::done("version", Choice(&["V1", "V2"]), "the PROXY protocol's version")]),
    "the host expects a header that would be missing",
);
const BUDGET: Field =
    Field::without("retryBudget", Object(RETRY_BUDGET), "retries are limited by connectionPool.http.maxRetries only");

const PORT_POLICY: &[Field] =
    &[Field::done("port", Object(PORT_SELECTOR), "the port these settings are for"), BALANCER, POOL, OUTLIER, TLS];

/// A port by number.
pub const PORT_SELECTOR: &[Field] = &[Field::done("number", Whole, "the port's number")];

const TUNNEL_SETTINGS: &[Field] = &[
    Field::done("protocol", Text, "CONNECT or POST"),
    Field::done("targetHost", Text, "the host at the far end"),
    Field::done("targetPort", Whole, "the port at the far end"),
];

const RETRY_BUDGET: &[Field] = &[
    Field::done("percent", Number, "active retries allowed, as a share of active requests"),
    Field::done("minRetryConcurrency", Whole, "retries allowed in any case"),
    Field::done("budgetInterval", Duration, "the window requests are counted in"),
];

/// By what endpoints are chosen for a proxy's place.
pub const PLACE: &str = "only what Services say of their traffic chooses endpoints by place";

const LOAD_BALANCER: &[Field] = &[
    Field::done(
        "simple",
        Choice(&["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"]),
        "ROUND_ROBIN, RANDOM, LEAST_REQUEST, which LEAST_CONN and UNSPECIFIED stand for as well, or PASSTHROUGH, the address asked for",
    ),
    Field::done("consistentHash", Object(CONSISTENT_HASH), "requests of one key go to one endpoint"),
    Field::without("localityLbSetting", Object(LOCALITY), PLACE),
    Field::without("zoneAwareLbSetting", Object(ZONE_AWARE), PLACE),
    Field::without("warmupDurationSecs", Duration, "new endpoints get their full share at once"),
    Field::without("warmup", Object(WARMUP), "new endpoints get their full share at once"),
];

const CONSISTENT_HASH: &[Field] = &[
    Field::done("httpHeaderName", Text, "the header that is hashed"),
    Field::done("httpCookie", Object(COOKIE), "the cookie that is hashed"),
    Field::done("useSourceIp", Flag, "whether the client's address is hashed"),
    Field::done("httpQueryParameterName", Text, "the query parameter that is hashed"),
    Field::done(
        "ringHash",
        Object(&[Field::done("minimumRingSize", Whole, "the ring's least size, 1024 if none")]),
        "ring hash, the default",
    ),
    Field::done(
        "maglev",
        Object(&[Field::done("tableSize", Whole, "the table's size, a prime; 65537 if none")]),
        "Maglev",
    ),
    Field::done("minimumRingSize", Whole, "deprecated form of ringHash.minimumRingSize"),
];

const COOKIE: &[Field] = &[
    Field::done("name", Text, "the cookie's name"),
    Field::done("path", Text, "the cookie's path"),
    Field::done("ttl", Duration, "the cookie's life"),
    Field::without("attributes", List(&Object(COOKIE_ATTRIBUTE)), "the cookie has name, path and life only"),
];

const COOKIE_ATTRIBUTE: &[Field] =
    &[Field::done("name", Text, "the attribute's name"), Field::done("value", Text, "the attribute's value")];

const FAILOVER: &[Field] =
    &[Field::done("from", Text, "the region that fails"), Field::done("to", Text, "the region that takes over")];

const LOCALITY: &[Field] = &[
    Field::done(
        "distribute",
        List(&Object(&[
            Field::done("from", Text, "the clients' locality"),
            Field::done("to", Map(&Whole), "shares by endpoint locality"),
        ])),
        "shares by locality",
    ),
    Field::done("failover", List(&Object(FAILOVER)), "which region takes over"),
    Field::done("failoverPriority", TEXTS, "labels whose agreement decides priority"),
    Field::done("enabled", Flag, "whether locality counts"),
];

const ZONE_AWARE: &[Field] = &[
    Field::done("enabled", Flag, "whether zones count"),
    Field::done("failover", List(&Object(FAILOVER)), "which region takes over"),
    Field::done("failoverPriority", TEXTS, "labels whose agreement decides priority"),
    Field::done("minClusterSize", Whole, "the least number of endpoints"),
];

const WARMUP: &[Field] = &[
    Field::done("duration", Duration, "how long an endpoint is new"),
    Field::done("minimumPercent", Number, "the share it begins with"),
    Field::done("aggression", Number, "how its share grows"),
];

/// `connectionPool`.
pub const CONNECTION_POOL: &[Field] = &[
    Field::done("tcp", Object(TCP), "limits of connections"),
    Field::done("http", Object(HTTP), "limits of requests"),
];

const TCP: &[Field] = &[
    Field::done("maxConnections", Whole, "connections to the host; none or 0 is no limit"),
    Field::done("connectTimeout", Duration, "how long connecting may take"),
    Field::done("tcpKeepalive", Object(KEEPALIVE), "TCP keepalive towards the host"),
    Field::done("maxConnectionDuration", Duration, "how old a connection may become"),
    Field::done("idleTimeout", Duration, "how long a connection may be idle"),
];

/// `tcpKeepalive`.
pub const KEEPALIVE: &[Field] = &[
    Field::done("probes", Whole, "probes without an answer before a connection is dead, at most 127"),
    Field::done("time", Duration, "idle time before the first probe, whole seconds up to 32767s"),
    Field::done("interval", Duration, "time between probes, whole seconds up to 32767s"),
];

const HTTP: &[Field] = &[
    Field::done("http1MaxPendingRequests", Whole, "requests that may wait; none or 0 is no limit"),
    Field::done("http2MaxRequests", Whole, "active requests; none or 0 is no limit"),
    Field::done("maxRequestsPerConnection", Whole, "requests on one connection; none or 0 is no limit"),
    Field::done("maxRetries", Whole, "active retries; none or 0 is no limit"),
    Field::done("idleTimeout", Duration, "how long a connection without requests is kept"),
    Field::without(
        "h2UpgradePolicy",
        Choice(&["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"]),
        "ports named http stay HTTP/1.1",
    )
    .except(&["\"DEFAULT\"", "\"DO_NOT_UPGRADE\""]),
    Field::without("useClientProtocol", Flag, "the port's protocol decides").except(&["false"]),
    Field::done("maxConcurrentStreams", Whole, "requests on one HTTP/2 connection at a time"),
    Field::without(
        "http2KeepAlive",
        Object(&[
            Field::done("interval", Duration, "time between pings"),
            Field::done("timeout", Duration, "how long an answer may take"),
        ]),
        "no HTTP/2 pings are sent",
    ),
];

const OUTLIER_DETECTION: &[Field] = &[
    Field::without(
        "consecutiveErrors",
        Whole,
        "deprecated in Istio; use consecutive5xxErrors or consecutiveGatewayErrors",
    ),
    Field::done("splitExternalLocalOriginErrors", Flag, "whether failures to connect are counted apart"),
    Field::done("consecutiveLocalOriginFailures", Whole, "failures to connect in a row, with the split only"),
    Field::done("consecutiveGatewayErrors", Whole, "502, 503 and 504 in a row; 0 turns the check off"),
    Field::done("consecutive5xxErrors", Whole, "5xx in a row; 0 turns the check off"),
    Field::done("interval", Duration, "time between sweeps"),
    Field::done("baseEjectionTime", Duration, "how long the first ejection lasts"),
    Field::done("maxEjectionPercent", Whole, "the share of endpoints that may be ejected"),
    Field::done("minHealthPercent", Whole, "below this share of healthy endpoints all are used; 0 turns that off"),
    Field::without("outlierDetectionHttpErrorCodes", List(&Whole), "every 5xx counts as an error and nothing else"),
];

const CLIENT_TLS: &[Field] = &[
    Field::done(
        "mode",
        Choice(&["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"]),
        "without TLS, with TLS, with a certificate of files as well, or with mutual TLS of the mesh",
    ),
    Field::done("clientCertificate", Text, "the proxy's file of the certificate it shows, with MUTUAL"),
    Field::done("privateKey", Text, "the proxy's file of its key, with MUTUAL"),
    Field::done("caCertificates", Text, "the proxy's file of the authorities trusted; those of its system if none"),
    Field::done(
        "credentialName",
        Text,
        "the Secret of the rule's namespace that stands for all files, with SIMPLE and MUTUAL, in a rule with a \
         workloadSelector; authorities are taken from the one of this name followed by -cacert, if there is one",
    ),
    Field::done(
        "subjectAltNames",
        TEXTS,
        "names one of which the server must have: DNS names, addresses, URIs; none is the service accounts of the host's \
         workloads with ISTIO_MUTUAL, else the host that is asked for where no sni is stated",
    ),
    Field::done("sni", Text, "what the server is asked for; none is the host of the request"),
    Field::done(
        "insecureSkipVerify",
        Flag,
        "whether the server's certificate is taken unchecked, with SIMPLE and MUTUAL",
    ),
    Field::done("caCrl", Text, "the proxy's file of revoked certificates, with SIMPLE and MUTUAL"),
];
