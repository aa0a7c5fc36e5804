//! A name that is held back: what is at fault under it.

use super::barrier::Barrier;
use super::{Before, Charge};
use crate::snapshot::lint::duplicate_domain;
use crate::snapshot::resource::Resource;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A name that is held back.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// What is at fault, by fragment; none stands for all of it.
    pub(super) charges: BTreeMap<Option<Arc<str>>, Charge>,
    /// Whether nobody knows if the client holds what was rejected: it was not found at fault.
    pub(super) doubtful: bool,
    /// What was last made of the newest form without what is at fault.
    mixture: Option<Arc<Resource>>,
}

impl Held {
    /// What is at fault and has another version now, or is gone, is held back no more.
    pub(super) fn release(&mut self, current: Option<&Arc<Resource>>) {
        let doubtful = &mut self.doubtful;
        self.charges.retain(|_, charge| {
            let stays = charge.unit.is_in(current);
            *doubtful |= !stays && !charge.found;
            stays
        });
    }

    /// The client holds this form: nothing in it is at fault.
    pub(super) fn absolve(&mut self, form: &Arc<Resource>) {
        self.charges.retain(|_, charge| !charge.unit.is_in(Some(form)));
    }

    /// Whether this holds what is at fault.
    pub(super) fn bars(&self, form: &Arc<Resource>) -> bool {
        self.charges.values().any(|charge| charge.unit.is_in(Some(form)))
    }

    /// What the client is told in place of the current form; `before`: what it accepted last.
    pub(super) fn barrier(&mut self, current: &Arc<Resource>, before: &Before) -> Barrier {
        let is_whole = self.charges.contains_key(&None) || current.fragments().is_none();
        let mixture = match before {
            Before::Unknown => return Barrier::Untouched,
            _ if is_whole => None,
            before => self.mixture(current, before),
        };
        match (mixture, before) {
            (Some(form), _) => Barrier::Form(form),
            (None, Before::Form(form)) => Barrier::Form(form.clone()),
            (None, _) => Barrier::Nothing,
        }
    }

    /// The current form with fragments at fault as the client accepted them last, or without them. None if that makes no
    /// sense: without any fragment, or with a domain that has moved from one to another in both.
    fn mixture(&mut self, current: &Arc<Resource>, before: &Before) -> Option<Arc<Resource>> {
        let mut fragments = current.fragments()?.clone();
        let before = if let Before::Form(form) = before { form.fragments() } else { None };
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
