//! What a stream is told in place of the newest snapshot because of a rejection.

use crate::snapshot::kind::Kind;
use crate::snapshot::resource::Resource;
use crate::snapshot::set::Snapshot;
use imbl::OrdMap;
use std::sync::Arc;

/// What is said of a name in place of its newest form.
#[derive(Clone, Debug)]
pub(in crate::xds) enum Barrier {
    /// This form of it, which is what the client accepted last, or the newest without what was rejected of it.
    Form(Arc<Resource>),
    /// Nothing: the client does not hold it.
    Nothing,
    /// Nothing: the client may hold it in a form that isn't known, from an earlier stream. Taking it away could take away
    /// what works.
    Untouched,
}

impl Barrier {
    /// The form that is told, if any.
    pub(in crate::xds) fn form(&self) -> Option<&Arc<Resource>> {
        match self {
            Barrier::Form(form) => Some(form),
            Barrier::Nothing | Barrier::Untouched => None,
        }
    }
}

impl PartialEq for Barrier {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Barrier::Form(form), Barrier::Form(other)) => Arc::ptr_eq(form, other),
            (Barrier::Nothing, Barrier::Nothing) | (Barrier::Untouched, Barrier::Untouched) => true,
            _ => false,
        }
    }
}

/// What is said in place of newest forms, by name; and the kinds that stand still while a culprit among them is looked for.
#[derive(Clone, Debug, Default)]
pub(in crate::xds) struct Barriers {
    by_name: [OrdMap<Arc<str>, Barrier>; Kind::ALL.len()],
    still: [Option<Snapshot>; Kind::ALL.len()],
}

impl Barriers {
    /// Bars these of a kind.
    pub(super) fn bar(&mut self, kind: Kind, by_name: &OrdMap<Arc<str>, Barrier>) {
        self.by_name[kind as usize] = by_name.clone();
    }

    /// Nothing of a kind changes but what is tried.
    pub(super) fn stand_still(&mut self, kind: Kind, at: Snapshot) {
        self.still[kind as usize] = Some(at);
    }

    /// Whether nothing is barred.
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.iter().all(OrdMap::is_empty) && self.still.iter().all(Option::is_none)
    }

    /// What is said of a name, if anything else than of its newest form.
    pub(in crate::xds) fn get(&self, kind: Kind, name: &str) -> Option<&Barrier> {
        self.by_name[kind as usize].get(name)
    }

    /// What is barred of a kind.
    pub(in crate::xds) fn of(&self, kind: Kind) -> &OrdMap<Arc<str>, Barrier> {
        &self.by_name[kind as usize]
    }

    /// The snapshot of which a kind is told while it stands still.
    pub(in crate::xds) fn still(&self, kind: Kind) -> Option<&Snapshot> {
        self.still[kind as usize].as_ref()
    }
}
