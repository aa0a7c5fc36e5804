//! What an index holds under a key: nearly always one object, seldom thousands.

use crate::model::provenance::ObjectKey;
use imbl::OrdSet;

/// The keys of objects, sorted. One takes no memory of its own: a mesh has tens of thousands of such entries.
#[derive(Clone, Default, Debug)]
pub(super) enum Found {
    /// Nothing.
    #[default]
    Nothing,
    /// One object.
    One(ObjectKey),
    /// Several.
    Many(OrdSet<ObjectKey>),
}

impl Found {
    pub(super) fn insert(&mut self, key: &ObjectKey) {
        match self {
            Found::Nothing => *self = Found::One(key.clone()),
            Found::One(only) if only == key => {}
            Found::One(only) => *self = Found::Many([only.clone(), key.clone()].into_iter().collect()),
            Found::Many(keys) => _ = keys.insert(key.clone()),
        }
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        match self {
            Found::One(only) if only == key => *self = Found::Nothing,
            Found::Nothing | Found::One(_) => {}
            Found::Many(keys) => {
                keys.remove(key);
                if let (1, Some(only)) = (keys.len(), keys.get_min()) {
                    *self = Found::One(only.clone());
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Found::Nothing => 0,
            Found::One(_) => 1,
            Found::Many(keys) => keys.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ObjectKey> {
        let (one, many) = match self {
            Found::Nothing => (None, None),
            Found::One(only) => (Some(only), None),
            Found::Many(keys) => (None, Some(keys)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}
