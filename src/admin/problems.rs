//! Problems of every origin in one list: what the source says of files, translation of objects, and proxies of what they
//! were sent.

use super::AdminContext;
use crate::source::finding::Finding;
use serde_json::{Value, json};

/// Everything that is wrong, sorted by file and line, each once.
pub fn collect(context: &AdminContext) -> Vec<Finding> {
    let mut problems = context.standing.borrow().rejections.clone();
    problems.extend(context.problems.borrow().iter().cloned());
    Finding::all(&context.reports.borrow().clone(), &problems)
}

/// A finding as JSON; what is unknown is left out.
pub fn describe(finding: &Finding) -> Value {
    let mut value = json!({
        "severity": finding.severity().to_string(),
        "text": finding.note.text,
    });
    let subject = &finding.subject;
    let parts = [
        ("object", subject.to_string()),
        ("kind", subject.kind.clone()),
        ("namespace", subject.namespace.clone()),
        ("name", subject.name.clone()),
        ("field", finding.note.field.clone()),
        ("effect", finding.effect.to_string()),
        ("file", finding.position.file.display().to_string()),
    ];
    for (key, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
        value[key] = part.into();
    }
    if let Some(line) = finding.position.line {
        value["line"] = line.into();
    }
    value
}
