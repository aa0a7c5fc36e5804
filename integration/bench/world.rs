//! Worlds of any size, made of model objects as the folder source makes them, and what happens in them.
//!
//! Services `s0`, `s1`, ... over namespaces `ns0`, `ns1`, ..., each with one HTTP port, endpoints in slices of a hundred
//! and the Pods behind them; and Pods `p0`, `p1`, ... for the fleet, which no Service selects.

use chancery::model::endpoint::{Endpoint, EndpointSlice};
use chancery::model::labels::Labels;
use chancery::model::name::{Host, Name, Namespace, ServiceKey};
use chancery::model::object::{Meta, NamespaceInfo, Object, Stored};
use chancery::model::pod::Pod;
use chancery::model::provenance::{ObjectKey, ObjectKind, ObjectRef};
use chancery::model::route::{Destination, HttpRoute, VirtualService, WeightedDestination};
use chancery::model::service::{Protocol, Service, ServicePort, TargetPort};
use chancery::model::world::Change;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The port of every service, and of those that are added elsewhere.
const PORT: u16 = 8080;
const ELSEWHERE: u16 = 9090;
/// How many endpoints a slice has at most, as Kubernetes makes them.
const SLICE: u32 = 100;

/// How large a world is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Size {
    pub services: u32,
    pub endpoints: u32,
    pub namespaces: u32,
    /// Pods of the fleet, and over how many of the namespaces they are spread.
    pub proxies: u32,
    pub audiences: u32,
}

/// A world, as far as it has to be known to change it.
pub struct Town {
    size: Size,
    /// How often each service's endpoints have changed.
    moves: Vec<u32>,
    /// How often routes have been edited, and the generation of those edited last.
    edits: u32,
    generation: i64,
}

/// Something that happens.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Event {
    /// One endpoint of a service moves to another address.
    Move(u32),
    /// The routes of a service change.
    Route(u32),
    /// A service of that number, beyond those there are, appears with an endpoint, or goes.
    Add(u32),
    Remove(u32),
    /// The same on a port of its own, for which there is another route configuration.
    AddElsewhere(u32),
    /// An object is written again as it was: a slice, or the VirtualService edited last with only a new generation.
    Rewrite(u32),
    RewriteRoute(u32),
}

impl Town {
    pub fn new(size: Size) -> Self {
        Self { size, moves: vec![0; size.services as usize], edits: 0, generation: 0 }
    }

    /// Everything there is at first.
    pub fn first(&self) -> Vec<Change> {
        let Size { services, endpoints, namespaces, proxies, .. } = self.size;
        let mut objects: Vec<Object> = (0..namespaces).map(|number| Object::Namespace(namespace(number))).collect();
        for number in 0..services {
            objects.push(self.service(number, PORT));
            objects.extend((0..endpoints.div_ceil(SLICE)).map(|slice| self.slice(number, slice)));
            objects.extend((0..endpoints).map(|endpoint| self.pod(number, endpoint)));
        }
        objects.extend((0..proxies).map(|number| self.proxy(number)));
        objects.into_iter().map(present).collect()
    }

    /// What an event changes.
    pub fn changes(&mut self, event: Event) -> Vec<Change> {
        match event {
            Event::Move(service) => {
                let moves = &mut self.moves[service as usize];
                let moved = *moves % self.size.endpoints;
                *moves += 1;
                vec![present(self.pod(service, moved)), present(self.slice(service, moved / SLICE))]
            }
            Event::Route(service) => {
                (self.edits, self.generation) = (self.edits + 1, self.generation + 1);
                vec![present(self.routes(service))]
            }
            Event::Add(service) => vec![present(self.service(service, PORT)), present(self.slice(service, 0))],
            Event::AddElsewhere(service) => {
                vec![present(self.service(service, ELSEWHERE)), present(self.slice(service, 0))]
            }
            Event::Remove(service) => {
                vec![(self.slice(service, 0).key().clone(), None), (self.service(service, PORT).key().clone(), None)]
            }
            Event::Rewrite(service) => vec![present(self.slice(service, 0)), present(self.service(service, PORT))],
            Event::RewriteRoute(service) => {
                self.generation += 1;
                vec![present(self.routes(service))]
            }
        }
    }

    fn key(&self, service: u32) -> ServiceKey {
        ServiceKey { namespace: self.namespace(service), name: Name::from(format!("s{service}")) }
    }

    fn namespace(&self, number: u32) -> Namespace {
        Namespace::from(format!("ns{}", number % self.size.namespaces))
    }

    fn service(&self, number: u32, port: u16) -> Object {
        let key = self.key(number);
        let port = ServicePort {
            name: "http".into(),
            number: port,
            protocol: Protocol::Http,
            target: TargetPort::Number(8080),
        };
        let value = Service {
            host: key.host(),
            addresses: vec![address(96, number)],
            prefers_v6: false,
            ports: vec![port],
            selector: labels(number),
            publish_not_ready: false,
            headless: false,
            external: None,
            distribution: None,
            node_local: false,
            exports: None,
            key,
        };
        let key = object(ObjectKind::Service, value.key.namespace.clone(), value.key.name.clone());
        Object::Service(Stored::new(meta(ObjectKind::Service, &key, None), value))
    }

