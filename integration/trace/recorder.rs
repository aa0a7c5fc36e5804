//! Records what passes a relay, what the proxy is meant to hold meanwhile, if the test knows, and what is taken from it.
#![allow(dead_code, reason = "each test target asks a part of it")]

use crate::harness::relay::Witness;
use crate::trace::{Asked, Sent, Trace, What, World};
use chancery::snapshot::kind::Kind;
use chancery::xds::request::{Request, Wire};
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// The recorder.
pub struct Recorder {
    start: Instant,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    trace: Trace,
    world: Option<World>,
    /// Who is at the other end of a stream.
    nodes: BTreeMap<usize, String>,
    /// The clusters and listeners of each proxy that is told whole sets.
    sets: BTreeMap<(String, Kind), BTreeSet<String>>,
    /// The addresses of each load assignment of a proxy.
    addresses: BTreeMap<(String, String), BTreeSet<IpAddr>>,
    /// Load assignments that have had endpoints.
    full: BTreeSet<String>,
    taken: BTreeSet<String>,
    /// The addresses that went from load assignments, by cluster.
    taken_addresses: BTreeMap<String, BTreeSet<IpAddr>>,
    /// The virtual hosts of each route configuration, and those that went from one.
    hosts: BTreeMap<String, BTreeSet<String>>,
    taken_hosts: BTreeSet<String>,
}

impl Recorder {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self { start: Instant::now(), seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panics with the lock")
    }

    fn note(&self, stream: usize, what: What) {
        self.seen().trace.note(self.start.elapsed(), stream, what);
    }

    /// Proxies are meant to hold this from now on, on the stream that opened last and on those to come.
    pub fn post(&self, world: World) {
        let seen = &mut *self.seen();
        let newest = seen.trace.events.iter().map(|event| event.stream).max();
        newest.iter().for_each(|stream| seen.trace.note(self.start.elapsed(), *stream, What::World(world.clone())));
        seen.world = Some(world);
    }

    /// Everything was read and answered on the stream that opened last: nothing more is to come.
    pub fn rest(&self) {
        let seen = &mut *self.seen();
        let newest = seen.trace.events.iter().map(|event| event.stream).max();
        newest.iter().for_each(|stream| seen.trace.note(self.start.elapsed(), *stream, What::Rest));
    }

    /// Looks at all that has passed.
    pub fn with<T>(&self, look: impl FnOnce(&Trace) -> T) -> T {
        look(&self.seen().trace)
    }

    /// What was taken from proxies, by name or by being left out of a set: names of resources, and of clusters whose last endpoint went.
    pub fn taken(&self) -> BTreeSet<String> {
        self.seen().taken.clone()
    }

    /// The addresses that were taken from clusters.
    pub fn taken_addresses(&self) -> BTreeMap<String, BTreeSet<IpAddr>> {
        self.seen().taken_addresses.clone()
    }

    /// The virtual hosts that were taken from them, of routes that are there still.
    pub fn taken_hosts(&self) -> BTreeSet<String> {
        self.seen().taken_hosts.clone()
    }
}

impl Seen {
    /// Who is at the other end of a stream.
    fn node(&self, stream: usize) -> String {
        self.nodes.get(&stream).cloned().unwrap_or_default()
    }

    /// A proxy is told what is in a resource.
    fn told(&mut self, stream: usize, type_url: &str, content: &[u8]) {
        if type_url == Kind::Route.type_url() {
            self.routes(content);
        } else if type_url == Kind::Endpoint.type_url() {
            self.assignment(stream, content);
        }
    }

    fn routes(&mut self, content: &[u8]) {
        let RouteConfiguration { name, virtual_hosts: hosts, .. } =
            RouteConfiguration::decode(content).unwrap_or_default();
        let hosts: BTreeSet<String> = hosts.into_iter().map(|host| host.name).collect();
        let before = self.hosts.insert(name, hosts.clone()).unwrap_or_default();
        self.taken_hosts.extend(before.difference(&hosts).cloned());
    }

    fn assignment(&mut self, stream: usize, content: &[u8]) {
        let assignment = ClusterLoadAssignment::decode(content).unwrap_or_default();
        let now: BTreeSet<IpAddr> = addresses(&assignment).collect();
        let place = (self.node(stream), assignment.cluster_name.clone());
        let before = self.addresses.insert(place, now.clone()).unwrap_or_default();
        self.taken_addresses.entry(assignment.cluster_name.clone()).or_default().extend(before.difference(&now));
        if assignment.endpoints.iter().any(|locality| !locality.lb_endpoints.is_empty()) {
            self.full.insert(assignment.cluster_name);
        } else if self.full.contains(&assignment.cluster_name) {
            self.taken.insert(assignment.cluster_name);
        }
    }

    /// A proxy is told a whole set: what is not in it is gone.
    fn set(&mut self, stream: usize, sent: &Sent) {
        let node = self.node(stream);
        let names: BTreeSet<String> = sent.resources.iter().map(|(name, _)| name.clone()).collect();
        let before = self.sets.insert((node, sent.kind), names.clone()).unwrap_or_default();
        self.taken.extend(before.difference(&names).cloned());
    }
}

/// The IP addresses of a load assignment.
fn addresses(assignment: &ClusterLoadAssignment) -> impl Iterator<Item = IpAddr> {
    let hosts = assignment.endpoints.iter().flat_map(|locality| &locality.lb_endpoints);
    hosts.filter_map(|host| match host.host_identifier.as_ref()? {
        HostIdentifier::Endpoint(endpoint) => match endpoint.address.as_ref()?.address.as_ref()? {
            Address::SocketAddress(socket) => socket.address.parse().ok(),
            _ => None,
        },
        HostIdentifier::EndpointName(_) => None,
    })
}

impl Witness for Recorder {
    fn opened(&self, wire: Wire) -> usize {
        let seen = &mut *self.seen();
        let stream = seen.trace.open(self.start.elapsed(), wire);
        let world = seen.world.clone().map(What::World);
        world.into_iter().for_each(|world| seen.trace.note(self.start.elapsed(), stream, world));
        stream
    }

    fn asked(&self, stream: usize, request: Request) {
        let node = request.node.as_ref().filter(|node| !node.id.is_empty());
        node.into_iter().for_each(|node| _ = self.seen().nodes.insert(stream, node.id.clone()));
        self.note(stream, What::Asked(Asked::from(&request)));
    }

    fn sotw(&self, stream: usize, response: &DiscoveryResponse) {
        let Ok(sent) = Sent::try_from(response) else { return };
        {
            let seen = &mut *self.seen();
            if sent.kind.is_whole_set() {
                seen.set(stream, &sent);
            }
            response.resources.iter().for_each(|any| seen.told(stream, &response.type_url, &any.value));
        }
        self.note(stream, What::Sent(sent));
    }

    fn delta(&self, stream: usize, response: &DeltaDiscoveryResponse) {
        Sent::try_from(response).into_iter().for_each(|sent| self.note(stream, What::Sent(sent)));
        let seen = &mut *self.seen();
        seen.taken.extend(response.removed_resources.iter().cloned());
        for resource in &response.resources {
            let content = resource.resource.as_ref().map(|any| &*any.value).unwrap_or_default();
            seen.told(stream, &response.type_url, content);
        }
    }
}
