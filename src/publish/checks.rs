//! Checks of policy objects against the rest of the World, done whether or not a proxy is there to be hurt.

use super::Fault;
use super::dependents::Dependents;
use super::guard::guarded;
use crate::model::problem::Problem;
use crate::model::provenance::ObjectKey;
use crate::model::tracked::Tracked;
use crate::model::world::{Key, World};
use crate::translate::check::check;
use std::collections::{BTreeMap, BTreeSet};

/// Problems by the object whose check found them.
#[derive(Default)]
pub struct Checks {
    found: BTreeMap<ObjectKey, Vec<Problem>>,
    readers: Dependents<ObjectKey>,
}

impl Checks {
    /// Checks again what the keys reach, changed objects included; returns whether anything differs.
    pub fn update(&mut self, world: &World, touched: &BTreeSet<Key>, faults: &mut Vec<Fault>) -> bool {
        let changed = touched.iter().filter_map(|key| if let Key::Object(key) = key { Some(key) } else { None });
        let again: BTreeSet<ObjectKey> = self.readers.touched(touched).into_iter().chain(changed).cloned().collect();
        let mut differs = false;
        for key in again {
            differs |= self.check(world, key, faults);
        }
        differs
    }

    fn check(&mut self, world: &World, key: ObjectKey, faults: &mut Vec<Fault>) -> bool {
        if world.object(&key).is_none() {
            self.readers.forget(&key);
            return self.found.remove(&key).is_some();
        }
        let tracked = Tracked::new(world);
        let problems = guarded(|| check(&tracked, &key));
        let mut reads = tracked.into_reads();
        // What has changed is checked again whoever read it. Nearly all objects, such as Pods, need no more.
        reads.remove(&Key::Object(key.clone()));
        self.readers.record(&key, &reads);
        // Where that fails, what was found before stays.
        let problems = match problems {
            Ok(problems) => problems,
            Err(text) => {
                faults.push(Fault { what: format!("the check of {key}"), text });
                return false;
            }
        };
        let old = if problems.is_empty() { self.found.remove(&key) } else { self.found.insert(key.clone(), problems) };
        old.as_ref() != self.found.get(&key)
    }

    /// What was found, object by object.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.found.values().flatten()
    }
}
