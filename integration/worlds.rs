//! Small worlds made of model objects, for tests that need no YAML: a few names, combined at random or by hand.

use chancery::model::audience::{Interception, ProxyFacts};
use chancery::model::authentication::{Mode, PeerAuthentication, Selector};
use chancery::model::destination::{
    ClientTls, Credential, DestinationRule, HashKey, HashTable, LoadBalancer, ServerCheck, ServerTls, Subset,
    TrafficPolicy,
};
use chancery::model::endpoint::{Endpoint, EndpointSlice};
use chancery::model::exports::Exports;
use chancery::model::labels::Labels;
use chancery::model::mesh::Mesh;
use chancery::model::name::{Host, Name, ServiceKey};
use chancery::model::node::{Locality, Node};
use chancery::model::object::{Meta, Object, Stored};
use chancery::model::pod::Pod;
use chancery::model::provenance::{ObjectKey, ObjectKind, ObjectRef};
use chancery::model::route::{Destination, HttpMatch, HttpRoute, VirtualService, WeightedDestination};
use chancery::model::secret::{Ends, Pair, Secret};
use chancery::model::sensitive::Sensitive;
use chancery::model::service::{Distribution, Protocol, Service, ServicePort, TargetPort};
use chancery::model::sidecar::{DefaultEndpoint, EgressListener, Ingress, Sidecar};
use chancery::model::text::StringMatch;
use chancery::model::world::Change;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub fn key(kind: ObjectKind, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey { kind, namespace: namespace.into(), name: name.into() }
}

pub fn service_key(namespace: &str, name: &str) -> ServiceKey {
    ServiceKey { namespace: namespace.into(), name: name.into() }
}

pub fn meta(kind: ObjectKind, namespace: &str, name: &str, generation: Option<i64>, created: i64) -> Meta {
    let reference = ObjectRef { key: key(kind, namespace, name), uid: None, generation };
    Meta { reference, created: Some(created) }
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

pub fn proxy(namespace: &str, pod: &str) -> ProxyFacts {
    ProxyFacts::new(namespace.into(), pod.into(), Interception::default())
}

pub fn present(object: Object) -> Change {
    (object.key().clone(), Some(object))
}

pub fn service(namespace: &str, name: &str, ports: &[(u16, Protocol)], created: i64) -> Object {
    let key = service_key(namespace, name);
    let ports = ports
        .iter()
        .map(|(number, protocol)| ServicePort {
            name: format!("p{number}").into(),
            number: *number,
            protocol: *protocol,
            target: TargetPort::Number(*number),
        })
        .collect();
    let host = key.host();
    let value = Service {
        key,
        host,
        addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 96, 0, u8::try_from(created % 2).expect("small")))],
        prefers_v6: false,
        ports,
        selector: if created % 2 == 1 { labels(&[("version", "v1")]) } else { Labels::default() },
        publish_not_ready: false,
        headless: created == 7,
        external: external(created),
        distribution: [
            None,
            None,
            Some(Distribution::SameZone),
            Some(Distribution::SameNode),
            Some(Distribution::Hinted),
        ][usize::try_from(created % 5).expect("small")],
        node_local: created == 6,
        exports: exports(created),
    };
    Object::Service(Stored::new(meta(ObjectKind::Service, namespace, name, None, created), value))
}

/// From 8 on: another name for a service, and for one that may be another name itself, and a name outside.
fn external(number: i64) -> Option<Host> {
    match number {
        8 | 9 => Some(service_key("shop", "web").host()),
        10 => Some(service_key("bank", "api").host()),
        11 => Some("partner.example".into()),
        _ => None,
    }
}

/// A slice of a service; endpoint n is 10.0.0.n in pod `<service>-n`, but the fourth is fd00::3 in the third pod.
pub fn slice(service: &ServiceKey, name: &str, ports: &[u16], endpoints: &[(u8, bool, bool)]) -> Object {
    let namespace = service.namespace.as_str();
    let endpoint = |(host, ready, terminating): &(u8, bool, bool)| Endpoint {
        address: if *host == 4 { v6(3) } else { IpAddr::V4(Ipv4Addr::new(10, 0, 0, *host)) },
        ready: *ready,
        serving: *ready || host % 2 == 0,
        terminating: *terminating,
        pod: Some(Name::from(format!("{}-{}", service.name, (*host).min(3)))),
        pod_uid: None,
        node: Some(Name::from(NODES[usize::from(*host) % 2])),
        zone: (host % 3 == 0).then(|| "zone-a".into()),
        for_zones: vec![],
        for_nodes: vec![],
    };
    let value = EndpointSlice {
        service: service.clone(),
        ports: ports.iter().map(|port| (format!("p{port}").into(), port + 8000)).collect(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        by_hand: true,
    };
    Object::EndpointSlice(Stored::new(meta(ObjectKind::EndpointSlice, namespace, name, None, 0), value))
}

fn v6(host: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host).into()
}

