//! What is wrong with a PeerAuthentication given the others: one that an older one stands before, or that is for nobody.

use super::{is_older, problem};
use crate::model::authentication::{PeerAuthentication, Selector};
use crate::model::object::{Stored, by_age};
use crate::model::problem::{Problem, Severity};
use crate::model::tracked::Tracked;

/// Checks a PeerAuthentication.
pub fn check(world: &Tracked, object: &Stored<PeerAuthentication>) -> Option<Problem> {
    let error = |text| Some(problem(object.key(), "spec.selector".to_owned(), Severity::Error, text));
    let namespace = &object.key().namespace;
    if *namespace == world.mesh().root_namespace && object.selector != Selector::Everything {
        return error(format!(
            "in the root namespace, {namespace}, policies are for the whole mesh: one that selects workloads is for none"
        ));
    }
    let others = world.authentications_in(namespace).into_iter();
    let before = others
        .filter(|other| is_older(other.meta(), object.meta()) && other.selector.covers_all_of(&object.selector))
        .min_by(by_age)?;
    error(match object.selector {
        Selector::Everything => {
            format!("{} is older and is for every workload here as well: of two the older counts", before.key())
        }
        _ => {
            format!("{} is older and selects every workload that this one does: of two the older counts", before.key())
        }
    })
}
