//! A slice that somebody wrote by hand and that leads to Pods of another namespace: who may write slices in one namespace
//! would reach what only those of another may (CVE-2021-25740). It is told, and in effect: there are uses for it.

use super::problem;
use crate::model::endpoint::EndpointSlice;
use crate::model::object::Stored;
use crate::model::problem::{Problem, Severity};
use crate::model::provenance::ObjectKey;
use crate::model::tracked::Tracked;

/// The first Pod of another namespace that the slice leads to, and how many more there are.
pub fn check(world: &Tracked, object: &Stored<EndpointSlice>) -> Option<Problem> {
    if !object.by_hand {
        return None;
    }
    let own = &object.key().namespace;
    let foreign = |pods: Vec<ObjectKey>| {
        let all = !pods.is_empty() && pods.iter().all(|pod| pod.namespace != *own);
        pods.into_iter().next().filter(|_| all)
    };
    let found = object.endpoints.iter().enumerate();
    let mut found = found.filter_map(|(index, it)| Some((index, it.address, foreign(world.pods_at(it.address))?)));
    let (index, address, pod) = found.next()?;
    let more = match found.count() {
        0 => String::new(),
        more => format!(", and there are {more} more such endpoints"),
    };
    let text = format!("{address} is the address of {pod}, in another namespace; it gets requests all the same{more}");
    Some(problem(object.key(), format!("endpoints[{index}].addresses"), Severity::Warning, text))
}