/// A Pod, with an address if its name ends in a number, and of version v2 with one of the other family.
pub fn pod(namespace: &str, name: &str, pairs: &[(&str, &str)]) -> Object {
    let labels = labels(pairs);
    let number: Option<u8> = name.rsplit('-').next().and_then(|number| number.parse().ok());
    let both = labels.get("version").is_some_and(|version| **version == *"v2");
    let address = |number: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, number));
    let addresses = number.map(address).into_iter().chain(both.then(|| v6(9))).collect();
    let node = Some(Name::from(NODES[usize::from(both)]));
    let value = Pod { labels, addresses, host_network: false, service_account: "default".into(), node, ports: vec![] };
    Object::Pod(Stored::new(meta(ObjectKind::Pod, namespace, name, None, 0), value))
}

/// A Pod that runs as another service account.
pub fn account(pod: Object, account: &str) -> Object {
    let Object::Pod(pod) = pod else { return pod };
    let value = Pod { service_account: account.into(), ..(*pod).clone() };
    Object::Pod(Stored::new(pod.meta().clone(), value))
}

/// The Nodes that endpoints are on.
pub const NODES: [&str; 2] = ["n0", "n1"];

pub fn node(name: &str, region: &str) -> Object {
    let locality = Locality { region: region.into(), zone: "zone-n".into(), subzone: "".into() };
    Object::Node(Stored::new(meta(ObjectKind::Node, "", name, None, 0), Node { locality }))
}

pub fn mesh(value: Mesh) -> Object {
    let reference = ObjectRef { key: Mesh::key(), uid: None, generation: None };
    Object::MeshConfig(Stored::new(Meta { reference, created: None }, value))
}

/// Every kind of load balancer, one after the other.
fn balancer(number: i64) -> Option<LoadBalancer> {
    match number % 5 {
        1 => None,
        2 => Some(LoadBalancer::Passthrough),
        3 => {
            let key = HashKey::Header("x-user".into());
            Some(LoadBalancer::ConsistentHash { key, table: HashTable::Ring(1024) })
        }
        4 => Some(LoadBalancer::ConsistentHash { key: HashKey::SourceIp, table: HashTable::Maglev(None) }),
        _ => Some(LoadBalancer::Random),
    }
}

/// Mostly nothing said, else every kind of TLS.
fn tls(number: i64) -> Option<ClientTls> {
    match number % 9 {
        4 => Some(ClientTls::Disable),
        5 | 6 => Some(ClientTls::Mesh { sni: None, names: vec![] }),
        8 => {
            let (certificate, credential, sni) = (None, None, None);
            Some(ClientTls::Server(ServerTls { certificate, credential, sni, check: ServerCheck::Unchecked }))
        }
        _ => None,
    }
}

/// A policy for those of version v1, for those of no version that can be read, or for all.
pub fn authentication(namespace: &str, name: &str, mode: Option<Mode>, port: Option<Mode>, generation: i64) -> Object {
    let selector = match generation % 4 {
        0 => Selector::Labels(labels(&[("version", "v1")])),
        1 => Selector::Unreadable,
        _ => Selector::Everything,
    };
    let value = PeerAuthentication { selector, mode, ports: [(8080, port), (8088, None)].into() };
    let meta = meta(ObjectKind::PeerAuthentication, namespace, name, Some(generation), generation % 3);
    Object::PeerAuthentication(Stored::new(meta, value))
}

/// Mostly nothing said, else everyone, the own namespace, or another.
pub fn exports(number: i64) -> Option<Exports> {
    match number % 8 {
        5 => Some(Exports::Everyone),
        6 => Some(Exports::Some { own: true, namespaces: [].into() }),
        7 => Some(Exports::Some { own: false, namespaces: ["bank".into()].into() }),
        _ => None,
    }
}

