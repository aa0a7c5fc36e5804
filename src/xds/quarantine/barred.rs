//! What is barred of a kind: found once, and again only of names that something has happened to. While a fleet holds back a
//! thousand names each change costs its streams what has changed, and not a thousand steps each.

use super::barrier::Barrier;
use super::{Before, Ward};
use crate::snapshot::kind::Kind;
use crate::snapshot::set::Snapshot;
use imbl::OrdMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct Barred {
    by_name: OrdMap<Arc<str>, Barrier>,
    /// The snapshot that it follows from, besides what is held back; none if nothing was found yet.
    of: Option<Snapshot>,
    /// What is held back and has to be looked at again.
    stale: BTreeSet<Arc<str>>,
}

impl Barred {
    /// What was found last.
    pub(super) fn by_name(&self) -> &OrdMap<Arc<str>, Barrier> {
        &self.by_name
    }

    /// Something was said of a name, or heard.
    pub(super) fn touch(&mut self, name: &Arc<str>) {
        self.stale.insert(name.clone());
    }

    /// Anything may be otherwise.
    pub(super) fn touch_all(&mut self) {
        self.of = None;
    }
}

impl Ward {
    /// Looks at what may be barred otherwise than before. Returns the names that are barred no more, of which the client may
    /// hold either form, and how many were looked at.
    pub(super) fn look_again(&mut self, kind: Kind, source: &Snapshot, tolerant: bool) -> (Vec<Arc<str>>, usize) {
        let names = self.touched(kind, source);
        let released = names.iter().filter_map(|name| self.judge(kind, name, source, tolerant)).collect();
        self.prune_names(names.iter());
        if !self.is_troubled() {
            self.barred = Barred::default();
        }
        (released, names.len())
    }

    fn touched(&mut self, kind: Kind, source: &Snapshot) -> BTreeSet<Arc<str>> {
        let mut names = std::mem::take(&mut self.barred.stale);
        let Some(old) = self.barred.of.replace(source.clone()) else {
            names.extend(self.held.keys().chain(self.rejected.keys()).cloned());
            self.rejected.retain(|name, _| source.get(kind, name).is_some());
            return names;
        };
        for name in source.changed_since(&old, kind).iter() {
            let is_gone = source.get(kind, name).is_none();
            if (is_gone && self.rejected.remove(name).is_some()) || self.held.contains_key(name) {
                names.insert(name.clone());
            }
        }
        names
    }

    /// Finds out what is barred of a name. Returns it if it is barred no more, and the client may hold either form.
    fn judge(&mut self, kind: Kind, name: &Arc<str>, source: &Snapshot, tolerant: bool) -> Option<Arc<str>> {
        let Self { held, flights, barred, .. } = self;
        let this = held.get_mut(name)?;
        let current = source.get(kind, name);
        let before = flights.prospect(name, |form| this.bars(form));
        let is_unknown = matches!(before, Before::Unknown);
        if this.release(current, kind == Kind::Secret) {
            // What the client holds is judged by what is held back, which is less now.
            barred.touch(name);
        }
        if this.charges.is_empty() {
            let unsure = this.doubtful || (is_unknown && !tolerant);
            if unsure || !this.remembers() {
                held.remove(name);
            }
            barred.by_name.remove(name);
            return unsure.then(|| name.clone());
        }
        let current = current.filter(|_| !(tolerant && is_unknown));
        match current.map(|current| this.barrier(current, &before)) {
            Some(barrier) if barred.by_name.get(name) == Some(&barrier) => {}
            Some(barrier) => _ = barred.by_name.insert(name.clone(), barrier),
            None => _ = barred.by_name.remove(name),
        }
        None
    }
}
