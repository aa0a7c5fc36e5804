//! What is watched in the cluster, one entry for each kind.

use crate::source::kubernetes::kinds::Need;
use crate::source::kubernetes::news::{KindStatus, State};
use serde_json::{Value, json};

/// A kind as JSON.
pub fn describe(status: &KindStatus) -> Value {
    let kind = status.kind;
    let mut value = json!({
        "kind": kind.kind,
        "resource": kind.to_string(),
        "state": status.state.as_str(),
        "stateSeconds": status.since.elapsed().as_secs(),
        "objects": status.objects,
        "required": match kind.need {
            Need::Required => true,
            Need::Served => status.state != State::Missing,
            Need::Optional => false,
        },
        "inEffect": kind.is_in_effect(),
    });
    if let Some(within) = kind.within {
        value["within"] = within.into();
    }
    if let Some(reason) = status.state.reason() {
        value["reason"] = (**reason).into();
    }
    value
}
