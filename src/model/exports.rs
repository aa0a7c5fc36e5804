//! `exportTo`: for whose proxies an object is there at all.

use super::name::Namespace;
use super::view::View;
use std::collections::BTreeSet;

/// The namespaces an object is exported to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Exports {
    /// `*`: every namespace.
    Everyone,
    /// These, by name and by `.`; none for `~`.
    Some {
        /// `.`: the object's own namespace.
        own: bool,
        /// Those named.
        namespaces: BTreeSet<Namespace>,
    },
}

impl Exports {
    /// Nobody.
    pub const NOBODY: Exports = Exports::Some { own: false, namespaces: BTreeSet::new() };

    /// Whether an object in `owner` is there for proxies in `reader`. A list of names leaves the own namespace out unless
    /// it is among them (Istio's rule).
    pub fn reach(&self, owner: &Namespace, reader: &View) -> bool {
        match self {
            Exports::Everyone => true,
            Exports::Some { own, namespaces } => {
                (*own && reader.is_in(owner)) || namespaces.iter().any(|namespace| reader.is_in(namespace))
            }
        }
    }
}
