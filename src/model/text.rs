//! Matching of strings, as Istio's StringMatch means it.

use std::sync::Arc;

/// How a string is matched. Expressions are RE2 syntax and match the whole string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StringMatch {
    /// Equal.
    Exact(Arc<str>),
    /// Starts with.
    Prefix(Arc<str>),
    /// Matches in full.
    Regex(Arc<str>),
}
