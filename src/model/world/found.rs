//! What an index holds under a key: nearly always one object or a few, seldom thousands.

use crate::model::provenance::ObjectKey;
use imbl::OrdSet;
use std::sync::Arc;

/// How many are kept in a row: a set takes room for more from the first on, and a mesh has tens of thousands of services with a few
/// Pods each.
const FEW: usize = 16;

/// The keys of objects, sorted. One takes no memory of its own: a mesh has tens of thousands of such entries.
#[derive(Clone, Default, Debug)]
pub(super) enum Found {
    /// Nothing.
    #[default]
    Nothing,
    /// One object.
    One(ObjectKey),
    /// Several, shared by all who have them: they are copied when one is added or goes.
    Few(Arc<[ObjectKey]>),
    /// More than that.
    Many(OrdSet<ObjectKey>),
}

impl Found {
    pub(super) fn insert(&mut self, key: &ObjectKey) {
        match self {
            Found::Nothing => *self = Found::One(key.clone()),
            Found::One(only) if only == key => {}
            Found::One(only) => *self = Found::several([&*only, key].into_iter()),
            Found::Few(keys) if keys.binary_search(key).is_ok() => {}
            Found::Few(keys) => *self = Found::several(keys.iter().chain([key])),
            Found::Many(keys) => _ = keys.insert(key.clone()),
        }
    }

    pub(super) fn remove(&mut self, key: &ObjectKey) {
        match self {
            Found::One(only) if only == key => *self = Found::Nothing,
            Found::Nothing | Found::One(_) => {}
            Found::Few(keys) => *self = Found::several(keys.iter().filter(|other| *other != key)),
            Found::Many(keys) => {
                keys.remove(key);
                if keys.len() <= FEW {
                    *self = Found::several(keys.iter());
                }
            }
        }
    }

    /// Two or more that differ, in any order; or the one that is left of them.
    fn several<'k>(keys: impl Iterator<Item = &'k ObjectKey>) -> Self {
        let mut keys: Vec<ObjectKey> = keys.cloned().collect();
        keys.sort();
        match keys.len() {
            1 => keys.pop().map_or(Found::Nothing, Found::One),
            0..=FEW => Found::Few(keys.into()),
            _ => Found::Many(keys.into_iter().collect()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Found::Nothing => 0,
            Found::One(_) => 1,
            Found::Few(keys) => keys.len(),
            Found::Many(keys) => keys.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ObjectKey> {
        let (few, many): (&[ObjectKey], _) = match self {
            Found::Nothing => (&[], None),
            Found::One(only) => (std::slice::from_ref(only), None),
            Found::Few(keys) => (keys, None),
            Found::Many(keys) => (&[], Some(keys)),
        };
        few.iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::provenance::ObjectKind;
    use std::collections::BTreeSet;

    /// Whatever comes and goes, what is found is what a set of the standard library holds, whichever form it has.
    #[test]
    fn what_is_found_is_what_was_put_there() {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut found, mut expected, mut most) = (Found::default(), BTreeSet::new(), 0);
        for step in 0..4_000 {
            let name = format!("p{}", random.usize(..FEW * 3));
            let key = ObjectKey { kind: ObjectKind::Pod, namespace: "shop".into(), name: name.into() };
            // It grows, and then shrinks to nothing, again and again.
            if random.usize(..100) < if step / 200 % 2 == 0 { 80 } else { 10 } {
                found.insert(&key);
                expected.insert(key);
            } else {
                found.remove(&key);
                expected.remove(&key);
            }
            assert!(found.iter().eq(&expected), "{found:?}, {expected:?}");
            assert_eq!((found.len(), found.is_empty()), (expected.len(), expected.is_empty()));
            most = most.max(expected.len());
        }
        assert!(most > FEW * 2, "the control: there are many, {most}");
    }
}
