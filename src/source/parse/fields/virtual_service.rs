//! The fields of a VirtualService's `spec`, as documented by Istio.

use super::traffic_policy::PORT_SELECTOR;
use super::{Field, Shape, TEXT_MAP, TEXTS};
use Shape::{Choice, Duration, Flag, List, Map, Number, Object, Text, Whole};

/// The fields.
pub const FIELDS: &[Field] = &[
    Field::done("hosts", TEXTS, "the hosts it routes, 1,000 at most; a name without a dot is of its own namespace"),
    Field::done("gateways", TEXTS, "where it applies; it acts for sidecars when this is absent or has mesh"),
    Field::done("http", List(&Object(ROUTE)), "rules for requests, the first that matches applies"),
    Field::refused("tls", List(&Object(TLS_ROUTE)), "connections would not go where the rules send them"),
    Field::refused("tcp", List(&Object(TCP_ROUTE)), "connections would not go where the rules send them"),
    Field::done(
        "exportTo",
        TEXTS,
        "the namespaces whose proxies it acts for: names, . for its own, * for all, ~ for none",
    ),
];

const ROUTE: &[Field] = &[
    Field::done("name", Text, "the rule's name in logs"),
    Field::done("match", List(&Object(MATCH)), "the requests it is for; none is all"),
    Field::done("route", List(&Object(WEIGHTED)), "where the requests go, by weight"),
    Field::refused("redirect", Object(REDIRECT), "requests would be forwarded instead of redirected"),
    Field::refused("directResponse", Object(DIRECT_RESPONSE), "requests would be forwarded instead of answered"),
    Field::refused(
        "delegate",
        Object(&[
            Field::done("name", Text, "the delegate's name"),
            Field::done("namespace", Text, "the delegate's namespace"),
        ]),
        "the delegate's rules would be missing",
    ),
    Field::refused("rewrite", Object(REWRITE), "the host would get requests it doesn't expect").except(NOTHING),
    Field::done(
        "timeout",
        Duration,
        "how long a request may take; none, or 0s, which only a folder can hold, is without end",
    ),
    Field::without("retries", Object(RETRIES), "the default applies: 2 retries of what was not processed"),
    Field::without("fault", Object(FAULT), "nothing is delayed").except(NOTHING),
    Field::without("mirror", Object(DESTINATION), "requests are not mirrored"),
    Field::without("mirrors", List(&Object(MIRROR)), "requests are not mirrored"),
    Field::without("mirrorPercent", Whole, "requests are not mirrored"),
    Field::without("mirrorPercentage", PERCENT, "requests are not mirrored"),
    Field::without("corsPolicy", Object(CORS), "preflight requests reach the application, answers get no CORS headers")
        .except(NOTHING),
    Field::refused("headers", Object(HEADERS), "the host would get headers it doesn't expect").except(NOTHING),
];

/// A map without fields, where it asks for no more than none does.
const NOTHING: &[&str] = &["{}"];

const MATCH: &[Field] = &[
    Field::done("name", Text, "the match's name in logs"),
    Field::done("uri", STRING_MATCH, "the path"),
    Field::refused("scheme", STRING_MATCH, NARROWER).except(NOTHING),
    Field::done("method", STRING_MATCH, "the method"),
    Field::refused("authority", STRING_MATCH, NARROWER).except(NOTHING),
    Field::done("headers", Map(&STRING_MATCH), "headers; a condition without a kind asks for presence"),
    Field::refused("port", Whole, NARROWER).except(&["0"]),
    Field::refused("sourceLabels", TEXT_MAP, NARROWER),
    Field::refused("gateways", TEXTS, NARROWER).except(&["[\"mesh\"]"]),
    Field::refused("queryParams", Map(&STRING_MATCH), NARROWER),
    Field::refused("ignoreUriCase", Flag, "it would match fewer requests").except(&["false"]),
    Field::refused("withoutHeaders", Map(&STRING_MATCH), NARROWER),
    Field::refused("sourceNamespace", Text, NARROWER).except(&["\"\""]),
    Field::without("statPrefix", Text, "there are no statistics of its own"),
];

const NARROWER: &str = "without this condition it would match more requests";

const STRING_MATCH: Shape = Object(&[
    Field::done("exact", Text, "equal"),
    Field::done("prefix", Text, "begins with these bytes"),
    Field::done("regex", Text, "matches this RE2 expression in full"),
]);

const DESTINATION: &[Field] = &[
    Field::done("host", Text, "the host; a name without a dot is of the object's own namespace"),
    Field::done("subset", Text, "a subset that a DestinationRule of the host defines"),
    Field::done("port", Object(PORT_SELECTOR), "the port; none is the one asked for"),
];

const WEIGHTED: &[Field] = &[
    Field::done("destination", Object(DESTINATION), "where requests go"),
    Field::done("weight", Whole, "the share of requests, relative to the sum of all"),
    Field::refused("headers", Object(HEADERS), "the host would get headers it doesn't expect").except(NOTHING),
];

