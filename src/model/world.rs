//! The World: every object, by key, with indexes; an immutable value that shares structure with its predecessors.
//!
//! Only the keeper makes a new one, by [`World::apply`]. Readers hold two and ask which look-up keys differ. The World
//! knows nothing of time or of what was there before.

mod found;

use super::labels::{Labels, selects};
use super::name::{Host, Namespace, ServiceKey};
use super::object::Object;
use super::provenance::{ObjectKey, ObjectKind};
use super::service::{Nearness, Protocol};
use found::Found;
use imbl::{OrdMap, OrdSet};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// What a look-up asks for. A change of the World touches keys; touched keys select what is computed again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// One object by its key.
    Object(ObjectKey),
    /// The set of names of a kind; touched only when an object comes or goes.
    Names(ObjectKind),
    /// The set of names of services that have a port; touched only when one joins or leaves.
    NamesOnPort(u16),
    /// The same of those that say they speak HTTP there.
    HttpOnPort(u16),
    /// Services that have an address.
    AddressedBy(IpAddr),
    /// The set of numbers of service ports; touched when any service gains or loses a port.
    Ports,
    /// Services of a namespace whose selector starts with that label.
    SelectedBy(Namespace, Arc<str>, Arc<str>),
    /// Services that say themselves for whom they are.
    Exporting,
    /// The set of names of services whose endpoints are chosen by where a client is; touched only when one joins or leaves.
    NamesNear(Nearness),
    /// Services that are other names for a host.
    AliasesOf(Host),
    /// Pods that have an address of their own.
    PodsAt(IpAddr),
    /// Pods of a namespace.
    PodsIn(Namespace),
    /// Pods that a service selects.
    PodsOf(ServiceKey),
    /// EndpointSlices of a service.
    SlicesOf(ServiceKey),
    /// DestinationRules that name a host.
    RulesFor(Host),
    /// DestinationRules of a namespace that are for some of its workloads only.
    SelectingRulesIn(Namespace),
    /// VirtualServices that name a host.
    RoutesFor(Host),
    /// Sidecars of a namespace.
    SidecarsIn(Namespace),
    /// PeerAuthentications of a namespace.
    AuthenticationsIn(Namespace),
}

impl Key {
    /// Whether the key stands for a set of names, so that a changed value of a member doesn't touch it.
    fn is_membership(&self) -> bool {
        matches!(self, Key::Names(_) | Key::NamesOnPort(_) | Key::HttpOnPort(_) | Key::NamesNear(_))
    }

    /// Whether an object is found in the index under a key that is its own: objects are found by their keys, addresses
    /// elsewhere, and the Pods of a service by what both say.
    fn is_indexed(&self) -> bool {
        !matches!(self, Key::Object(_) | Key::AddressedBy(_) | Key::PodsAt(_) | Key::PodsIn(_) | Key::PodsOf(_))
    }
}

/// The keys under which an object is found: the one place that says what a change of it touches, but for what follows from
/// another object as well ([`World::selecting`]).
pub fn keys(object: &Object) -> Vec<Key> {
    let mut keys = vec![Key::Object(object.key().clone()), Key::Names(object.key().kind)];
    match object {
        Object::Namespace(_) | Object::Node(_) | Object::MeshConfig(_) | Object::Secret(_) => {}
        Object::Pod(pod) => {
            keys.push(Key::PodsIn(object.key().namespace.clone()));
            keys.extend(pod.own_addresses().map(Key::PodsAt));
        }
        Object::Service(service) => {
            keys.extend(service.ports.iter().map(|port| Key::NamesOnPort(port.number)));
            let http = service.ports.iter().filter(|port| matches!(port.protocol, Protocol::Http | Protocol::Http2));
            keys.extend(http.map(|port| Key::HttpOnPort(port.number)));
            keys.extend(service.addresses.iter().copied().map(Key::AddressedBy));
            let first = service.selector.iter().next();
            let namespace = &object.key().namespace;
            keys.extend(first.map(|(key, value)| Key::SelectedBy(namespace.clone(), key.clone(), value.clone())));
            keys.extend(service.nearness().map(Key::NamesNear));
            keys.extend(service.exports.is_some().then_some(Key::Exporting));
            keys.extend(service.alias().cloned().map(Key::AliasesOf));
            keys.push(Key::PodsOf(service.key.clone()));
        }
        Object::EndpointSlice(slice) => keys.push(Key::SlicesOf(slice.service.clone())),
        Object::DestinationRule(rule) => {
            keys.push(Key::RulesFor(rule.host.clone()));
            let selecting = || Key::SelectingRulesIn(object.key().namespace.clone());
            keys.extend(rule.selector.is_some().then(selecting));
        }
        Object::VirtualService(service) => keys.extend(service.hosts.iter().cloned().map(Key::RoutesFor)),
        Object::Sidecar(_) => keys.push(Key::SidecarsIn(object.key().namespace.clone())),
        Object::PeerAuthentication(_) => keys.push(Key::AuthenticationsIn(object.key().namespace.clone())),
    }
    keys
}

