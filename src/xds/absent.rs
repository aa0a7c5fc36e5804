//! How a name that does not exist is answered, by kind and wire form.

use super::request::Wire;
use crate::snapshot::absent::{empty_endpoints, empty_routes};
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::Resource;
use std::sync::Arc;

/// How a name that does not exist is answered.
#[derive(Clone, Debug)]
pub enum Absence {
    /// Named in the list of removed resources.
    Removed,
    /// By a whole set without it.
    LeftOut,
    /// By an empty resource of that name.
    Placeholder(Arc<Resource>),
    /// Not at all.
    Silence,
}

impl Absence {
    /// How `name` is answered when there is no such resource of `kind`.
    ///
    /// Routes: Envoy ignores a removal, and the listener that asks stays warming with its port closed. Secrets: a removal
    /// activates the owner without its secret, so nothing is said.
    pub fn of(kind: Kind, wire: Wire, name: &str) -> Absence {
        match (kind, wire) {
            (Kind::Route, _) => Absence::Placeholder(empty_routes(name)),
            (Kind::Secret, _) => Absence::Silence,
            (Kind::Endpoint, Wire::Sotw) => Absence::Placeholder(empty_endpoints(name)),
            (Kind::Cluster | Kind::Listener, Wire::Sotw) => Absence::LeftOut,
            (Kind::Cluster | Kind::Listener | Kind::Endpoint, Wire::Delta) => Absence::Removed,
        }
    }
}
