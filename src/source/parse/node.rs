//! Nodes: where they stand.

use super::core::typed;
use super::notes::Notes;
use super::syntax;
use crate::model::node::{Locality, Node};
use crate::model::problem::Severity;
use k8s_openapi::api::core::v1 as k8s;
use serde_json::Value;
use std::sync::Arc;

/// Parses a Node.
pub fn parse(value: &Value, notes: &mut Notes) -> Option<Node> {
    let node: k8s::Node = typed(value, "", Severity::Warning, notes)?;
    let labels = node.metadata.labels.unwrap_or_default();
    notes.check("metadata.labels", syntax::labels(&labels))?;
    let label = |key: &str| -> Arc<str> { labels.get(key).map_or("", String::as_str).into() };
    let locality = Locality {
        region: label("topology.kubernetes.io/region"),
        zone: label("topology.kubernetes.io/zone"),
        subzone: label("topology.istio.io/subzone"),
    };
    Some(Node { locality })
}
