//! Formats: good ones by table and shape, bad ones by hand, random ones from pieces of both.

use chancery::source::parse::log_format::operators::{OPERATORS, PLAIN};
use chancery::source::parse::log_format::shape::Shape;

/// Every operator, with arguments of every form its shape has, with and without a length.
pub fn good() -> Vec<String> {
    let plain = PLAIN.iter().flat_map(|name| [format!("%{name}%"), format!("%{name}()%")]);
    let others = OPERATORS.iter().flat_map(|operator| {
        let lengths: &[&str] = if operator.length { &["", ":0", ":7", ":18446744073709551615"] } else { &[""] };
        let all = arguments(operator.shape).iter().flat_map(move |arguments| {
            lengths.iter().map(move |length| format!("%{}{arguments}{length}%", operator.name))
        });
        all.collect::<Vec<_>>()
    });
    let texts =
        ["", "\n", "plain", "100%%", "%%%%", "%%REQ(X)%%", "a%%%REQ(X)%", "x\n\t%PROTOCOL%é\n", "%REQ(X)%%REQ(Y)%"];
    plain.chain(others).chain(texts.map(str::to_owned)).filter(|text| !text.is_empty()).collect()
}

fn arguments(shape: Shape) -> &'static [&'static str] {
    match shape {
        Shape::Nothing => &["", "()"],
        Shape::Header => &["(X)", "(X?Y)", "(:AUTHORITY)", "(x-a?:path)", "(!#$&'*+-.^_`|~)", "(X?)"],
        Shape::Time => {
            &["", "()", "(%Y-%m-%dT%H:%M:%S.%3f%z)", "(%s.%6f)", "(%f)", "(plain)", "(%aAbB %C,%e|%j)", "( )"]
        }
        Shape::Span => &["(DS_RX_BEG:DS_RX_END)", "(DS_RX_BEG:US_TX_END:us)", "(own.point:US_CX_BEG:ms)", "(a:b:ns)"],
        Shape::State => &["(key)", "(a.b:PLAIN)", "(a b:TYPED)", "(key:FIELD:name)"],
        Shape::Metadata => &["(a.b)", "(a.b:c)", "(a:b:c:d)"],
        Shape::MetadataOf => &[
            "(DYNAMIC:a)",
            "(CLUSTER:a:b)",
            "(ROUTE:a:b:c)",
            "(UPSTREAM_HOST:a.b:c)",
            "(LISTENER:a)",
            "(VIRTUAL_HOST:a:b)",
        ],
        Shape::Path => &["", "()", "(WQ)", "(NQ)", "(WQ:ORIG)", "(NQ:PATH)", "(NQ:ORIG_OR_PATH)", "(:PATH)"],
        Shape::Word(["CAMEL_STRING", ..]) => &["", "()", "(CAMEL_STRING)", "(SNAKE_STRING)", "(NUMBER)"],
        Shape::Word(_) => &["", "()", "(ALLOW_WHITESPACES)"],
        Shape::Name => &["(a)", "(a b)", "(A%B)", "(é)"],
    }
}

/// Objects of JSON.
pub const OBJECTS: &[&str] = &[
    "{}",
    r#"{"path": "%REQ(:PATH)%", "100%": "100%%"}"#,
    r#"{"a": {"b": ["%PROTOCOL%", {"c": "%RESPONSE_CODE%"}, [1, 2.5, true, null]], "d": {}}, "": ""}"#,
];

