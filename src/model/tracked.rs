//! Keyed look-ups that are recorded, misses included: what a computation read decides when it is done again.

use super::authentication::PeerAuthentication;
use super::destination::DestinationRule;
use super::endpoint::EndpointSlice;
use super::labels::{Labels, selects};
use super::mesh::Mesh;
use super::name::{Host, Name, Namespace, ServiceKey};
use super::node::Node;
use super::object::{Meta, Object, Stored};
use super::pod::Pod;
use super::provenance::{ObjectKey, ObjectKind, ObjectRef};
use super::route::VirtualService;
use super::secret::{self, Grant, Secret};
use super::service::{Nearness, Service};
use super::sidecar::Sidecar;
use super::world::{Key, World};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

/// What holds where nobody wrote settings of the mesh.
static NO_SETTINGS: LazyLock<Stored<Mesh>> = LazyLock::new(|| {
    let reference = ObjectRef { key: Mesh::key(), uid: None, generation: None };
    Stored::new(Meta { reference, created: None }, Mesh::default())
});

/// A World whose look-ups are recorded. The only way translation reads one.
pub struct Tracked<'w> {
    world: &'w World,
    reads: RefCell<BTreeSet<Key>>,
}

impl<'w> Tracked<'w> {
    /// Starts with nothing read.
    pub fn new(world: &'w World) -> Self {
        Self { world, reads: RefCell::default() }
    }

    /// Everything that was looked up.
    pub fn into_reads(self) -> BTreeSet<Key> {
        self.reads.into_inner()
    }

