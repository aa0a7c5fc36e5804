//! How it stands with the writing of statuses, for those who ask. A shared value.

use std::sync::Arc;
use std::time::Instant;

/// Who writes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// Nobody here: it is turned off, or there is no API server.
    #[default]
    Off,
    /// It is not known yet.
    Waiting,
    /// This process, until then if it isn't renewed.
    Leading(Instant),
    /// Somebody else.
    Following,
    /// Nobody here, because the Lease may not be read or written.
    Denied(Arc<str>),
    /// Nobody here, because the Lease can't be read or written just now.
    Failing(Arc<str>),
}

impl Standing {
    /// In a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Standing::Off => "off",
            Standing::Waiting => "waiting",
            Standing::Leading(_) => "leading",
            Standing::Following => "following",
            Standing::Denied(_) => "denied",
            Standing::Failing(_) => "failing",
        }
    }

    /// Why it isn't better.
    pub fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Standing::Denied(reason) | Standing::Failing(reason) => Some(reason),
            _ => None,
        }
    }
}

/// What is known of the Lease.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leadership {
    /// Who writes.
    pub standing: Standing,
    /// The Lease, as `namespace/name`; empty if there is none.
    pub lease: String,
    /// Our own name in it.
    pub identity: String,
    /// The name of who holds it, as far as is known; empty for nobody.
    pub holder: String,
}

impl Leadership {
    /// Who writes now: whoever was told that it leads may have heard nothing since.
    pub fn now(&self) -> Standing {
        match self.standing {
            Standing::Leading(until) if until <= Instant::now() => {
                Standing::Failing("the Lease has run out before it was renewed".into())
            }
            _ => self.standing.clone(),
        }
    }
}

/// What is known of the writing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Writing {
    /// How many statuses wait to be written.
    pub waiting: usize,
    /// Resources whose status may not be written, each with the reason.
    pub denied: Vec<(String, Arc<str>)>,
    /// How many objects have a status that somebody else writes over again and again.
    pub disputed: usize,
}
