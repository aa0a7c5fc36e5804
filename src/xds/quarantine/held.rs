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
    pub(super) charges: BTreeMap<Option<Arc<str>>, Arc<Charge>>,
    /// Whether nobody knows if the client holds what was rejected: it was not found at fault.
    pub(super) doubtful: bool,
    /// What was found at fault last and is not what there is now: if it comes back it is at fault again, unless something
    /// else was accepted meanwhile.
    past: Option<Arc<Charge>>,
    /// What was last made of the newest form without what is at fault.
    mixture: Option<Arc<Resource>>,
}

impl Held {
    /// What is at fault and has another version now, or is gone, is held back no more. `remembers`: what has another version
    /// is not forgotten. Returns whether anything is otherwise.
    pub(super) fn release(&mut self, current: Option<&Arc<Resource>>, remembers: bool) -> bool {
        let mut changes = false;
        let back = self.past.take_if(|charge| current.is_none() || charge.unit.is_in(current));
        changes |= back.is_some();
        self.charges.extend(back.filter(|_| current.is_some()).map(|charge| (charge.unit.part.clone(), charge)));
        for (_, charge) in self.charges.extract_if(.., |_, charge| !charge.unit.is_in(current)) {
            changes = true;
            self.doubtful |= !charge.found;
            if remembers && charge.found && current.is_some() {
                self.past = Some(charge);
            }
        }
        changes
    }

    /// Whether there is something to remember although nothing is held back.
    pub(super) fn remembers(&self) -> bool {
        self.past.is_some()
    }

    /// The client does not want the name any more: what was only suspected is suspected no more, for nobody will look for it.
    pub(super) fn forget_suspicions(&mut self) {
        self.past = None;
        self.charges.retain(|_, charge| charge.found);
    }

    /// What was found at fault in this form.
    pub(super) fn charge_of(&self, form: &Arc<Resource>) -> Option<&Arc<Charge>> {
        self.charges.values().chain(&self.past).find(|charge| charge.found && charge.unit.is_in(Some(form)))
    }

    /// The client holds this form: nothing in it is at fault.
    pub(super) fn absolve(&mut self, form: &Arc<Resource>) {
        self.past = None;
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
