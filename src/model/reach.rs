//! How far objects have come: at how many proxies what they say is in effect.

use super::provenance::ObjectKey;
use std::collections::BTreeMap;

/// How far one state of an object has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// The `metadata.generation` that the configuration of proxies is made of; none for what has none.
    pub generation: Option<i64>,
    /// How many connected proxies have configuration that the object shapes.
    pub targeted: usize,
    /// How many of them have accepted all of it as it is now.
    pub live: usize,
}

impl Reach {
    /// Whether every proxy that the object concerns has accepted what it says.
    pub fn is_everywhere(&self) -> bool {
        self.live == self.targeted
    }
}

/// How far every policy of the World has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reaches {
    /// By object; an object that shapes no proxy's configuration is there, with nothing targeted.
    pub objects: BTreeMap<ObjectKey, Reach>,
    /// Whether proxies may be missing, because the replica that serves them did not answer.
    pub partial: bool,
}
