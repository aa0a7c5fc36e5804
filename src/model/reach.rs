//! How far objects have come: at how many proxies what they say is in effect.

use super::problem::Problem;
use super::provenance::ObjectKey;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use xxhash_rust::xxh3::xxh3_128;

/// How far one state of an object has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// The `metadata.generation` that the configuration of proxies is made of; none for what has none.
    pub generation: Option<i64>,
    /// Tells the object from an earlier one of its name, by its `metadata.uid`; none where the source has none.
    pub identity: Option<Identity>,
    /// How many connected proxies have configuration that the object shapes.
    pub targeted: usize,
    /// How many of them have accepted all of it as it is now.
    pub live: usize,
}

/// A hash of an object's `metadata.uid`: which of all objects that have had a name it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity(u128);

impl Identity {
    /// That of an object with that uid.
    pub fn of(uid: &str) -> Self {
        Self(xxh3_128(uid.as_bytes()))
    }

    /// Reads what [`fmt::Display`] writes: 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Reach {
    /// Whether every proxy that the object concerns has accepted what it says.
    pub fn is_everywhere(&self) -> bool {
        self.live == self.targeted
    }
}

/// How far every policy of the World has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reaches {
    /// By object; an object that shapes no proxy's configuration is there, with nothing targeted.
    pub objects: BTreeMap<ObjectKey, Reach>,
    /// Whether proxies may be missing, because the replica that serves them did not answer.
    pub partial: bool,
}

impl Reaches {
    /// Says of objects that what they say is not on its way, whatever proxies have accepted.
    pub fn hold_back(&mut self, objects: &BTreeSet<ObjectKey>) {
        for key in objects {
            if let Some(reach) = self.objects.get_mut(key) {
                (reach.generation, reach.live) = (None, 0);
            }
        }
    }
}

/// What is known of how proxies take their configuration: by one replica, or by all together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Counts what one replica has found out; of all together it says nothing.
    pub revision: u64,
    /// How far every policy has come.
    pub reaches: Reaches,
    /// What proxies reject, as problems of the objects that it comes from.
    pub rejections: BTreeSet<Problem>,
    /// How many proxies are connected.
    pub proxies: usize,
}

impl Standing {
    /// Adds what another replica knows. An object is at the oldest generation that any of them has; one that a replica does
    /// not know yet is at none.
    pub fn join(&mut self, other: &Standing) {
        let (mine, theirs) = (&mut self.reaches.objects, &other.reaches.objects);
        for (key, reach) in mine.iter_mut() {
            let known = theirs.get(key).copied().unwrap_or_default();
            let same = reach.identity == known.identity;
            reach.generation = reach.generation.min(known.generation).filter(|_| same);
            reach.targeted += known.targeted;
            reach.live += known.live;
        }
        for (key, reach) in theirs {
            mine.entry(key.clone()).or_insert(Reach { generation: None, ..*reach });
        }
        self.reaches.partial |= other.reaches.partial;
        self.rejections.extend(other.rejections.iter().cloned());
        self.proxies += other.proxies;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::provenance::ObjectKind;

    fn standing(objects: &[(&str, i64, usize, usize)]) -> Standing {
        let reach = |(name, generation, targeted, live): &(&str, i64, usize, usize)| {
            let key = ObjectKey { kind: ObjectKind::VirtualService, namespace: "n".into(), name: (*name).into() };
            let identity = Some(Identity::of("one"));
            (key, Reach { generation: Some(*generation), identity, targeted: *targeted, live: *live })
        };
        let reaches = Reaches { objects: objects.iter().map(reach).collect(), partial: false };
        Standing { reaches, ..Standing::default() }
    }

    #[test]
    fn together_they_are_as_far_as_the_last() {
        let mut all = standing(&[("a", 2, 3, 3), ("mine", 1, 1, 1)]);
        all.join(&standing(&[("a", 1, 2, 1), ("theirs", 4, 2, 2)]));
        let found: Vec<_> = all.reaches.objects.values().map(|it| (it.generation, it.targeted, it.live)).collect();
        assert_eq!(found, [(Some(1), 5, 4), (None, 1, 1), (None, 2, 2)]);
    }

    #[test]
    fn another_object_of_the_same_name_is_not_the_same() {
        let (mut all, mut other) = (standing(&[("a", 2, 3, 3)]), standing(&[("a", 5, 2, 2)]));
        other.reaches.objects.values_mut().for_each(|reach| reach.identity = Some(Identity::of("another")));
        all.join(&other);
        assert_eq!(all.reaches.objects.values().map(|reach| reach.generation).collect::<Vec<_>>(), [None]);
    }
}