    fn read(&self, key: Key) -> impl Iterator<Item = &'w Object> {
        let world = self.world;
        let found: Vec<_> = world.found(&key).filter_map(|key| world.object(key)).collect();
        self.reads.borrow_mut().insert(key);
        found.into_iter()
    }

    fn names(&self, key: Key) -> impl Iterator<Item = &'w ObjectKey> {
        let found: Vec<_> = self.world.found(&key).collect();
        self.reads.borrow_mut().insert(key);
        found.into_iter()
    }

    /// The same of a set of Services.
    fn service_names(&self, key: Key) -> Vec<ServiceKey> {
        self.names(key).map(ServiceKey::from).collect()
    }

    /// The object of that key.
    pub fn object(&self, key: &ObjectKey) -> Option<&'w Object> {
        self.reads.borrow_mut().insert(Key::Object(key.clone()));
        self.world.object(key)
    }

    fn named(&self, kind: ObjectKind, namespace: &Namespace, name: &Name) -> Option<&'w Object> {
        self.object(&ObjectKey { kind, namespace: namespace.clone(), name: name.clone() })
    }

    /// A Service.
    pub fn service(&self, key: &ServiceKey) -> Option<Stored<Service>> {
        match self.named(ObjectKind::Service, &key.namespace, &key.name)? {
            Object::Service(service) => Some(service.clone()),
            _ => None,
        }
    }

    /// The Service that owns a host, where the host is that of a Kubernetes service.
    pub fn service_of(&self, host: &Host) -> Option<Stored<Service>> {
        let inside = host.as_str().strip_suffix(&format!(".svc.{}", super::name::CLUSTER_DOMAIN))?;
        let (name, namespace) = inside.split_once('.')?;
        self.service(&ServiceKey { namespace: namespace.into(), name: name.into() })
    }

    /// A Pod.
    pub fn pod(&self, namespace: &Namespace, name: &Name) -> Option<Stored<Pod>> {
        match self.named(ObjectKind::Pod, namespace, name)? {
            Object::Pod(pod) => Some(pod.clone()),
            _ => None,
        }
    }

    /// A Node.
    pub fn node(&self, name: &Name) -> Option<Stored<Node>> {
        match self.named(ObjectKind::Node, &Namespace::from(""), name)? {
            Object::Node(node) => Some(node.clone()),
            _ => None,
        }
    }

    /// The settings of the mesh, where somebody wrote them.
    pub fn settings(&self) -> Option<Stored<Mesh>> {
        match self.object(&Mesh::key())? {
            Object::MeshConfig(mesh) => Some(mesh.clone()),
            _ => None,
        }
    }

    /// The settings of the mesh in effect.
    pub fn mesh(&self) -> Stored<Mesh> {
        self.settings().unwrap_or_else(|| NO_SETTINGS.clone())
    }

    /// A Sidecar.
    pub fn sidecar(&self, key: &ObjectKey) -> Option<Stored<Sidecar>> {
        match self.object(key)? {
            Object::Sidecar(sidecar) => Some(sidecar.clone()),
            _ => None,
        }
    }

    /// A PeerAuthentication.
    pub fn authentication(&self, key: &ObjectKey) -> Option<Stored<PeerAuthentication>> {
        match self.object(key)? {
            Object::PeerAuthentication(policy) => Some(policy.clone()),
            _ => None,
        }
    }

    /// The Services that have a port of that number, sorted.
    pub fn services_on_port(&self, port: u16) -> Vec<ServiceKey> {
        self.service_names(Key::NamesOnPort(port))
    }

    /// The Services of a namespace that select an object with these labels; one without a selector selects nothing.
    pub fn services_selecting(&self, namespace: &Namespace, labels: &Labels) -> Vec<Stored<Service>> {
        let key = |(key, value): (&Arc<str>, &Arc<str>)| Key::SelectedBy(namespace.clone(), key.clone(), value.clone());
        let found = labels.iter().flat_map(|label| self.read(key(label)));
        found
            .filter_map(|object| if let Object::Service(service) = object { Some(service.clone()) } else { None })
            .filter(|service| selects(&service.selector, labels))
            .collect()
    }

    /// Those of them that say they speak HTTP there.
    pub fn http_services_on_port(&self, port: u16) -> Vec<ServiceKey> {
        self.service_names(Key::HttpOnPort(port))
    }

    /// The Services that have an address, oldest first.
    pub fn services_at(&self, address: IpAddr) -> impl Iterator<Item = Stored<Service>> {
        self.reads.borrow_mut().insert(Key::AddressedBy(address));
        let found = self.world.addressed_by(address).filter_map(|key| self.world.object(key));
        found.filter_map(|object| if let Object::Service(service) = object { Some(service.clone()) } else { None })
    }

    /// Every Service, sorted.
    pub fn services(&self) -> Vec<ServiceKey> {
        self.service_names(Key::Names(ObjectKind::Service))
    }

    /// The Services that say themselves for whom they are.
    pub fn services_exporting(&self) -> Vec<Stored<Service>> {
        let found = self.read(Key::Exporting);
        found
            .filter_map(|object| if let Object::Service(service) = object { Some(service.clone()) } else { None })
            .collect()
    }

    /// The Services whose endpoints are chosen by that of a client's place, sorted.
    pub fn services_near(&self, nearness: Nearness) -> Vec<ServiceKey> {
        self.service_names(Key::NamesNear(nearness))
    }

    /// The keys of the Pods that have an address of their own, sorted.
    pub fn pods_at(&self, address: IpAddr) -> Vec<ObjectKey> {
        self.reads.borrow_mut().insert(Key::PodsAt(address));
        self.world.pods_at(address).cloned().collect()
    }

    /// The Pods of a namespace, sorted by name.
    pub fn pods_in(&self, namespace: &Namespace) -> impl Iterator<Item = &'w Stored<Pod>> {
        self.reads.borrow_mut().insert(Key::PodsIn(namespace.clone()));
        let found = self.world.objects_in(ObjectKind::Pod, namespace);
        found.filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None })
    }

    /// The Pods that a Service selects, sorted by name: whatever becomes of them, as long as there are objects of them.
    pub fn pods_of(&self, service: &ServiceKey) -> impl Iterator<Item = &'w Stored<Pod>> {
        let found = self.read(Key::PodsOf(service.clone()));
        found.filter_map(|object| if let Object::Pod(pod) = object { Some(pod) } else { None })
    }

    /// The Services that are other names for a host.
    pub fn aliases_of(&self, host: &Host) -> Vec<Stored<Service>> {
        let found = self.read(Key::AliasesOf(host.clone()));
        found
            .filter_map(|object| if let Object::Service(service) = object { Some(service.clone()) } else { None })
            .collect()
    }

    /// The numbers of the ports that services have, ascending.
    pub fn ports(&self) -> Vec<u16> {
        self.reads.borrow_mut().insert(Key::Ports);
        self.world.ports().collect()
    }

    /// The EndpointSlices of a service, sorted by name.
    pub fn slices_of(&self, service: &ServiceKey) -> Vec<Stored<EndpointSlice>> {
        let found = self.read(Key::SlicesOf(service.clone()));
        found
            .filter_map(|object| if let Object::EndpointSlice(slice) = object { Some(slice.clone()) } else { None })
            .collect()
    }

    /// The DestinationRules that name a host or a wildcard for it, in every namespace.
    pub fn rules_for(&self, host: &Host) -> Vec<Stored<DestinationRule>> {
        let hosts = std::iter::once(host.clone()).chain(host.wildcards());
        hosts.flat_map(|host| self.rules_naming(&host)).collect()
    }

    /// The DestinationRules that name just this host, in every namespace.
    pub fn rules_naming(&self, host: &Host) -> Vec<Stored<DestinationRule>> {
        let found = self.read(Key::RulesFor(host.clone()));
        found
            .filter_map(|object| if let Object::DestinationRule(rule) = object { Some(rule.clone()) } else { None })
            .collect()
    }

    /// The DestinationRules of a namespace that are for some of its workloads only.
    pub fn selecting_rules_in(&self, namespace: &Namespace) -> Vec<Stored<DestinationRule>> {
        let found = self.read(Key::SelectingRulesIn(namespace.clone()));
        found
            .filter_map(|object| if let Object::DestinationRule(rule) = object { Some(rule.clone()) } else { None })
            .collect()
    }

    /// The Secret for a certificate and the one for authorities, of who may have them.
    pub fn granted(&self, grant: &Grant) -> [Option<Stored<Secret>>; 2] {
        self.secrets(grant.key())
    }

    /// Whether there is a certificate, and whether there are authorities, under the name of a Secret; nothing of either.
    pub fn offers(&self, secret: &ObjectKey) -> [bool; 2] {
        self.secrets(secret).map(|secret| secret.is_some())
    }

    /// The Secret that has a certificate under a name, and the one that has authorities (Istio's order).
    fn secrets(&self, key: &ObjectKey) -> [Option<Stored<Secret>>; 2] {
        let secret = |key: &ObjectKey| match self.object(key)? {
            Object::Secret(secret) => Some(secret.clone()),
            _ => None,
        };
        let named = secret(key);
        let authorities = secret(&secret::authorities_of(key)).or_else(|| named.clone());
        [named.filter(|secret| secret.pair.is_some()), authorities.filter(|secret| secret.authorities.is_some())]
    }

    /// The VirtualServices that name a host or a wildcard for it, in every namespace.
    pub fn routes_for(&self, host: &Host) -> Vec<Stored<VirtualService>> {
        let hosts = std::iter::once(host.clone()).chain(host.wildcards());
        hosts.flat_map(|host| self.routes_naming(&host)).collect()
    }

    /// The VirtualServices that name just this host, in every namespace.
    pub fn routes_naming(&self, host: &Host) -> Vec<Stored<VirtualService>> {
        let found = self.read(Key::RoutesFor(host.clone()));
        found
            .filter_map(|object| if let Object::VirtualService(route) = object { Some(route.clone()) } else { None })
            .collect()
    }

    /// The PeerAuthentications of a namespace.
    pub fn authentications_in(&self, namespace: &Namespace) -> Vec<Stored<PeerAuthentication>> {
        let found = self.read(Key::AuthenticationsIn(namespace.clone()));
        let policy = |object: &Object| match object {
            Object::PeerAuthentication(policy) => Some(policy.clone()),
            _ => None,
        };
        found.filter_map(policy).collect()
    }

    /// The Sidecars of a namespace.
    pub fn sidecars_in(&self, namespace: &Namespace) -> Vec<Stored<Sidecar>> {
        let found = self.read(Key::SidecarsIn(namespace.clone()));
        found
            .filter_map(|object| if let Object::Sidecar(sidecar) = object { Some(sidecar.clone()) } else { None })
            .collect()
    }
}
