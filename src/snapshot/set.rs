//! Sets of resources: persistent, one per kind, compared by difference; and the snapshot, two layers of them.

use super::kind::Kind;
use super::resource::Resource;
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// Resources of one kind by name.
pub type Set = OrdMap<Arc<str>, Arc<Resource>>;

/// Resources of every kind: the outbound or the inbound half of a proxy's configuration. Cloning is cheap.
#[derive(Clone, Default, Debug)]
pub struct Layer {
    sets: [Set; Kind::ALL.len()],
}

impl Layer {
    /// The resources of a kind.
    pub fn set(&self, kind: Kind) -> &Set {
        &self.sets[kind as usize]
    }

    /// Adds or replaces a resource.
    pub fn insert(&mut self, resource: Arc<Resource>) {
        self.sets[resource.kind() as usize].insert(resource.name().clone(), resource);
    }

    /// Removes a resource.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.sets[kind as usize].remove(name);
    }
}

/// Everything a proxy is meant to hold: the layer of its audience and the layer of its workload, whose names are
/// disjoint. Cloning is cheap.
#[derive(Clone, Default, Debug)]
pub struct Snapshot {
    /// Outbound, shared by the audience.
    pub outbound: Arc<Layer>,
    /// Inbound, shared by the workload's replicas.
    pub inbound: Arc<Layer>,
    /// When the change that led here was seen; none for what was there at start.
    pub since: Option<Instant>,
}

impl Snapshot {
    fn layers(&self) -> [&Layer; 2] {
        [&self.outbound, &self.inbound]
    }

    /// The resource of that kind and name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.layers().into_iter().find_map(|layer| layer.set(kind).get(name))
    }

    /// The resources of a kind: outbound, then inbound, each sorted by name.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.layers().into_iter().flat_map(move |layer| layer.set(kind).values())
    }

    /// How many resources of a kind there are.
    pub fn len(&self, kind: Kind) -> usize {
        self.layers().into_iter().map(|layer| layer.set(kind).len()).sum()
    }

    /// The names of a kind whose version differs from that in `old`. Costs O(changes log n), nothing where a layer is
    /// the same.
    pub fn changed_since(&self, old: &Snapshot, kind: Kind) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        for (old, new) in old.layers().into_iter().zip(self.layers()) {
            if !std::ptr::eq(old, new) {
                changed(old.set(kind), new.set(kind), &mut names);
            }
        }
        names
    }
}

fn changed(old: &Set, new: &Set, names: &mut BTreeSet<Arc<str>>) {
    if old.ptr_eq(new) {
        return;
    }
    for item in old.diff(new) {
        match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => {
                names.insert(name.clone());
            }
            DiffItem::Update { old: (name, old), new: (_, new) } => {
                if old.version() != new.version() {
                    names.insert(name.clone());
                }
            }
        }
    }
}