/// What is found by an object, as one of these says; nothing where there is none.
fn found_by<T: Ord>(object: Option<&Object>, found: fn(&Object) -> Vec<T>) -> BTreeSet<T> {
    object.into_iter().flat_map(found).collect()
}

/// Puts what an object says now in place of what it said before; what is the same stays untouched.
fn exchange<T: Ord + Clone>(
    set: &mut OrdSet<T>,
    old: Option<&Object>,
    new: Option<&Object>,
    found: fn(&Object) -> Vec<T>,
) {
    let (before, after) = (found_by(old, found), found_by(new, found));
    before.difference(&after).for_each(|gone| _ = set.remove(gone));
    set.extend(after.difference(&before).cloned());
}

/// The keys under which the index says that an object is found.
fn indexed(object: &Object) -> Vec<Key> {
    keys(object).into_iter().filter(Key::is_indexed).collect()
}

fn own_addresses(object: &Object) -> Vec<(IpAddr, ObjectKey)> {
    let Object::Pod(pod) = object else { return Vec::new() };
    pod.own_addresses().map(|address| (address, object.key().clone())).collect()
}

fn addressed(object: &Object) -> Vec<Addressed> {
    let Object::Service(service) = object else { return Vec::new() };
    let created = service.meta().age().0;
    service.addresses.iter().map(|address| (*address, created, object.key().clone())).collect()
}

/// One change: the new value of an object, or its absence.
pub type Change = (ObjectKey, Option<Object>);

/// Changes that belong together, and when the event behind them was seen.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The changes, applied in order.
    pub changes: Vec<Change>,
    /// When the event behind them was seen.
    pub at: Instant,
}

/// Every object chancery knows, and the indexes over them. Cloning is cheap.
#[derive(Clone, Default, Debug)]
pub struct World {
    objects: OrdMap<ObjectKey, Object>,
    index: OrdMap<Key, Found>,
    /// The addresses of services, each with those that have it, oldest first.
    addresses: OrdSet<Addressed>,
    /// The addresses of Pods, each with those that have it.
    pods: OrdSet<(IpAddr, ObjectKey)>,
}

/// An address, when the service was created (none sorts last), and which it is.
type Addressed = (IpAddr, i64, ObjectKey);

/// A state of the World.
#[derive(Clone, Debug)]
pub struct State {
    /// The World.
    pub world: World,
    /// When the change that led here was seen; none for what was there at start.
    pub since: Option<Instant>,
}

