//! Who writes status, and how that goes.

use crate::status::account::{Leadership, Writing};
use serde_json::{Value, json};

/// As JSON; what is unknown is left out.
pub fn describe(leadership: &Leadership, writing: &Writing) -> Value {
    let Leadership { lease, identity, holder, .. } = leadership;
    let standing = leadership.now();
    let denied = writing.denied.iter().map(|(resource, reason)| json!({"resource": resource, "reason": **reason}));
    let mut value = json!({
        "state": standing.as_str(),
        "waiting": writing.waiting,
        "denied": denied.collect::<Vec<_>>(),
        "disputed": writing.disputed,
    });
    let reason = standing.reason().map(|reason| reason.to_string()).unwrap_or_default();
    let parts = [("lease", lease), ("identity", identity), ("holder", holder), ("reason", &reason)];
    for (key, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
        value[key] = part.as_str().into();
    }
    value
}
