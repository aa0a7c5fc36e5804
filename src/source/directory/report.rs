//! What is wrong with the files of a source, and where each object stands. A shared, immutable value.

use crate::model::problem::{Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::source::finding::{Finding, Position};
use crate::source::yaml::marks::Marks;
use imbl::{OrdMap, OrdSet};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The report. Cloning is cheap, and a change of one file changes only that file's part.
#[derive(Clone, Default, Debug)]
pub struct Report {
    pub(super) missing: Option<Finding>,
    pub(super) files: OrdMap<Arc<Path>, Arc<[Finding]>>,
    pub(super) notices: OrdMap<(ObjectKey, Arc<Path>), Finding>,
    /// Objects that a file holds broken, and of which an earlier version is in effect.
    pub(super) earlier: OrdSet<(ObjectKey, Arc<Path>)>,
    pub(super) places: OrdMap<ObjectKey, (Arc<Path>, Option<Arc<Marks>>)>,
}

impl Report {
    /// Everything that is wrong, sorted by file and line. Walks the whole report.
    pub fn findings(&self) -> Vec<Finding> {
        let files = self.files.values().flat_map(|findings| findings.iter());
        let mut findings: Vec<_> = self.missing.iter().chain(files).chain(self.notices.values()).cloned().collect();
        findings.iter_mut().filter(|finding| self.is_of_earlier(finding)).for_each(Finding::keeps_the_earlier);
        findings.sort();
        findings
    }

    /// Whether a finding says what keeps an object from being in effect as the file has it now.
    fn is_of_earlier(&self, finding: &Finding) -> bool {
        let key = || Some((finding.subject.suspected()?, finding.position.file.clone()));
        finding.severity() == Severity::Error && key().is_some_and(|key| self.earlier.contains(&key))
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