    /// How often an endpoint has moved; they move in turn.
    fn moved(&self, service: u32, endpoint: u32) -> u32 {
        let moves = self.moves.get(service as usize).copied().unwrap_or_default();
        moves / self.size.endpoints + u32::from(moves % self.size.endpoints > endpoint)
    }

    fn at(&self, service: u32, endpoint: u32) -> IpAddr {
        let place = service * self.size.endpoints + endpoint;
        let network = 128 + u8::try_from(self.moved(service, endpoint) % 100).expect("below a hundred");
        address(network, place)
    }

    /// A Pod that moved is another one.
    fn pod_name(&self, service: u32, endpoint: u32) -> Name {
        Name::from(format!("s{service}-7d4b9c6f5-{endpoint}"))
    }

    fn slice(&self, service: u32, slice: u32) -> Object {
        let first = slice * SLICE;
        let endpoints = (first..self.size.endpoints.min(first + SLICE)).map(|endpoint| Endpoint {
            address: self.at(service, endpoint),
            ready: true,
            serving: true,
            terminating: false,
            pod: Some(self.pod_name(service, endpoint)),
            pod_uid: None,
            node: Some(Name::from(format!("node-{}", endpoint % 50))),
            zone: Some(Arc::from(["zone-a", "zone-b", "zone-c"][endpoint as usize % 3])),
            for_zones: Vec::new(),
            for_nodes: Vec::new(),
        });
        let key = self.key(service);
        let name = Name::from(format!("s{service}-{slice}"));
        let reference = object(ObjectKind::EndpointSlice, key.namespace.clone(), name);
        let value = EndpointSlice {
            service: key,
            ports: vec![("http".into(), 8080)],
            endpoints: endpoints.collect(),
            by_hand: false,
        };
        Object::EndpointSlice(Stored::new(meta(ObjectKind::EndpointSlice, &reference, None), value))
    }

    fn pod(&self, service: u32, endpoint: u32) -> Object {
        let reference = object(ObjectKind::Pod, self.namespace(service), self.pod_name(service, endpoint));
        let node = Name::from(format!("node-{}", endpoint % 50));
        pod(&reference, labels(service), self.at(service, endpoint), node)
    }

    fn proxy(&self, number: u32) -> Object {
        let name = Name::from(format!("p{number}"));
        let reference = object(ObjectKind::Pod, self.namespace(number % self.size.audiences), name);
        pod(&reference, Labels::default(), address(0, number), "node-0".into())
    }

    fn routes(&self, service: u32) -> Object {
        let key = self.key(service);
        let host = key.host();
        let route = HttpRoute {
            name: "edited".into(),
            matches: Vec::new(),
            destinations: vec![to(host.clone())],
            timeout: Some(Duration::from_millis(u64::from(1000 + self.edits))),
        };
        let value = VirtualService { hosts: vec![host], http: vec![route], exports: None };
        let reference = object(ObjectKind::VirtualService, key.namespace, key.name);
        let meta = meta(ObjectKind::VirtualService, &reference, Some(self.generation));
        Object::VirtualService(Stored::new(meta, value))
    }
}

fn to(host: Host) -> WeightedDestination {
    WeightedDestination { destination: Destination { host, subset: None, port: None }, weight: 100 }
}

fn pod(reference: &ObjectKey, labels: Labels, at: IpAddr, node: Name) -> Object {
    let ports = vec![("http".into(), 8080)];
    let value = Pod {
        labels,
        addresses: vec![at],
        host_network: false,
        service_account: "default".into(),
        node: Some(node),
        ports,
    };
    Object::Pod(Stored::new(meta(ObjectKind::Pod, reference, None), value))
}

fn namespace(number: u32) -> Stored<NamespaceInfo> {
    let key = object(ObjectKind::Namespace, "".into(), Name::from(format!("ns{number}")));
    Stored::new(meta(ObjectKind::Namespace, &key, None), NamespaceInfo::default())
}

fn present(object: Object) -> Change {
    (object.key().clone(), Some(object))
}

fn object(kind: ObjectKind, namespace: Namespace, name: Name) -> ObjectKey {
    ObjectKey { kind, namespace, name }
}

fn meta(kind: ObjectKind, key: &ObjectKey, generation: Option<i64>) -> Meta {
    debug_assert_eq!(kind, key.kind, "a key of the object's own kind");
    Meta { reference: ObjectRef { key: key.clone(), uid: None, generation }, created: Some(1_700_000_000) }
}

fn labels(service: u32) -> Labels {
    [("app".into(), format!("s{service}").into()), ("version".into(), "v1".into())].into()
}

fn address(network: u8, number: u32) -> IpAddr {
    let [_, a, b, c] = number.to_be_bytes();
    Ipv4Addr::new(if network == 96 { 11 } else { 10 + network / 2 }, a.wrapping_add(network), b, c).into()
}
