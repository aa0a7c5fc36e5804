//! The rules' data: the rooms of the house and who may use whom, the caps, and the named exceptions to them.

use super::source::Violation;

/// A top-level module and what it may use.
pub struct Room {
    /// The module's name.
    pub name: &'static str,
    /// What of ours it may use besides itself; `*` stands for everything.
    pub may: &'static [&'static str],
    /// What of others it must not use, by path prefix.
    pub never: &'static [&'static str],
}

/// Who may use whom. A new top-level module gets a line here first.
pub const ROOMS: &[Room] = &[
    Room {
        name: "model",
        may: &[],
        never: &["kube", "k8s_openapi", "envoy_types", "prost", "tokio", "tonic", "axum", "tracing", "std::fs"],
    },
    Room { name: "source", may: &["model", "telemetry"], never: &["envoy_types", "prost", "tonic"] },
    Room { name: "keeper", may: &["model", "telemetry"], never: &["kube", "k8s_openapi", "envoy_types", "tonic"] },
    Room {
        name: "snapshot",
        may: &["model::audience", "model::provenance", "model::name"],
        never: &["kube", "k8s_openapi", "tonic", "axum", "tracing", "std::fs"],
    },
    Room {
        name: "translate",
        may: &["model", "snapshot::kind", "snapshot::fragments", "snapshot::resource", "snapshot::set"],
        never: &[
            "kube",
            "k8s_openapi",
            "tokio",
            "tonic",
            "tracing",
            "rand",
            "prost::Message",
            "std::time::Instant",
            "std::time::SystemTime",
            "std::fs",
            "std::io",
            "std::thread",
            "std::net::TcpListener",
            "std::net::TcpStream",
            "std::net::UdpSocket",
        ],
    },
    Room {
        name: "publish",
        may: &["model", "translate", "snapshot", "telemetry", "alarm"],
        never: &["kube", "k8s_openapi", "envoy_types", "tonic"],
    },
    Room {
        name: "xds",
        may: &[
            "snapshot",
            "model::audience",
            "model::identity",
            "model::name",
            "model::provenance",
            "model::problem",
            "model::reach",
            "telemetry",
            "alarm",
        ],
        never: &["kube", "k8s_openapi"],
    },
    Room {
        name: "peers",
        may: &["ca::key", "model::name", "model::problem", "model::provenance", "model::reach", "telemetry"],
        never: &["envoy_types", "tonic"],
    },
    Room { name: "ca", may: &["model::sensitive"], never: &["kube", "k8s_openapi", "tokio", "envoy_types"] },
    Room {
        name: "tokens",
        may: &["ca::key", "model::identity", "model::sensitive"],
        never: &["kube", "k8s_openapi", "tokio", "envoy_types", "std::fs"],
    },
    Room {
        name: "status",
        // Of the source what it tells of objects: what is wrong, and what is stored of them.
        may: &[
            "model::name",
            "model::problem",
            "model::provenance",
            "model::reach",
            "source::finding",
            "source::kubernetes::inventory",
            "source::kubernetes::kinds",
            "telemetry",
        ],
        never: &["envoy_types", "tonic"],
    },
    Room {
        name: "admin",
        // The read handles, each by name: whatever could change anything is not among them.
        may: &[
            "model",
            "peers",
            "snapshot::kind",
            "snapshot::print",
            "source::report",
            "source::finding",
            "source::kubernetes::kinds",
            "source::kubernetes::news",
            "status::account",
            "telemetry",
            "xds::registry",
            "xds::session::status",
            // Who says who a visitor is.
            "xds::trust",
        ],
        never: &["kube", "k8s_openapi", "tonic"],
    },
    Room { name: "telemetry", may: &[], never: &["kube", "k8s_openapi", "envoy_types"] },
    Room { name: "clock", may: &[], never: &["kube", "k8s_openapi", "envoy_types", "tonic", "tracing"] },
    Room { name: "alarm", may: &[], never: &["kube", "k8s_openapi", "envoy_types", "tonic", "tracing"] },
    Room { name: "app", may: &["*"], never: &["envoy_types"] },
    Room { name: "cli", may: &["*"], never: &[] },
    Room { name: "lib", may: &["*"], never: &[] },
    Room { name: "main", may: &["*"], never: &[] },
];