/// What every Envoy refuses, and what is said of it here.
pub const BAD: &[(&str, &str)] = &[
    ("%", "begins no operator"),
    ("100%", "begins no operator"),
    ("%%%", "begins no operator"),
    ("%NOPE%", "\"%NOPE%\" is not an operator"),
    ("%protocol%", "begins no operator"),
    ("% REQ(X)%", "begins no operator"),
    ("%REQ(X) %", "begins no operator"),
    ("%REQ(X", "begins no operator"),
    ("%REQ(X)", "begins no operator"),
    ("%REQ(X%", "begins no operator"),
    ("%REQ(X)Y%", "begins no operator"),
    ("%REQ:5(X)%", "begins no operator"),
    ("%REQ(X):5:6%", "begins no operator"),
    ("%REQ(X):-1%", "begins no operator"),
    ("%REQ(X):+1%", "begins no operator"),
    ("%REQ(X):a%", "begins no operator"),
    ("%REQ(X):%", "begins no operator"),
    ("%REQ(X):18446744073709551616%", "begins no operator"),
    ("%REQ(X)%PROTOCOL%", "begins no operator"),
    ("%REQ(a\nb)%", "begins no operator"),
    ("%START_TIME(%Y)", "begins no operator"),
    ("%START_TIME(a)%b)%", "begins no operator"),
    ("a %REQ(X) b %REQ(Y)% c", "is a % missing?"),
    ("%REQ%", "takes the name of a header"),
    ("%REQ()%", "takes the name of a header"),
    ("%REQ(a b)%", "takes the name of a header"),
    ("%REQ( X)%", "takes the name of a header"),
    ("%REQ(::a)%", "takes the name of a header"),
    ("%REQ(:)%", "takes the name of a header"),
    ("%REQ(a=b)%", "takes the name of a header"),
    ("%REQ(é)%", "takes the name of a header"),
    ("%REQ(X?Y?Z)%", "takes the name of a header"),
    ("%RESP(a/b)%", "takes the name of a header"),
    ("%TRAILER(\"a\")%", "takes the name of a header"),
    ("%REQ((X)%", "has brackets"),
    ("%REQ(a\0b)%", "control character"),
    ("%START_TIME(%n)%", "takes a format of time"),
    ("%START_TIME(%%n)%", "takes a format of time"),
    ("%START_TIME(%-n)%", "takes a format of time"),
    ("%START_TIME(%En)%", "takes a format of time"),
    ("%START_TIME(%9n)%", "takes a format of time"),
    ("%EMIT_TIME(%0n)%", "takes a format of time"),
    ("%DOWNSTREAM_PEER_CERT_V_START(%n)%", "takes a format of time"),
    ("%START_TIME(%Y):5%", "can't be cut"),
    ("%COMMON_DURATION%", "takes two points in time"),
    ("%COMMON_DURATION(a)%", "takes two points in time"),
    ("%COMMON_DURATION(a:b:s)%", "takes two points in time"),
    ("%COMMON_DURATION(a:b:MS)%", "takes two points in time"),
    ("%COMMON_DURATION(a:b:)%", "takes two points in time"),
    ("%COMMON_DURATION(a:b:ms:c)%", "takes two points in time"),
    ("%COMMON_DURATION(a:b:ms):3%", "can't be cut"),
    ("%FILTER_STATE%", "takes a key"),
    ("%FILTER_STATE():5%", "takes a key"),
    ("%FILTER_STATE(:PLAIN)%", "takes a key"),
    ("%FILTER_STATE(a:X)%", "takes a key"),
    ("%FILTER_STATE(a:plain)%", "takes a key"),
    ("%FILTER_STATE(a:FIELD)%", "takes a key"),
    ("%FILTER_STATE(a:PLAIN:b)%", "takes a key"),
    ("%UPSTREAM_FILTER_STATE(a:X)%", "takes a key"),
    ("%DYNAMIC_METADATA%", "takes a namespace"),
    ("%CLUSTER_METADATA(a:b):5%", "can't be cut"),
    ("%UPSTREAM_METADATA(a:b):5%", "can't be cut"),
    ("%METADATA%", "takes an owner"),
    ("%METADATA(dynamic:a)%", "takes an owner"),
    ("%METADATA(X:a)%", "takes an owner"),
    ("%METADATA(:a)%", "takes an owner"),
    ("%PATH(XX)%", "takes WQ or NQ"),
    ("%PATH(nq)%", "takes WQ or NQ"),
    ("%PATH(NQ:X)%", "takes WQ or NQ"),
    ("%GRPC_STATUS(number)%", "takes nothing or CAMEL_STRING"),
    ("%GRPC_STATUS:3%", "can't be cut"),
    ("%RESPONSE_CODE_DETAILS:3%", "can't be cut"),
    ("%QUERY_PARAM%", "takes a name"),
    ("%QUERY_PARAM()%", "takes a name"),
    ("%ENVIRONMENT%", "takes a name"),
    ("%ENVIRONMENT():3%", "takes a name"),
    ("%PROTOCOL(X)%", "takes no arguments"),
    ("%PROTOCOL( )%", "takes no arguments"),
    ("%PROTOCOL:5%", "can't be cut"),
    ("%PROTOCOL():5%", "can't be cut"),
    ("%REQ_WITHOUT_QUERY(X)%", "write %PATH(NQ)% instead"),
];

/// What the newest Envoy takes and the oldest doesn't.
pub const NEWER: &[&str] = &[
    "%SPAN_ID%",
    "%UPSTREAM_HOSTS_ATTEMPTED%",
    "%DOWNSTREAM_TLS_GROUP%",
    "%REQUEST_HEADER(X)%",
    "%RESPONSE_TRAILER(X?Y):5%",
    "%QUERY_PARAMS%",
    "%COALESCE({\"operators\": [\"PROTOCOL\"]})%",
    "%REQUESTED_SERVER_NAME(SNI_FIRST:ORIG)%",
    "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(16)%",
    "%DYNAMIC_METADATA(a:b):5%",
    "%METADATA(LISTENER_FILTER_CHAIN:a)%",
];

/// What Envoys take, and what means nothing or can't be checked.
pub const NARROWER: &[&str] = &[
    "%REQ(?Y)%",
    "%REQ(?)%",
    "%START_TIME(%)%",
    "%START_TIME(%Q)%",
    "%START_TIME(a)b)%",
    "%COMMON_DURATION(::ms)%",
    "%FILTER_STATE(a::)%",
    "%DYNAMIC_METADATA(:)%",
    "%METADATA(DYNAMIC)%",
    "%PATH(NQ:PATH:x)%",
    "%RESPONSE_CODE_DETAILS(x)%",
    "%CEL(request.path)%",
    "%ENVIRONMENT(a\u{1}b)%",
];

/// Numbers below the one given, always the same ones.
pub fn draw() -> impl FnMut(usize) -> usize {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).expect("small")
    }
}

/// Texts put together from pieces, always the same ones.
pub fn random(count: usize) -> Vec<String> {
    let mut draw = draw();
    let good = good();
    let pieces =
        ["%", "%%", "(", ")", ":", "?", "X", "a", "5", " ", "\n", ":7", "%Y", "%n", "ms", "PLAIN", "FIELD", "é", "-"];
    let one = |_| {
        let mut text = String::new();
        for _ in 0..=draw(3) {
            text.push_str(&good[draw(good.len())]);
            if draw(2) == 0 {
                text.push_str(pieces[draw(pieces.len())]);
            }
        }
        // One edit in the middle, more often than not.
        if draw(3) > 0 {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let at = places[draw(places.len())];
            match draw(2) {
                0 => text.insert_str(at, pieces[draw(pieces.len())]),
                _ => drop(text.remove(at)),
            }
        }
        text
    };
    (0..count).map(one).collect()
}
