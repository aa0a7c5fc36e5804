//! Whether somebody else writes over our statuses, such as another installation that watches the same cluster. Pure.
//!
//! Reached by what we wrote and what is stored then; what leaves is a count. That somebody does so once means nothing.

use super::shape::Status;
use crate::source::kubernetes::inventory::{Entry, Which};
use std::collections::BTreeMap;
use std::sync::Arc;

/// After how many times of one generation of an object it is no accident.
const TIMES: u32 = 3;

/// What was written last of one object.
#[derive(Debug)]
struct Written {
    uid: Arc<str>,
    generation: Option<i64>,
    status: Status,
    /// How often something else was stored in place of it, and the last state of the object in which it was.
    times: u32,
    seen: Arc<str>,
}

/// What was written last.
#[derive(Default, Debug)]
pub struct Rivals(BTreeMap<Which, Written>);

impl Rivals {
    /// We have written this status, without times.
    pub fn wrote(&mut self, which: &Which, entry: &Entry, status: Status) {
        let (uid, generation) = (entry.uid.clone(), entry.generation);
        let before = self.0.get(which).filter(|before| before.uid == uid && before.generation == generation);
        let (times, seen) = before.map_or((0, "".into()), |before| (before.times, before.seen.clone()));
        self.0.insert(which.clone(), Written { uid, generation, status, times, seen });
    }

    /// We want this status, and that one is stored, both without times.
    pub fn saw(&mut self, which: &Which, entry: &Entry, wanted: &Status, stored: &Status) {
        let Some(written) = self.0.get_mut(which) else { return };
        let same = written.uid == entry.uid && written.generation == entry.generation && written.status == *wanted;
        let replaced = !stored.conditions.is_empty() && stored != wanted;
        if same && replaced && written.seen != entry.version {
            (written.times, written.seen) = (written.times + 1, entry.version.clone());
        }
    }

    /// Forgets objects that are not there any more.
    pub fn retain(&mut self, there: impl Fn(&Which) -> bool) {
        self.0.retain(|which, _| there(which));
    }

    /// Objects whose status somebody else has written over again and again.
    pub fn disputed(&self) -> impl Iterator<Item = &Which> {
        self.0.iter().filter(|(_, written)| written.times >= TIMES).map(|(which, _)| which)
    }
}