/// Rooms at the top: they may use everything and only they may use each other.
pub const TOP: &[&str] = &["app", "cli", "lib", "main"];

/// What only the files with a given path prefix may use; everybody else in `src` must not.
pub const RESERVED: &[(&str, &[&str])] = &[
    ("prost_reflect", &["src/snapshot/print"]),
    ("std::env", &["src/cli", "src/main.rs"]),
    ("clap", &["src/cli", "src/main.rs"]),
    ("dashmap", &["src/snapshot/board.rs", "src/xds", "src/admin"]),
    ("notify", &["src/source"]),
    ("saphyr_parser", &["src/source"]),
    ("prometheus", &["src/telemetry", "src/admin"]),
];

/// The part of `snapshot` that may use tokio, with the folder of its name, and what of it: the board's watches, nothing
/// else.
pub const SNAPSHOT_TOKIO: (&str, &[&str]) = ("src/snapshot/board.rs", &["tokio::sync", "tokio::select"]);

/// The only file that encodes protobuf messages.
pub const ENCODER: &str = "src/snapshot/resource.rs";

/// Files that may use `prost::Message`: the encoder, and those that decode what clients send or what is printed.
pub const DECODERS: &[&str] = &["src/xds", "src/snapshot/print"];

/// The rooms in which hash maps and sets are forbidden, because their order is random.
pub const ORDERED: &[&str] = &["model", "translate", "snapshot"];

/// Names that say nothing about what a file holds.
pub const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "manager", "types", "misc"];

/// The cap on lines of production code in a file.
pub const FILE_LINES: usize = 500;
/// The cap on lines of a function, signature included.
pub const FUNCTION_LINES: usize = 70;
/// The cap on parameters of a function, the receiver not counted.
pub const PARAMETERS: usize = 5;
/// The cap on lines of a file's header.
pub const HEADER_LINES: usize = 10;
/// The cap on lines of `main.rs`.
pub const MAIN_LINES: usize = 40;
/// The cap on lines of a test module inside `src`: larger tests belong to `integration`.
pub const TEST_MODULE_LINES: usize = 100;

/// A cap exceeded on purpose. The list may only shrink: an exception no longer needed, or larger than needed, fails.
pub struct Exception {
    /// The file.
    pub path: &'static str,
    /// The rule, as reported.
    pub rule: &'static str,
    /// The size that is put up with, exactly.
    pub size: usize,
    /// Why.
    pub why: &'static str,
}

/// Every exception there is.
pub const EXCEPTIONS: &[Exception] = &[];

/// Takes the excused violations out; the second list holds the exceptions that are stale.
pub fn excused(found: Vec<Violation>) -> (Vec<Violation>, Vec<Violation>) {
    excused_by(EXCEPTIONS, found)
}

/// As [`excused`], with a list of one's own.
pub fn excused_by(exceptions: &[Exception], mut found: Vec<Violation>) -> (Vec<Violation>, Vec<Violation>) {
    let mut stale = Vec::new();
    for exception in exceptions {
        let fits = |violation: &Violation| {
            violation.path == exception.path
                && violation.rule == exception.rule
                && violation.size == Some(exception.size)
        };
        if found.iter().any(fits) {
            found.retain(|violation| !fits(violation));
        } else {
            stale.push(Violation {
                path: exception.path.into(),
                line: 1,
                rule: "stale-exception",
                text: format!(
                    "no {} of {} here: drop it or lower it ({})",
                    exception.rule, exception.size, exception.why
                ),
                size: None,
            });
        }
    }
    (found, stale)
}
