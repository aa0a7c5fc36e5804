//! Problems of every origin in one list: what the source says of files, and what translation says of objects.

use super::AdminContext;
use crate::source::finding::{Finding, Position};
use serde_json::{Value, json};
use std::path::Path;

/// Everything that is wrong, sorted by file and line, each once.
pub fn collect(context: &AdminContext) -> Vec<Finding> {
    let report = context.reports.borrow().clone();
    let problems = context.problems.borrow().clone();
    let mut findings = report.findings();
    findings.extend(problems.iter().cloned().map(|problem| {
        let unknown = || Position { file: Path::new("").into(), line: None };
        let position = report.locate(&problem.object, &problem.field).unwrap_or_else(unknown);
        Finding::of(problem, position)
    }));
    findings.sort();
    findings.dedup();
    findings
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
