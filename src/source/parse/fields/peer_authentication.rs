//! The fields of a PeerAuthentication's `spec`, as documented by Istio.

use super::{Field, Shape, TEXT_MAP};
use Shape::{Choice, Map, Object};

/// The fields.
pub const FIELDS: &[Field] = &[
    Field::done(
        "selector",
        Object(&[Field::done("matchLabels", TEXT_MAP, "labels a workload must carry")]),
        "the workloads it is for; none is every workload of the namespace, of the mesh in the root namespace",
    ),
    Field::done("mtls", Object(MTLS), "what the workloads take; none is what the namespace or the mesh says"),
    Field::done(
        "portLevelMtls",
        Map(&Object(MTLS)),
        "what they take on a port, which is the workload's own, not the Service's; only with a selector",
    ),
];

const MTLS: &[Field] = &[Field::done(
    "mode",
    Choice(&["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]),
    "plain text, both or mutual TLS; UNSET is what the level behind says, and PERMISSIVE where none does",
)];
