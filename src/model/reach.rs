//! How far objects have come: at how many proxies what they say is in effect.

use super::problem::Problem;
use super::provenance::ObjectKey;
use std::collections::{BTreeMap, BTreeSet};

/// How far one state of an object has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reach {
    /// The `metadata.generation` that the configuration of proxies is made of; none for what has none.
    pub generation: Option<i64>,
    /// How many connected proxies have configuration that the object shapes.
    pub targeted: usize,
    /// How many of them have accepted all of it as it is now.
    pub live: usize,
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

/// What is known of how proxies take their configuration: by one replica, or by all together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Counts what one replica has found out; of all together it says nothing.
    pub revision: u64,
    /// How far every policy has come.
    pub reaches: Reaches,
    /// What proxies reject, as problems of the objects that it comes from.
    pub rejections: BTreeSet<Problem>,
}

impl Standing {
    /// Adds what another replica knows. An object is at the oldest generation that any of them has; one that a replica does
    /// not know yet is at none.
    pub fn join(&mut self, other: &Standing) {
        let (mine, theirs) = (&mut self.reaches.objects, &other.reaches.objects);
        for (key, reach) in mine.iter_mut() {
            let known = theirs.get(key).copied().unwrap_or_default();
            reach.generation = reach.generation.min(known.generation);
            reach.targeted += known.targeted;
            reach.live += known.live;
        }
        for (key, reach) in theirs {
            mine.entry(key.clone()).or_insert(Reach { generation: None, ..*reach });
        }
        self.reaches.partial |= other.reaches.partial;
        self.rejections.extend(other.rejections.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::provenance::ObjectKind;

    fn standing(objects: &[(&str, i64, usize, usize)]) -> Standing {
        let reach = |(name, generation, targeted, live): &(&str, i64, usize, usize)| {
            let key = ObjectKey { kind: ObjectKind::VirtualService, namespace: "n".into(), name: (*name).into() };
            (key, Reach { generation: Some(*generation), targeted: *targeted, live: *live })
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
}