const REDIRECT: &[Field] = &[
    Field::done("uri", Text, "the path redirected to"),
    Field::done("authority", Text, "the host redirected to"),
    Field::done("port", Whole, "the port redirected to"),
    Field::done("derivePort", Choice(&["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"]), "where the port comes from"),
    Field::done("scheme", Text, "the scheme redirected to"),
    Field::done("redirectCode", Whole, "the status"),
    Field::done("prefixRewrite", Text, "what replaces the prefix that matched"),
];

const DIRECT_RESPONSE: &[Field] = &[
    Field::done("status", Whole, "the status"),
    Field::done(
        "body",
        Object(&[Field::done("string", Text, "the body as text"), Field::done("bytes", Text, "the body in base64")]),
        "the body",
    ),
];

const REWRITE: &[Field] = &[
    Field::done("uri", Text, "what replaces the path or prefix"),
    Field::done("authority", Text, "what replaces the host"),
    Field::done(
        "uriRegexRewrite",
        Object(&[
            Field::done("match", Text, "the expression"),
            Field::done("rewrite", Text, "what replaces what it matches"),
        ]),
        "replaces parts of the path",
    ),
];

/// `retries`.
pub const RETRIES: &[Field] = &[
    Field::done("attempts", Whole, "how many"),
    Field::done("perTryTimeout", Duration, "how long each may take"),
    Field::done("retryOn", Text, "what is retried"),
    Field::done("retryRemoteLocalities", Flag, "whether other localities are tried"),
    Field::done("retryIgnorePreviousHosts", Flag, "whether the endpoints tried are avoided"),
    Field::done("backoff", Duration, "the pause before the first"),
];

const PERCENT: Shape = Object(&[Field::done("value", Number, "percent")]);

const FAULT: &[Field] = &[
    Field::done(
        "delay",
        Object(&[
            Field::done("percent", Whole, "deprecated form of percentage"),
            Field::done("fixedDelay", Duration, "how long"),
            Field::done("exponentialDelay", Duration, "how long on average; not implemented in Istio"),
            Field::done("percentage", PERCENT, "the share of requests"),
        ]),
        "delays requests",
    ),
    Field::refused(
        "abort",
        Object(&[
            Field::done("httpStatus", Whole, "the status answered"),
            Field::done("grpcStatus", Text, "the gRPC status answered"),
            Field::done("http2Error", Text, "the HTTP/2 error; not implemented in Istio"),
            Field::done("percentage", PERCENT, "the share of requests"),
        ]),
        "requests meant to fail would reach the host",
    )
    .except(NOTHING),
];

const MIRROR: &[Field] = &[
    Field::done("destination", Object(DESTINATION), "where copies go"),
    Field::done("percentage", PERCENT, "the share of requests"),
];

const CORS: &[Field] = &[
    Field::done("allowOrigin", TEXTS, "deprecated form of allowOrigins"),
    Field::done("allowOrigins", List(&STRING_MATCH), "origins allowed"),
    Field::done("allowMethods", TEXTS, "methods allowed"),
    Field::done("allowHeaders", TEXTS, "request headers allowed"),
    Field::done("exposeHeaders", TEXTS, "response headers shown"),
    Field::done("maxAge", Duration, "how long answers may be kept"),
    Field::done("allowCredentials", Flag, "whether credentials are allowed"),
    Field::done(
        "unmatchedPreflights",
        Choice(&["UNSPECIFIED", "FORWARD", "IGNORE"]),
        "what becomes of other preflights",
    ),
];

const HEADER_OPERATIONS: Shape = Object(&[
    Field::done("set", TEXT_MAP, "headers set"),
    Field::done("add", TEXT_MAP, "headers added"),
    Field::done("remove", TEXTS, "headers removed"),
]);

const HEADERS: &[Field] = &[
    Field::done("request", HEADER_OPERATIONS, "changes of requests"),
    Field::done("response", HEADER_OPERATIONS, "changes of responses"),
];

const TLS_ROUTE: &[Field] = &[
    Field::done(
        "match",
        List(&Object(&[
            Field::done("sniHosts", TEXTS, "names asked for"),
            Field::done("destinationSubnets", TEXTS, "addresses connected to"),
            Field::done("port", Whole, "the port connected to"),
            Field::done("sourceLabels", TEXT_MAP, "labels of clients"),
            Field::done("gateways", TEXTS, "where it applies"),
            Field::done("sourceNamespace", Text, "the clients' namespace"),
        ])),
        "the connections it is for",
    ),
    Field::done("route", List(&Object(L4_WEIGHTED)), "where they go, by weight"),
];

const TCP_ROUTE: &[Field] = &[
    Field::done(
        "match",
        List(&Object(&[
            Field::done("destinationSubnets", TEXTS, "addresses connected to"),
            Field::done("port", Whole, "the port connected to"),
            Field::done("sourceSubnet", Text, "addresses connected from"),
            Field::done("sourceLabels", TEXT_MAP, "labels of clients"),
            Field::done("gateways", TEXTS, "where it applies"),
            Field::done("sourceNamespace", Text, "the clients' namespace"),
        ])),
        "the connections it is for",
    ),
    Field::done("route", List(&Object(L4_WEIGHTED)), "where they go, by weight"),
];

const L4_WEIGHTED: &[Field] = &[
    Field::done("destination", Object(DESTINATION), "where connections go"),
    Field::done("weight", Whole, "the share of connections"),
];
