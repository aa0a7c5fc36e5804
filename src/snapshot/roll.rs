//! The roll of a kind: every resource of a layer, with what most clients ask and are told first. It is called once for all
//! of them, and lives as long as somebody holds it.
//!
//! The names are kept with the layer, for they are what most subscriptions consist of, and so is their digest, by which
//! clients that come back are recognised; a layer posted after another goes on from what was found out about that.

use super::digest::Digest;
use super::kind::Kind;
use super::names::NameSet;
use super::pieces::{FRAME, next_piece};
use super::resource::Resource;
use super::set::Layer;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How long a piece is at most: a few frames at once, as much as a connection takes ahead.
const PIECE: usize = 4 * FRAME;

/// Every resource of a kind in a layer.
#[derive(Debug)]
pub struct Roll {
    resources: Vec<Arc<Resource>>,
    names: NameSet,
    digest: Digest,
    refers: [bool; Kind::ALL.len()],
    delta: Mutex<Weak<Vec<Bytes>>>,
    sotw: Mutex<Weak<Vec<Bytes>>>,
}

impl Roll {
    fn new(layer: &Layer, kind: Kind, names: NameSet, digest: Digest) -> Self {
        let mut resources: Vec<_> = layer.iter(kind).cloned().collect();
        resources.sort_by(|one, other| one.name().cmp(other.name()));
        let mut refers = [false; Kind::ALL.len()];
        resources.iter().flat_map(|resource| resource.refs()).for_each(|to| refers[to.kind as usize] = true);
        Self { resources, names, digest, refers, delta: Mutex::default(), sotw: Mutex::default() }
    }

    /// The resource of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Resource>> {
        let at = self.resources.binary_search_by(|resource| (**resource.name()).cmp(name)).ok()?;
        Some(&self.resources[at])
    }

    /// The resources, sorted by name.
    pub fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// Their names.
    pub fn names(&self) -> &NameSet {
        &self.names
    }

    /// The version of all of them.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether any of them names a resource of that kind.
    pub fn refers_to(&self, kind: Kind) -> bool {
        self.refers[kind as usize]
    }

    /// Their entries of a Delta response, joined now unless somebody holds them.
    pub fn delta_pieces(&self) -> Arc<Vec<Bytes>> {
        held(&self.delta, || self.pieces(Resource::delta_entry))
    }

    /// Their entries of a SotW response, joined now unless somebody holds them.
    pub fn sotw_pieces(&self) -> Arc<Vec<Bytes>> {
        held(&self.sotw, || self.pieces(Resource::sotw_entry))
    }

    fn pieces(&self, entry: fn(&Resource) -> Bytes) -> Vec<Bytes> {
        let mut parts = self.resources.iter().map(|resource| entry(resource)).peekable();
        std::iter::from_fn(|| next_piece(&mut parts, PIECE)).collect()
    }
}

/// What is found out about the resources of a layer when somebody asks, by kind. A copy of a layer is made to be changed:
/// it knows nothing yet.
#[derive(Default, Debug)]
pub(super) struct Finds([Mutex<Find>; Kind::ALL.len()]);

#[derive(Default, Debug)]
struct Find {
    names: Option<NameSet>,
    digest: Option<Digest>,
    roll: Weak<Roll>,
}

impl Clone for Finds {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Finds {
    fn of(&self, kind: Kind) -> MutexGuard<'_, Find> {
        self.0[kind as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was found out about a kind.
    pub(super) fn forget(&mut self, kind: Kind) {
        self.0[kind as usize] = Mutex::default();
    }
}

impl Layer {
    /// The names of a kind.
    pub fn names(&self, kind: Kind) -> NameSet {
        match self.only_common(kind) {
            Some(common) => common.names(kind),
            None => self.finds().of(kind).names.get_or_insert_with(|| self.collect_names(kind)).clone(),
        }
    }

    /// The version of all resources of a kind.
    pub fn digest(&self, kind: Kind) -> Digest {
        let sum =
            || self.iter(kind).fold(Digest::default(), |sum, resource| sum.with(resource.name(), resource.version()));
        match self.only_common(kind) {
            Some(common) => common.digest(kind),
            None => *self.finds().of(kind).digest.get_or_insert_with(sum),
        }
    }

    /// The roll of a kind, called now unless somebody holds it. Layers that add nothing to what they lie over share its.
    pub fn roll(&self, kind: Kind) -> Arc<Roll> {
        if let Some(common) = self.only_common(kind) {
            return common.roll(kind);
        }
        let (names, digest) = (self.names(kind), self.digest(kind));
        let mut find = self.finds().of(kind);
        find.roll.upgrade().unwrap_or_else(|| {
            let roll = Arc::new(Roll::new(self, kind, names, digest));
            find.roll = Arc::downgrade(&roll);
            roll
        })
    }

    /// Takes over what was found out about a kind of the layer before, which differs in these names.
    pub(super) fn inherit<'a>(&self, before: &Layer, kind: Kind, differ: impl Iterator<Item = &'a Arc<str>>) {
        if self.only_common(kind).is_some() {
            return;
        }
        let (mut names, mut digest) = {
            let find = before.finds().of(kind);
            (find.names.clone(), find.digest)
        };
        for name in differ {
            let (old, new) = (before.get(kind, name), self.get(kind, name));
            if let Some(names) = &mut names {
                match new {
                    Some(resource) => _ = names.insert(resource.name().clone()),
                    None => _ = names.take(name),
                }
            }
            if let Some(digest) = &mut digest {
                old.into_iter().for_each(|resource| digest.take(resource));
                new.into_iter().for_each(|resource| digest.add(resource));
            }
        }
        let mut find = self.finds().of(kind);
        (find.names, find.digest) = (names, digest);
    }

    fn collect_names(&self, kind: Kind) -> NameSet {
        let mut names = self.common().map(|common| common.names(kind)).unwrap_or_default();
        for name in self.hidden(kind) {
            names.take(name);
        }
        for name in self.own(kind).keys() {
            names.insert(name.clone());
        }
        names
    }

    /// The layer beneath, where nothing of the kind is its own or hidden.
    fn only_common(&self, kind: Kind) -> Option<&Arc<Layer>> {
        self.common().filter(|_| self.own(kind).is_empty() && self.hidden(kind).is_empty())
    }
}

fn held<T>(last: &Mutex<Weak<T>>, make: impl FnOnce() -> T) -> Arc<T> {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    last.upgrade().unwrap_or_else(|| {
        let made = Arc::new(make());
        *last = Arc::downgrade(&made);
        made
    })
}
