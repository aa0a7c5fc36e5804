//! Labels, and whether a selector selects them.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Labels of an object or of a selector, sorted by key.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// Whether `labels` carries every pair of `selector`; an empty selector selects everything.
pub fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
