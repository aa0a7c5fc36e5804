//! A user's mistake as a value: reported on the object, on the command line and in metrics; never an `Err`.

use super::provenance::ObjectKey;
use std::fmt;
use std::sync::Arc;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The object, or the part named, is not in effect.
    Error,
    /// The object is in effect; something in it has no effect or is probably not meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// What a [`Problem`] comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// What the object says, whatever else there is.
    Content,
    /// What it names isn't there.
    Reference,
    /// Something else says the same, or has what is asked for.
    Conflict,
    /// Proxies reject what was made of it: who does, as the beginning of a sentence that the text ends.
    Rejection(Arc<str>),
}

/// What is wrong with an object, in words its author understands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Problem {
    /// The object at fault.
    pub object: ObjectKey,
    /// The path of the field at fault, such as `spec.http[0].route[1].weight`; empty for the whole object.
    pub field: String,
    /// How bad it is.
    pub severity: Severity,
    /// The reason, one sentence without a trailing full stop.
    pub text: String,
    /// What it comes from.
    pub cause: Cause,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.object)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.text)
    }
}