impl World {
    /// Applies changes in order; returns whether anything differs afterwards.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> bool {
        let mut changed = false;
        for (key, value) in changes {
            changed |= self.replace(key, value);
        }
        changed
    }

    fn replace(&mut self, key: ObjectKey, value: Option<Object>) -> bool {
        let old = self.objects.get(&key).cloned();
        if old == value {
            return false;
        }
        // Most changes leave an object where it is found, and every touch copies a path of the tree.
        let (before, after) = (found_by(old.as_ref(), indexed), found_by(value.as_ref(), indexed));
        before.difference(&after).for_each(|gone| self.unindex(gone, &key));
        for found in after.difference(&before) {
            self.index.entry(found.clone()).or_default().insert(&key);
        }
        self.relate(&key, old.as_ref(), value.as_ref());
        exchange(&mut self.addresses, old.as_ref(), value.as_ref(), addressed);
        exchange(&mut self.pods, old.as_ref(), value.as_ref(), own_addresses);
        match value {
            Some(value) => self.objects.insert(key, value),
            None => self.objects.remove(&key),
        };
        true
    }

    fn unindex(&mut self, gone: &Key, object: &ObjectKey) {
        if let Some(set) = self.index.get_mut(gone) {
            set.remove(object);
            if set.is_empty() {
                self.index.remove(gone);
            }
        }
    }

    /// Keeps what is found under [`Key::PodsOf`], where a Pod or a service has become another.
    fn relate(&mut self, key: &ObjectKey, old: Option<&Object>, new: Option<&Object>) {
        if labels(old) == labels(new) {
            return;
        }
        match key.kind {
            ObjectKind::Pod => {
                for service in old.into_iter().flat_map(|old| self.selecting(old)).collect::<Vec<_>>() {
                    self.unindex(&Key::PodsOf(service), key);
                }
                for service in new.into_iter().flat_map(|new| self.selecting(new)).collect::<Vec<_>>() {
                    self.index.entry(Key::PodsOf(service)).or_default().insert(key);
                }
            }
            ObjectKind::Service => {
                let service = Key::PodsOf(key.into());
                self.index.remove(&service);
                let selector = labels(new).filter(|selector| !selector.is_empty());
                let selected = |pod: &&Object| selector.zip(labels(Some(pod))).is_some_and(|(of, is)| selects(of, is));
                let pods = self.objects_in(ObjectKind::Pod, &key.namespace).filter(selected);
                let found: Vec<_> = pods.map(|pod| pod.key().clone()).collect();
                for pod in found {
                    self.index.entry(service.clone()).or_default().insert(&pod);
                }
            }
            _ => {}
        }
    }

    /// The services that select a Pod, which may be there or not.
    fn selecting(&self, pod: &Object) -> impl Iterator<Item = ServiceKey> {
        let (namespace, is) = (&pod.key().namespace, labels(Some(pod)));
        let under = |(key, value): (&Arc<str>, &Arc<str>)| {
            self.found(&Key::SelectedBy(namespace.clone(), key.clone(), value.clone()))
        };
        let found = is.into_iter().flat_map(Labels::iter).flat_map(under).filter_map(|key| self.object(key));
        let selecting =
            found.filter(move |service| labels(Some(service)).zip(is).is_some_and(|(of, is)| selects(of, is)));
        selecting.map(|service| service.key().into())
    }

    /// The object of that key.
    pub fn object(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Every object, sorted by key.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// The objects of a kind, sorted by namespace and name.
    pub fn objects_of(&self, kind: ObjectKind) -> impl Iterator<Item = &Object> {
        let first = ObjectKey { kind, namespace: "".into(), name: "".into() };
        self.objects.range(first..).take_while(move |(key, _)| key.kind == kind).map(|(_, object)| object)
    }

    /// The objects of a kind in a namespace, sorted by name.
    pub fn objects_in(&self, kind: ObjectKind, namespace: &Namespace) -> impl Iterator<Item = &Object> {
        let first = ObjectKey { kind, namespace: namespace.clone(), name: "".into() };
        let from = self.objects.range(first..);
        from.take_while(move |(key, _)| key.kind == kind && key.namespace == *namespace).map(|(_, object)| object)
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: ObjectKind) -> usize {
        self.index.get(&Key::Names(kind)).map_or(0, Found::len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The keys of the objects found under an index key, sorted.
    pub fn found<'w>(&'w self, key: &Key) -> impl Iterator<Item = &'w ObjectKey> + use<'w> {
        self.index.get(key).into_iter().flat_map(Found::iter)
    }

    /// The keys of the services that have an address, oldest first.
    pub fn addressed_by(&self, address: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        let first = ObjectKey { kind: ObjectKind::Namespace, namespace: "".into(), name: "".into() };
        let from = self.addresses.range((address, i64::MIN, first)..);
        from.take_while(move |(other, ..)| *other == address).map(|(.., key)| key)
    }

    /// The keys of the Pods that have an address of their own, sorted.
    pub fn pods_at(&self, address: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        let first = ObjectKey { kind: ObjectKind::Namespace, namespace: "".into(), name: "".into() };
        let from = self.pods.range((address, first)..);
        from.take_while(move |(other, _)| *other == address).map(|(_, key)| key)
    }

    /// The numbers of the ports that services have, ascending.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let on_ports = self.index.range(Key::NamesOnPort(0)..=Key::NamesOnPort(u16::MAX));
        on_ports.filter_map(|(key, _)| if let Key::NamesOnPort(port) = key { Some(*port) } else { None })
    }

    /// The look-up keys whose answer may differ between `old` and this World. Costs O(changes log n).
    pub fn touched_since(&self, old: &World) -> BTreeSet<Key> {
        let mut touched = BTreeSet::new();
        for difference in old.objects.diff(&self.objects) {
            let (before, after) = match difference {
                imbl::ordmap::DiffItem::Add(_, new) => (None, Some(new)),
                imbl::ordmap::DiffItem::Update { old: (_, old), new: (_, new) } => (Some(old), Some(new)),
                imbl::ordmap::DiffItem::Remove(_, old) => (Some(old), None),
            };
            touch(before, after, &mut touched);
            for (world, pod) in [(old, before), (self, after)] {
                let pod = pod.filter(|pod| matches!(pod, Object::Pod(_)) && before != after);
                touched.extend(pod.into_iter().flat_map(|pod| world.selecting(pod)).map(Key::PodsOf));
            }
        }
        touched
    }
}

/// The labels of a Pod, and those that a service selects by.
fn labels(object: Option<&Object>) -> Option<&Labels> {
    match object? {
        Object::Pod(pod) => Some(&pod.labels),
        Object::Service(service) => Some(&service.selector),
        _ => None,
    }
}

fn touch(before: Option<&Object>, after: Option<&Object>, touched: &mut BTreeSet<Key>) {
    if before == after {
        return;
    }
    let before: BTreeSet<Key> = before.into_iter().flat_map(keys).collect();
    let after: BTreeSet<Key> = after.into_iter().flat_map(keys).collect();
    touched.extend(before.union(&after).filter(|key| !key.is_membership()).cloned());
    for key in before.symmetric_difference(&after) {
        if matches!(key, Key::NamesOnPort(_)) {
            touched.insert(Key::Ports);
        }
        touched.insert(key.clone());
    }
}
