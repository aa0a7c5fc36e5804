//! Posting the layer of a half: what Envoy would take of it, and what is known of the rest.

use super::guard::guarded;
use super::half::{Difference, Half, Step};
use super::{Fault, losses};
use crate::model::provenance::ObjectKey;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint::Violation;
use crate::snapshot::lint::change::{Changed, HeldParts, Sight, changes, made_twice};
use crate::snapshot::lint::sift::sift;
use crate::snapshot::resource::Resource;
use crate::snapshot::set::Layer;
use crate::snapshot::sources::differences;
use crate::translate::unit::Unit;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many changed objects a fault names.
const SOME: usize = 5;

impl Half {
    /// Whether nothing has been computed yet, or what was is lost.
    pub fn is_new(&self) -> bool {
        self.out.is_none() || self.lost.is_some()
    }

    /// The layer as it was posted last; an empty one, if none was.
    pub fn out(&self) -> Arc<Layer> {
        self.out.clone().unwrap_or_default()
    }

    /// Whether it was posted since the last call.
    pub fn take_post(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// Whether lint holds something back.
    pub fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// The objects of which something is not in what was posted last, through a fault of ours: those that shaped what is held
    /// back, those that a computation looked at which failed, and all that changed since an update did. `seen`: the objects
    /// that a computation looked at.
    pub fn kept_back(&self, seen: impl Fn(&Unit) -> BTreeSet<ObjectKey>) -> BTreeSet<ObjectKey> {
        let mut kept: BTreeSet<ObjectKey> = self.failed.iter().flat_map(seen).collect();
        kept.extend(self.lost.iter().flatten().cloned());
        if self.holds_back() {
            let out = self.out();
            for kind in Kind::ALL {
                for name in self.layer.differs_from(&out, kind) {
                    let (before, after) = (out.get(kind, &name), self.layer.get(kind, &name));
                    for part in differences(before.map(|it| &**it), after.map(|it| &**it)) {
                        kept.extend(part.before().chain(part.after()).map(|source| source.key.clone()));
                    }
                }
            }
        }
        kept
    }

    /// Posts the layer, but for what Envoy would not take; `changed` is what differs from the layer before, `beneath` what lies
    /// beneath it. Says how it differs from what was posted before.
    pub(super) fn post(&mut self, changed: &Changed, beneath: Option<&Half>, step: &mut Step) -> Difference {
        changed.made.iter().for_each(|made| _ = self.twice.remove(&(made.kind(), made.name().clone())));
        changed.removed.iter().for_each(|id| _ = self.twice.remove(id));
        self.twice.extend(made_twice(&changed.made));
        let faults = RefCell::new(Vec::new());
        let refusals = |resource: &Resource| refusals(resource, step, &faults);
        let sight = Sight {
            own: &self.index,
            beneath: beneath.map(|half| &half.index),
            held: beneath.map(|half| &half.parts),
            refusals: &refusals,
            looked_up: Cell::default(),
        };
        let is_sifted = self.holds_back() || beneath.is_some_and(Half::holds_back);
        let is_good = !is_sifted && self.twice.is_empty() && changes(&self.layer, changed, &sight).is_empty();
        let (layer, difference, held, parts) = if is_good {
            (self.layer.clone(), Difference::of_all(changed), BTreeSet::new(), HeldParts::new())
        } else {
            self.sift(&sight)
        };
        let looked_up = sight.looked_up.get();
        step.outcome.looked_up += looked_up;
        step.outcome.faults.extend(faults.into_inner());
        step.outcome.violations.extend(held.iter().cloned());
        (self.held, self.parts) = (held, parts);
        self.lost = None;
        self.send(layer, step);
        difference
    }

    fn sift(&self, sight: &Sight) -> (Layer, Difference, BTreeSet<Violation>, HeldParts) {
        let before = self.out();
        let sifted = sift(&before, &self.layer, &self.twice, sight);
        let mut difference = Difference::default();
        for (kind, name) in sifted.differs {
            match sifted.layer.get(kind, &name) {
                None => _ = difference.removed.insert((kind, name)),
                Some(listener) if kind == Kind::Listener => difference.listeners.push(listener.clone()),
                Some(_) => {}
            }
        }
        (sifted.layer, difference, sifted.violations, sifted.parts)
    }

    fn send(&mut self, layer: Layer, step: &mut Step) {
        // Nobody goes from nothing to the first: how it differs would be every name, in each audience.
        self.out = Some(match &self.out {
            None => Arc::new(layer),
            Some(before) => {
                let next = layer.posted_after(before);
                losses::note(&mut step.outcome.losses, before, &next);
                next
            }
        });
        self.fresh = true;
    }

    /// Updates it; what it was before is lost where that fails, but for what was posted.
    pub fn guarded<T>(&mut self, step: &mut Step, update: impl FnOnce(&mut Self, &mut Step) -> T) -> Option<T> {
        let result = guarded(|| update(self, step));
        if let Err(text) = &result {
            let changed: Vec<_> = step.changed.iter().take(SOME).map(ObjectKey::to_string).collect();
            let what = format!("the layer of {:?} after a change of {}", step.subject, changed.join(", "));
            step.outcome.faults.push(Fault { what, text: text.clone() });
            self.lose(step);
        }
        result.ok()
    }

    /// Whether what was computed is lost, and is to be computed again.
    pub fn is_lost(&self) -> bool {
        self.lost.is_some()
    }

    /// Gives up all that was computed, after a fault of ours in the midst of it; what was posted stays.
    pub(super) fn lose(&mut self, step: &mut Step) {
        let lost = std::mem::take(self);
        self.out.clone_from(&lost.out);
        self.fresh = lost.fresh;
        self.lost = Some(lost.lost.iter().flatten().chain(step.changed).cloned().collect());
        lost.dissolve(step.subject, step.readers, step.memo);
        step.memo.sweep();
        step.outcome.problems_changed = true;
    }
}

/// What Envoy would refuse of a resource by itself; that it can't be looked at, if that fails.
fn refusals(resource: &Resource, step: &Step, faults: &RefCell<Vec<Fault>>) -> Vec<String> {
    guarded(|| (step.translator.refusals)(resource)).unwrap_or_else(|text| {
        let what = format!("lint of {} {} of {:?}", resource.kind(), resource.name(), step.subject);
        faults.borrow_mut().push(Fault { what, text });
        vec!["can't be examined".to_owned()]
    })
}

impl Difference {
    /// All of a change.
    fn of_all(changed: &Changed) -> Self {
        let listeners = changed.made.iter().filter(|resource| resource.kind() == Kind::Listener);
        Self { removed: changed.removed.clone(), listeners: listeners.cloned().collect() }
    }
}
