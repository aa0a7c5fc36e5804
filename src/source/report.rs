//! What is wrong with what a source reads, and where each object stands. A shared, immutable value.

use crate::model::problem::{Problem, Severity};
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::source::finding::{Finding, Position};
use crate::source::yaml::marks::Marks;
use imbl::OrdMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The report. Cloning is cheap, and a change of one file or object changes only that one's part.
#[derive(Clone, Default, Debug)]
pub struct Report {
    pub(super) missing: Option<Finding>,
    /// What was said of each file, or of each object where there are no files, by where it was read.
    pub(super) origins: OrdMap<Arc<Path>, Arc<[Finding]>>,
    pub(super) notices: OrdMap<(ObjectKey, Arc<Path>), Finding>,
    /// Objects that are there broken, with the file where there are files, and what of them is in effect.
    pub(super) instead: OrdMap<(ObjectKey, Arc<Path>), Instead>,
    pub(super) places: OrdMap<ObjectKey, (Arc<Path>, Option<Arc<Marks>>)>,
}

/// What is in effect of an object that is broken where it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Instead {
    /// A version read before.
    Earlier,
    /// What is good of it.
    Part,
    /// The strictest that it could say.
    Closed,
}

impl Instead {
    /// What is in effect of an object of that kind of which something is left that is no earlier version.
    pub(super) fn of_what_is_left(kind: ObjectKind) -> Self {
        if kind.fails_closed() { Instead::Closed } else { Instead::Part }
    }

    fn words(self) -> &'static str {
        match self {
            Instead::Earlier => "the version read before stays in effect until a restart",
            Instead::Part => "the settings without an error are in effect",
            Instead::Closed => "its workloads take nothing but mutual TLS meanwhile, as with STRICT",
        }
    }
}

impl Report {
    /// Everything that is wrong, sorted by file and line. Walks the whole report.
    pub fn findings(&self) -> Vec<Finding> {
        let origins = self.origins.values().flat_map(|findings| findings.iter());
        let mut findings: Vec<_> = self.missing.iter().chain(origins).chain(self.notices.values()).cloned().collect();
        for finding in &mut findings {
            if let Some(instead) = self.instead_of(finding) {
                finding.effect = instead.words().into();
            }
        }
        findings.sort();
        findings
    }

    /// What is in effect of an object that a finding keeps from being so as the file has it now.
    fn instead_of(&self, finding: &Finding) -> Option<Instead> {
        let error = finding.severity() == Severity::Error;
        let key = (finding.subject.suspected().filter(|_| error)?, finding.position.file.clone());
        self.instead.get(&key).copied()
    }

    /// Where a field of an object stands, or the nearest field around it; none for an object that is in no file.
    /// No line for an earlier version that the file doesn't show any more.
    pub fn locate(&self, object: &ObjectKey, field: &str) -> Option<Position> {
        let (file, marks) = self.places.get(object)?;
        Some(Position { file: file.clone(), line: marks.as_ref().map(|marks| marks.locate(field)) })
    }
}

impl Finding {
    /// What a report says of files and what `problems` say of objects, in one list: sorted, each once.
    pub fn all(report: &Report, problems: &BTreeSet<Problem>) -> Vec<Finding> {
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
}
