//! Problems in the log: each once when it appears, and once when it is gone.

use crate::model::problem::{Problem, Severity};
use crate::source::finding::Finding;
use crate::source::report::Report;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// How many lines one change may cause; the rest is counted.
const LINES: usize = 50;

/// Logs what differs from one moment to the next until the sources are gone.
pub async fn run(mut reports: watch::Receiver<Arc<Report>>, mut problems: watch::Receiver<Arc<BTreeSet<Problem>>>) {
    let mut known: BTreeSet<Finding> = BTreeSet::new();
    loop {
        let changed = tokio::select! {
            changed = reports.changed() => changed,
            changed = problems.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        let found: BTreeSet<_> =
            Finding::all(&reports.borrow_and_update(), &problems.borrow_and_update()).into_iter().collect();
        log(&known, &found);
        known = found;
    }
}

fn log(known: &BTreeSet<Finding>, found: &BTreeSet<Finding>) {
    for finding in found.difference(known).take(LINES) {
        match finding.severity() {
            Severity::Error => tracing::error!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
        }
    }
    for finding in known.difference(found).take(LINES) {
        tracing::info!("no longer: {finding}");
    }
    let more = found.difference(known).count().saturating_sub(LINES);
    if more > 0 {
        tracing::warn!(more, "and more problems; /api/v1/problems has all");
    }
}
