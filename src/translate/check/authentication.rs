//! What is wrong with a PeerAuthentication given the others: one that an older one stands before, everywhere or for some
//! workloads, or that is for nobody.

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
    let mut older = world.authentications_in(namespace);
    older.retain(|other| is_older(other.meta(), object.meta()) && other.selector.may_meet(&object.selector));
    older.sort_by(by_age);
    let Some(before) = older.iter().find(|other| other.selector.covers_all_of(&object.selector)) else {
        return overlap(world, object, &older);
    };
    error(match object.selector {
        Selector::Everything => {
            format!("{} is older and is for every workload here as well: of two the older counts", before.key())
        }
        _ => {
            format!("{} is older and selects every workload that this one does: of two the older counts", before.key())
        }
    })
}

/// The first Pod that an older policy selects as well, although not all that this one does, and how many more there are. Pods are
/// only looked at where selectors could meet.
fn overlap(
    world: &Tracked,
    object: &Stored<PeerAuthentication>,
    older: &[Stored<PeerAuthentication>],
) -> Option<Problem> {
    if older.is_empty() {
        return None;
    }
    let pods = world.pods_in(&object.key().namespace).filter(|pod| object.selector.covers(&pod.labels));
    let mut lost = pods.filter_map(|pod| Some((pod, older.iter().find(|other| other.selector.covers(&pod.labels))?)));
    let (pod, before) = lost.next()?;
    let more = match lost.count() {
        0 => String::new(),
        more => format!("; the same goes for {more} more"),
    };
    let text = format!(
        "{} is older and selects {} as well: there the older counts, elsewhere this one{more}",
        before.key(),
        pod.key()
    );
    Some(problem(object.key(), "spec.selector".to_owned(), Severity::Warning, text))
}
