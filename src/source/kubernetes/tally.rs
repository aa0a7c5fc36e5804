//! How many objects each kind has, and whether it is followed wherever it is watched: sums over places, kept up as one of them changes.

use super::kinds::Watched;
use std::collections::BTreeMap;

/// What a kind comes to.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Sum {
    /// How many objects there are.
    pub objects: usize,
    /// In how many places it is not followed.
    pub behind: usize,
}

/// The sums of all kinds.
#[derive(Debug)]
pub struct Tally {
    /// What each place adds to the sum of its kind.
    places: Vec<(String, Sum)>,
    kinds: BTreeMap<String, Sum>,
}

impl Tally {
    /// Of kinds of which nothing is known, each in one place.
    pub fn new(kinds: &[&'static Watched]) -> Self {
        let unknown = |kind: &&Watched| (kind.to_string(), Sum { objects: 0, behind: 1 });
        let places: Vec<_> = kinds.iter().map(unknown).collect();
        let mut kinds: BTreeMap<String, Sum> = BTreeMap::new();
        for (kind, sum) in &places {
            kinds.entry(kind.clone()).or_default().behind += sum.behind;
        }
        Self { places, kinds }
    }

    /// There are so many objects in a place now, and they are followed or not: the kind, and what it comes to.
    pub fn note(&mut self, place: usize, objects: usize, followed: bool) -> (&str, &Sum) {
        let (kind, before) = &mut self.places[place];
        let sum = self.kinds.get_mut(kind).expect("each place is one of a kind");
        let now = Sum { objects, behind: usize::from(!followed) };
        sum.objects = sum.objects + now.objects - before.objects;
        sum.behind = sum.behind + now.behind - before.behind;
        *before = now;
        (kind, sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kubernetes::kinds::within;

    #[test]
    fn a_kind_is_what_its_places_are() {
        let kinds = within(&["a".to_owned(), "b".to_owned()], &[]);
        let mut tally = Tally::new(&kinds);
        let places: Vec<_> = (0..kinds.len()).filter(|place| kinds[*place].plural == "services").collect();
        let sum = |objects, behind| ("services", Sum { objects, behind });
        let mut note = |place: usize, objects, followed| {
            let (kind, sum) = tally.note(places[place], objects, followed);
            (if kind == "services" { "services" } else { "another" }, sum.clone())
        };
        assert_eq!(note(0, 3, true), sum(3, 1));
        assert_eq!(note(1, 4, true), sum(7, 0));
        assert_eq!(note(0, 1, false), sum(5, 1));
        assert_eq!(note(0, 1, true), sum(5, 0));
    }
}
