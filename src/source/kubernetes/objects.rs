//! The objects of one kind, by namespace and name: what is in a namespace is found and counted without a look at what is in others.

use std::borrow::Borrow;
use std::collections::BTreeMap;

/// Objects by namespace and name.
#[derive(Debug)]
pub struct Objects<K, V> {
    /// None is empty.
    namespaces: BTreeMap<K, BTreeMap<K, V>>,
    count: usize,
}

impl<K, V> Default for Objects<K, V> {
    fn default() -> Self {
        Self { namespaces: BTreeMap::new(), count: 0 }
    }
}

impl<K: Ord, V> Objects<K, V> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many there are in a namespace.
    pub fn count_in<Q: Ord + ?Sized>(&self, namespace: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        self.namespaces.get(namespace).map_or(0, BTreeMap::len)
    }

    /// One of them.
    pub fn get<Q: Ord + ?Sized>(&self, namespace: &Q, name: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.namespaces.get(namespace)?.get(name)
    }

    /// Those of a namespace, by name.
    pub fn inside<Q: Ord + ?Sized>(&self, namespace: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.namespaces.get(namespace).into_iter().flatten()
    }

    /// All of them, with namespace and name.
    pub fn all(&self) -> impl Iterator<Item = (&K, &K, &V)> {
        self.namespaces
            .iter()
            .flat_map(|(namespace, inside)| inside.iter().map(move |(name, it)| (namespace, name, it)))
    }

    /// The namespaces in which there are any.
    pub fn namespaces(&self) -> impl Iterator<Item = &K> {
        self.namespaces.keys()
    }

    /// Puts one where it belongs, in place of one that may be there.
    pub fn insert(&mut self, namespace: K, name: K, object: V) {
        let before = self.namespaces.entry(namespace).or_default().insert(name, object);
        self.count += usize::from(before.is_none());
    }

    /// Takes one away.
    pub fn remove<Q: Ord + ?Sized>(&mut self, namespace: &Q, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let inside = self.namespaces.get_mut(namespace)?;
        let removed = inside.remove(name)?;
        if inside.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.count -= 1;
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::cmp::Ordering;

    thread_local! {
        /// How often two names were compared.
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    #[derive(Debug)]
    struct Counted(usize);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted {}

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    fn compared<T>(act: impl FnOnce() -> T) -> (T, usize) {
        let before = COMPARED.get();
        let done = act();
        (done, COMPARED.get() - before)
    }

    /// Two thousand objects in each of many namespaces.
    fn full(namespaces: usize) -> Objects<Counted, ()> {
        let mut objects = Objects::default();
        for (namespace, name) in (0..namespaces).flat_map(|namespace| (0..2000).map(move |name| (namespace, name))) {
            objects.insert(Counted(namespace), Counted(name), ());
        }
        objects
    }

    #[test]
    fn what_is_in_others_costs_nothing() {
        let (few, many) = (full(2), full(64));
        assert_eq!((few.count(), many.count()), (4000, 128_000));
        for objects in [&few, &many] {
            let ((count, inside), compared) =
                compared(|| (objects.count_in(&Counted(1)), objects.inside(&Counted(1)).count()));
            assert_eq!((count, inside), (2000, 2000));
            // A tree of so many namespaces is a few nodes deep, and each has up to eleven keys.
            assert!(compared <= 2 * 3 * 11, "{compared} comparisons");
        }
        let (count, compared) = compared(|| many.all().filter(|(namespace, ..)| **namespace == Counted(1)).count());
        assert_eq!((count, compared), (2000, 128_000), "the control: a look at all of them");
    }

    #[test]
    fn counts_are_those_of_what_is_there() {
        let mut objects = Objects::<&str, u8>::default();
        for (namespace, name) in [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")] {
            objects.insert(namespace, name, 1);
        }
        assert_eq!(
            (objects.count(), objects.count_in("a"), objects.count_in("b"), objects.count_in("c")),
            (3, 2, 1, 0)
        );
        assert_eq!(objects.remove("b", "y"), None);
        assert_eq!(objects.remove("b", "x"), Some(1));
        assert_eq!(objects.remove("b", "x"), None);
        assert_eq!((objects.count(), objects.namespaces().collect::<Vec<_>>()), (2, vec![&"a"]));
        assert_eq!(objects.all().map(|(_, name, _)| *name).collect::<Vec<_>>(), ["x", "y"]);
        assert!(objects.get("a", "y").is_some() && objects.get("b", "x").is_none());
    }
}