/// A rule with the given subsets, each selecting `version: <its name>`.
pub fn rule(namespace: &str, name: &str, host: &Host, subsets: &[&str], generation: i64) -> Object {
    let subset = |name: &&str| Subset {
        name: (*name).into(),
        labels: labels(&[("version", name)]),
        policy: TrafficPolicy::default(),
    };
    let per_port = TrafficPolicy { tls: tls(generation / 3), ..TrafficPolicy::default() };
    let ports = if generation % 7 == 6 { [(80, per_port)].into() } else { [].into() };
    let balancer = balancer(generation);
    let policy = TrafficPolicy { load_balancer: balancer, tls: tls(generation), ports, ..TrafficPolicy::default() };
    let subsets = subsets.iter().map(subset).collect();
    let value = DestinationRule { host: host.clone(), policy, subsets, exports: exports(generation), selector: None };
    let meta = meta(ObjectKind::DestinationRule, namespace, name, Some(generation), generation % 3);
    Object::DestinationRule(Stored::new(meta, value))
}

/// A rule for workloads of version v1 only, which connect with a Secret.
pub fn with_secret(namespace: &str, name: &str, host: &Host, secret: &str, generation: i64) -> Object {
    let secret = ObjectKey { kind: ObjectKind::Secret, namespace: namespace.into(), name: secret.into() };
    let credential = Some(Credential { secret, shown: generation % 2 == 0 });
    let check = ServerCheck::Checked { authorities: None, revoked: None, names: Vec::new() };
    let server = ServerTls { certificate: None, credential, sni: None, check };
    let policy = TrafficPolicy { tls: Some(ClientTls::Server(server)), ..TrafficPolicy::default() };
    let selector = Some(labels(&[("version", "v1")]));
    let value = DestinationRule { host: host.clone(), policy, subsets: Vec::new(), exports: None, selector };
    let meta = meta(ObjectKind::DestinationRule, namespace, name, Some(generation), generation % 3);
    Object::DestinationRule(Stored::new(meta, value))
}

/// A Secret of that generation, with a certificate, with authorities, or with both.
pub fn secret(namespace: &str, name: &str, generation: i64) -> Object {
    let key = Sensitive::new(format!("key {generation}").into_bytes());
    let ends = Ends { at: u64::MAX, said: "never".into(), field: "data".into() };
    let pair = Pair { chain: format!("chain {generation}").into(), key, ends };
    let value = Secret {
        pair: (generation % 3 != 0).then_some(pair),
        authorities: (generation % 3 != 1).then(|| "roots".into()),
    };
    Object::Secret(Stored::new(meta(ObjectKind::Secret, namespace, name, None, 0), value))
}

/// Routes of one host: `/<n>` to the n-th destination, everything else to all, by weight.
pub fn routes(namespace: &str, name: &str, host: &Host, to: &[(&Host, Option<&str>, u32)], generation: i64) -> Object {
    let weighted = |(host, subset, weight): &(&Host, Option<&str>, u32)| WeightedDestination {
        destination: Destination { host: (*host).clone(), subset: subset.map(Into::into), port: None },
        weight: *weight,
    };
    let prefixed = to.iter().enumerate().map(|(index, destination)| HttpRoute {
        name: "".into(),
        matches: vec![HttpMatch { uri: Some(StringMatch::Prefix(format!("/{index}").into())), ..HttpMatch::default() }],
        destinations: vec![weighted(destination)],
        timeout: None,
    });
    let rest = HttpRoute {
        name: "rest".into(),
        matches: vec![],
        destinations: to.iter().map(weighted).collect(),
        timeout: None,
    };
    let http = prefixed.chain([rest]).collect();
    let value = VirtualService { hosts: vec![host.clone()], http, exports: exports(generation) };
    let meta = meta(ObjectKind::VirtualService, namespace, name, Some(generation), generation % 3);
    Object::VirtualService(Stored::new(meta, value))
}

pub fn sidecar(
    namespace: &str,
    name: &str,
    selector: &[(&str, &str)],
    ports: &[u16],
    egress: Option<Vec<EgressListener>>,
) -> Object {
    let ingress = |port: &u16| Ingress {
        port: *port,
        protocol: Protocol::Http,
        bind: port.is_multiple_of(3).then_some(Ipv4Addr::LOCALHOST.into()),
        opened: *port == 8080,
        endpoint: match port {
            8080 => DefaultEndpoint::Instance((Ipv4Addr::UNSPECIFIED, 18080).into()),
            _ => DefaultEndpoint::Loopback((Ipv4Addr::LOCALHOST, port + 10000).into()),
        },
        pool: None,
    };
    let ingress = ports.iter().map(ingress).collect();
    let value = Sidecar { selector: labels(selector), ingress, pool: None, egress, outbound: None };
    Object::Sidecar(Stored::new(meta(ObjectKind::Sidecar, namespace, name, Some(1), 0), value))
}
