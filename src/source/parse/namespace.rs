//! Namespaces: their labels.

use super::core::typed;
use super::notes::Notes;
use super::syntax;
use crate::model::object::NamespaceInfo;
use crate::model::problem::Severity;
use k8s_openapi::api::core::v1 as k8s;
use serde_json::Value;

/// Parses a Namespace.
pub fn parse(value: &Value, notes: &mut Notes) -> Option<NamespaceInfo> {
    let namespace: k8s::Namespace = typed(value, "", Severity::Warning, notes)?;
    let labels = namespace.metadata.labels.unwrap_or_default();
    Some(NamespaceInfo { labels: notes.check("metadata.labels", syntax::labels(&labels))? })
}
