//! A name that is held back: what the client held before, and what is at fault.

use super::barrier::Barrier;
use super::{Before, Charge};
use crate::snapshot::lint::duplicate_domain;
use crate::snapshot::resource::Resource;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A name that is held back.
#[derive(Debug)]
pub(super) struct Held {
    /// What the client accepted last.
    pub(super) before: Before,
    /// What is at fault, by fragment; none stands for all of it.
    pub(super) charges: BTreeMap<Option<Arc<str>>, Charge>,
    /// Whether nobody knows if the client holds what was rejected: it was not found at fault.
    pub(super) doubtful: bool,
    /// What was last made of the newest form without what is at fault.
    mixture: Option<Arc<Resource>>,
}

impl Held {
    pub(super) fn new(before: Before) -> Self {
        Self { before, charges: BTreeMap::new(), doubtful: false, mixture: None }
    }

    /// What is at fault and has another version now, or is gone, is held back no more.
    pub(super) fn release(&mut self, current: Option<&Arc<Resource>>) {
        let doubtful = &mut self.doubtful;
        self.charges.retain(|_, charge| {
            let stays = charge.unit.is_in(current);
            *doubtful |= !stays && !charge.found;
            stays
        });
    }

    /// What the client is told in place of the current form.
    pub(super) fn barrier(&mut self, current: &Arc<Resource>) -> Barrier {
        let whole = self.charges.contains_key(&None);
        match (&self.before, current.fragments()) {
            (Before::Unknown, _) => Barrier::Untouched,
            (_, Some(_)) if !whole => self.mixture(current).map_or_else(|| self.last(), Barrier::Form),
            _ => self.last(),
        }
    }

    /// What the client accepted last.
    fn last(&self) -> Barrier {
        match &self.before {
            Before::Form(form) => Barrier::Form(form.clone()),
            Before::Nothing => Barrier::Nothing,
            Before::Unknown => Barrier::Untouched,
        }
    }

    /// The current form with fragments at fault as the client accepted them last, or without them. None if that makes no
    /// sense: without any fragment, or with a domain that has moved from one to another in both.
    fn mixture(&mut self, current: &Arc<Resource>) -> Option<Arc<Resource>> {
        let mut fragments = current.fragments()?.clone();
        let before = if let Before::Form(form) = &self.before { form.fragments() } else { None };
        for part in self.charges.keys().flatten() {
            match before.and_then(|before| before.get(part)) {
                Some(accepted) => fragments.insert(accepted.clone()),
                None => fragments.remove(part),
            }
        }
        if fragments.is_empty() {
            return None;
        }
        let mixture = current.with_fragments(fragments);
        if let Some(last) = self.mixture.as_ref().filter(|last| last.version() == mixture.version()) {
            return Some(last.clone());
        }
        self.mixture = duplicate_domain(&mixture).is_none().then(|| Arc::new(mixture));
        self.mixture.clone()
    }
}
