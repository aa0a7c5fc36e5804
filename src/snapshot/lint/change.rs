//! Lint of a change: what it made, and what it removed, is looked at, and nothing else. Everything it asks is counted.

use super::index::{Index, addresses};
use super::{SAME_ADDRESS, Violation, names_nothing, violation};
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Fragment, Ref, Resource};
use crate::snapshot::set::{Layer, Set};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A resource by kind and name.
pub type Id = (Kind, Arc<str>);

/// Virtual hosts that are held back, by the name of their route configuration.
pub type HeldParts = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// What a change made and removed.
#[derive(Default, Debug)]
pub struct Changed {
    /// Resources made new, those of fragments included.
    pub made: Vec<Arc<Resource>>,
    /// The fragments made new, with the name of the resource each is part of.
    pub fragments: Vec<(Arc<str>, Arc<Fragment>)>,
    /// What is there no more.
    pub removed: BTreeSet<Id>,
    /// Listeners made new in the layer beneath.
    pub beneath: Vec<Arc<Resource>>,
}

/// What lint knows of a layer besides what is in it.
pub struct Sight<'a> {
    /// What the layer holds itself.
    pub own: &'a Index,
    /// What the layer beneath holds.
    pub beneath: Option<&'a Index>,
    /// What is held back there.
    pub held: Option<&'a HeldParts>,
    /// What Envoy would refuse of a resource by itself.
    pub refusals: &'a dyn Fn(&Resource) -> Vec<String>,
    /// How often something was looked up.
    pub looked_up: Cell<usize>,
}

impl Sight<'_> {
    fn count(&self) {
        self.looked_up.set(self.looked_up.get() + 1);
    }

    /// What is wrong with a resource by itself.
    pub(super) fn by_itself(&self, resource: &Resource) -> Vec<Violation> {
        self.count();
        (self.refusals)(resource).into_iter().map(|text| violation(resource, text)).collect()
    }

    /// Whether a reference leads nowhere.
    pub(super) fn dangles(&self, layer: &Layer, to: &Ref) -> bool {
        self.count();
        super::dangles(layer, to)
    }

    /// The other listeners that have an address of this one.
    pub(super) fn rivals<'a>(&'a self, layer: &'a Layer, listener: &'a Resource) -> impl Iterator<Item = &'a Arc<str>> {
        let has = move |name: &&Arc<str>| layer.own(Kind::Listener).contains_key(*name);
        let shows = move |name: &&Arc<str>| !has(name) && layer.has(Kind::Listener, name);
        let own = move |address| self.own.at(address).filter(has);
        let beneath = move |address| self.beneath.into_iter().flat_map(move |index| index.at(address)).filter(shows);
        addresses(listener).into_iter().flat_map(move |address| own(address).chain(beneath(address))).filter(
            move |name| {
                self.count();
                *name != listener.name()
            },
        )
    }

    /// What of the layer's own still names a resource that was removed; what it has in common is examined for itself.
    pub(super) fn still_named(&self, layer: &Layer, (kind, name): &Id) -> Vec<Violation> {
        let to = Ref { kind: *kind, name: name.clone() };
        self.count();
        if layer.has(*kind, name) {
            return Vec::new();
        }
        // Endpoints and their cluster share a name, so that they are found without the index.
        let cluster = layer.own(Kind::Cluster).get(name).filter(|_| *kind == Kind::Endpoint);
        if !self.own.is_named(&to) && !cluster.is_some_and(|cluster| cluster.refs().any(|other| *other == to)) {
            return Vec::new();
        }
        let namers: &[Kind] = match kind {
            Kind::Cluster => &[Kind::Listener, Kind::Route],
            Kind::Endpoint | Kind::Secret => &[Kind::Cluster, Kind::Listener],
            Kind::Route => &[Kind::Listener],
            Kind::Listener => &[],
        };
        namers.iter().flat_map(|namer| self.namers(layer.own(*namer), &to)).collect()
    }

    /// Those that name something, found by looking at all: somebody does, which is our fault.
    fn namers(&self, set: &Set, to: &Ref) -> Vec<Violation> {
        let names = |resource: &&Arc<Resource>| {
            resource.refs().any(|other| {
                self.count();
                other == to
            })
        };
        let text = || format!("names {} {}, which was removed", to.kind, to.name);
        set.values().filter(names).map(|resource| violation(resource, text())).collect()
    }
}

/// Examines what a change made and removed, given the layer after it.
pub fn changes(layer: &Layer, changed: &Changed, sight: &Sight) -> Vec<Violation> {
    let Changed { made, fragments, removed, beneath } = changed;
    let mut found = Vec::new();
    for resource in made {
        found.extend(sight.by_itself(resource));
        // Virtual hosts that stayed are not looked at again.
        if resource.fragments().is_none() {
            let dangling = resource.refs().filter(|to| sight.dangles(layer, to));
            found.extend(dangling.map(|to| violation(resource, names_nothing(to))));
        }
    }
    for (of, part) in fragments {
        let dangling = part.refs().iter().filter(|to| sight.dangles(layer, to));
        found.extend(dangling.map(|to| part_violation(of, part, names_nothing(to))));
    }
    // Nobody but who has listeners of his own can have one where a new one beneath is.
    let beneath =
        beneath.iter().filter(|listener| sight.own.has_addresses() && layer.has(Kind::Listener, listener.name()));
    for listener in made.iter().filter(|resource| resource.kind() == Kind::Listener).chain(beneath) {
        let rival = sight.rivals(layer, listener).next();
        found.extend(rival.map(|_| violation(listener, SAME_ADDRESS.to_owned())));
    }
    found.extend(removed.iter().flat_map(|id| sight.still_named(layer, id)));
    found
}

/// What is wrong with a virtual host.
pub(super) fn part_violation(of: &Arc<str>, part: &Fragment, text: String) -> Violation {
    let sources = part.provenance().refs().iter().map(|source| source.key.clone()).collect();
    Violation { kind: Kind::Route, name: of.clone(), text, sources }
}

/// Resources that were made more than once under a name: which of them stays would be chance.
pub fn made_twice(made: &[Arc<Resource>]) -> BTreeSet<Id> {
    let mut seen = BTreeSet::new();
    let twice = made.iter().filter(|resource| !seen.insert((resource.kind(), resource.name())));
    twice.map(|resource| (resource.kind(), resource.name().clone())).collect()
}
