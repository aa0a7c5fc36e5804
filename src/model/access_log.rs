//! What proxies write about requests and connections: where to, and in which form.

use serde_json::{Map, Value};
use std::sync::Arc;

/// How every proxy of the mesh logs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AccessLog {
    /// Where to.
    pub stream: Stream,
    /// What each entry says.
    pub format: LogFormat,
    /// Whether connections are logged that a listener has no chain for.
    pub unmatched: bool,
}

/// A stream every process has. No file of another name: a proxy that can't open it refuses every listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stream {
    /// `/dev/stdout`.
    Stdout,
    /// `/dev/stderr`.
    Stderr,
}

/// The form of an entry, with Envoy's command operators, which were checked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogFormat {
    /// A text, its last line break included.
    Text(Arc<str>),
    /// An object of JSON whose texts hold operators.
    Json(Arc<Map<String, Value>>),
}
