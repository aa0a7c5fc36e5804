//! What a proxy lacks of the configuration meant for it, and how far policies have come with it: by hand, step by step.

use chancery::model::audience::{Audience, Interception, Placement, ProxyFacts, Subject, Workload};
use chancery::model::provenance::{ObjectKey, ObjectKind, ObjectRef, Provenance};
use chancery::model::reach::Reach;
use chancery::snapshot::board::{Board, Posted};
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Fragment, Ref, Resource};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::registry::reach::Surveyor;
use chancery::xds::registry::{Proxy, Registry, SharedSession};
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::response::Response;
use chancery::xds::session::Session;
use chancery::xds::session::lacking::Lacking;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use std::sync::Arc;
use std::time::Instant;

fn object(kind: ObjectKind, name: &str, generation: i64) -> ObjectRef {
    let key = ObjectKey { kind, namespace: "n".into(), name: name.into() };
    ObjectRef { key, uid: None, generation: Some(generation) }
}

/// A configuration with one rule, one route configuration of two virtual hosts, and one listener.
#[derive(Clone, Copy)]
struct Config {
    /// What differs in the cluster.
    cluster: &'static str,
    /// What differs in the virtual host of the VirtualService `x`, and its generation.
    x: (&'static str, i64),
    /// The cluster that virtual host names.
    to: &'static str,
}

const FIRST: Config = Config { cluster: "1", x: ("1", 1), to: "a" };

impl Config {
    fn layer(self) -> Layer {
        let mut layer = Layer::default();
        let by =
            |kind, name: &str, generation| -> Provenance { [object(kind, name, generation)].into_iter().collect() };
        for name in ["a", self.to] {
            let cluster = Cluster { name: name.into(), alt_stat_name: self.cluster.into(), ..Cluster::default() };
            let rule = by(ObjectKind::DestinationRule, "rule", 1);
            layer.insert(Arc::new(Resource::new(Kind::Cluster, name, &cluster, Vec::new(), rule)));
        }
        let to = |kind, name: &str| vec![Ref { kind, name: name.into() }];
        let host = |name: &str, domain: &str, cluster: &str, generation| {
            let host = VirtualHost { name: name.into(), domains: vec![domain.into()], ..VirtualHost::default() };
            let by = by(ObjectKind::VirtualService, name, generation);
            Arc::new(Fragment::new(name, 2, &host, to(Kind::Cluster, cluster), by))
        };
        let hosts: Fragments =
            [host("x", self.x.0, self.to, self.x.1), host("y", "same", "a", 1)].into_iter().collect();
        let (head, nobody) = (RouteConfiguration::default(), Provenance::default());
        layer.insert(Arc::new(Resource::of_fragments(Kind::Route, "80", &head, hosts, nobody)));
        let (listener, sidecar) = (Listener::default(), by(ObjectKind::Sidecar, "sidecar", 1));
        layer.insert(Arc::new(Resource::new(Kind::Listener, "l", &listener, to(Kind::Route, "80"), sidecar)));
        layer
    }

    fn snapshot(self) -> Snapshot {
        Snapshot { outbound: Arc::new(self.layer()), ..Snapshot::default() }
    }
}

fn request(kind: Kind, names: &[&str], nonce: u64, error: Option<&str>) -> Request {
    let (subscribe, unsubscribe) = (names.iter().collect(), Vec::<String>::new().into());
    Request {
        type_url: kind.type_url().to_owned(),
        node: Some(Node { id: "node".to_owned(), ..Node::default() }),
        nonce: if nonce == 0 { String::new() } else { nonce.to_string() },
        error: error.map(str::to_owned),
        stated: false,
        names: Names::Change { subscribe, unsubscribe, initial: Default::default() },
    }
}

/// A client that does as it is told.
struct Client {
    session: SharedSession,
    now: Instant,
}

impl Client {
    fn new() -> Self {
        Self { session: SharedSession::new(Session::new(Wire::Delta)), now: Instant::now() }
    }

    fn ask(&self, kind: Kind, names: &[&str]) {
        self.session.lock().on_request(&request(kind, names, 0, None), self.now).expect("a request");
    }

    fn read(&self) -> Vec<Response> {
        let mut session = self.session.lock();
        std::iter::from_fn(|| session.poll(self.now)).collect()
    }

    fn answer(&self, responses: &[Response], error: Option<&str>) {
        for response in responses {
            let answer = request(response.kind, &[], response.nonce, error);
            self.session.lock().on_request(&answer, self.now).expect("an answer");
        }
    }

    /// Reads and accepts until there is nothing more.
    fn accept(&self) {
        loop {
            let sent = self.read();
            if sent.is_empty() {
                return;
            }
            self.answer(&sent, None);
        }
    }

    fn tell(&self, snapshot: Snapshot) {
        self.session.lock().on_snapshot(snapshot, self.now);
    }

    fn lacks(&self, newest: &Snapshot) -> Option<Vec<String>> {
        match self.session.lock().lacking(newest) {
            Lacking::Everything => None,
            Lacking::These(objects) => Some(objects.iter().map(|key| key.name.to_string()).collect()),
        }
    }

    /// One that holds a configuration.
    fn of(snapshot: &Snapshot) -> Self {
        let client = Self::new();
        client.tell(snapshot.clone());
        [(Kind::Cluster, &[][..]), (Kind::Listener, &[]), (Kind::Route, &["80"])]
            .iter()
            .for_each(|(kind, names)| client.ask(*kind, names));
        client.accept();
        assert_eq!(client.lacks(snapshot), Some(vec![]));
        client
    }
}

fn these(names: &[&str]) -> Option<Vec<String>> {
    Some(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn a_listener_is_in_effect_with_the_routes_it_names() {
    let (client, snapshot) = (Client::new(), FIRST.snapshot());
    assert_eq!(client.lacks(&snapshot), None, "nothing was asked for");
    client.tell(snapshot.clone());
    client.ask(Kind::Cluster, &[]);
    client.accept();
    assert_eq!(client.lacks(&snapshot), None, "listeners were not asked for");
    client.ask(Kind::Listener, &[]);
    assert_eq!(client.lacks(&snapshot), None, "all listeners are still to be sent");
    client.accept();
    assert_eq!(client.lacks(&snapshot), these(&["x", "y", "sidecar"]), "accepted, and without routes");
    client.ask(Kind::Route, &["80"]);
    client.accept();
    assert_eq!(client.lacks(&snapshot), these(&[]));
}

#[test]
fn a_virtual_host_is_lacked_until_it_is_accepted() {
    let client = Client::of(&FIRST.snapshot());
    let second = Config { x: ("2", 2), ..FIRST }.snapshot();
    assert_eq!(client.lacks(&second), these(&["x"]), "it was not told of it");
    client.tell(second.clone());
    assert_eq!(client.lacks(&second), these(&["x"]), "it was not sent");
    let sent = client.read();
    assert_eq!(client.lacks(&second), these(&["x"]), "it was not answered");
    client.answer(&sent, None);
    assert_eq!(client.lacks(&second), these(&[]));
}

#[test]
fn what_waits_for_a_cluster_is_lacked() {
    let client = Client::of(&FIRST.snapshot());
    let second = Config { x: ("2", 2), to: "b", ..FIRST }.snapshot();
    client.tell(second.clone());
    let clusters = client.read();
    assert_eq!(client.lacks(&second), these(&["rule", "x"]), "the cluster is in flight, the virtual host waits");
    client.answer(&clusters, None);
    assert_eq!(client.lacks(&second), these(&["x"]));
    client.accept();
    assert_eq!(client.lacks(&second), these(&[]));
}

#[test]
fn what_is_rejected_is_lacked_until_it_is_another() {
    let client = Client::of(&FIRST.snapshot());
    let second = Config { x: ("2", 2), ..FIRST }.snapshot();
    client.tell(second.clone());
    client.answer(&client.read(), Some("no"));
    client.accept();
    assert_eq!(client.lacks(&second), these(&["x"]));
    let third = Config { x: ("3", 3), ..FIRST }.snapshot();
    client.tell(third.clone());
    client.accept();
    assert_eq!(client.lacks(&third), these(&[]));
}

#[test]
fn a_new_generation_of_the_same_is_not_lacked() {
    let client = Client::of(&FIRST.snapshot());
    assert_eq!(client.lacks(&Config { x: ("1", 2), ..FIRST }.snapshot()), these(&[]));
}

/// Proxies of one audience, on a board.
struct Fleet {
    board: Arc<Board>,
    registry: Registry,
    surveyor: Surveyor,
    subject: Subject,
}

impl Fleet {
    fn reach(&mut self, policies: &[ObjectRef]) -> Vec<(Option<i64>, usize, usize)> {
        let found = self.surveyor.survey(policies, &self.board, &self.registry.proxies()).objects;
        let reach = |policy: &ObjectRef| found[&policy.key];
        policies
            .iter()
            .map(reach)
            .map(|Reach { generation, targeted, live, .. }| (generation, targeted, live))
            .collect()
    }

    fn post(&self, layer: &Arc<Layer>) {
        self.board.post(&self.subject, Posted { layer: layer.clone(), since: None });
    }
}

#[test]
fn proxies_are_counted_by_what_they_have_accepted() {
    let facts = ProxyFacts::new("n".into(), "p".into(), Interception::default());
    let placement = Placement { audience: Audience::of_everyone_in("n".into()), workload: Workload::plain("n".into()) };
    let subject = Subject::Audience(placement.audience.clone());
    let (board, registry, surveyor) = (Arc::new(Board::default()), Registry::default(), Surveyor::default());
    let mut fleet = Fleet { board, registry, surveyor, subject };
    let _seat = fleet.board.join(facts.clone()).expect("room");
    let policies = |x| {
        let objects = [(ObjectKind::VirtualService, "x", x), (ObjectKind::VirtualService, "y", 1)];
        let others = [(ObjectKind::DestinationRule, "rule", 1), (ObjectKind::DestinationRule, "elsewhere", 7)];
        objects
            .into_iter()
            .chain(others)
            .map(|(kind, name, generation)| object(kind, name, generation))
            .collect::<Vec<_>>()
    };
    let first = Arc::new(FIRST.layer());
    fleet.board.post(&Subject::Workload(placement.workload.clone()), Posted::default());
    fleet.post(&first);
    let told = |layer: &Arc<Layer>| {
        let inbound = fleet.board.posted_for(&facts).map(|(_, snapshot)| snapshot.inbound).unwrap_or_default();
        Snapshot { outbound: layer.clone(), inbound, ..Snapshot::default() }
    };
    assert_eq!(fleet.board.posted_for(&facts).map(|_| ()), None, "it is not placed");
    fleet.board.place(&facts, Some(placement.clone()));
    let clients: Vec<_> = (0..3).map(|_| Client::of(&told(&first))).collect();
    let registry = fleet.registry.clone();
    let enter = |(index, client): (usize, &Client)| {
        let proxy = Proxy::new(format!("proxy-{index}"), facts.clone(), Wire::Delta, client.session.clone());
        registry.enter(proxy)
    };
    let mut listed: Vec<_> = clients.iter().enumerate().map(enter).collect();
    let all = |n| vec![(Some(1), n, n), (Some(1), n, n), (Some(1), n, n), (Some(7), 0, 0)];
    assert_eq!(fleet.reach(&policies(1)), all(3));

    let second = Arc::new(Config { x: ("2", 2), ..FIRST }.layer().posted_after(&first).as_ref().clone());
    fleet.post(&second);
    let snapshot = Snapshot { outbound: second.clone(), ..fleet.board.posted_for(&facts).expect("it is placed").1 };
    let x = |live| (Some(2), 3, live);
    assert_eq!(fleet.reach(&policies(2))[..2], [x(0), (Some(1), 3, 3)]);
    clients.iter().enumerate().for_each(|(index, client)| {
        client.tell(snapshot.clone());
        client.accept();
        assert_eq!(fleet.reach(&policies(2))[0], x(index + 1));
    });
    // A stream that is about to end does not keep its successor from being counted, once.
    let successor = Client::new();
    listed.push(enter((0, &successor)));
    assert_eq!(fleet.reach(&policies(2))[0], x(2));
    listed.pop();
    listed.pop();
    assert_eq!(fleet.reach(&policies(2))[0], (Some(2), 2, 2));
}

/// A policy that loses a virtual host is not in effect as a whole before the client has taken that.
#[test]
fn what_a_policy_says_no_more_is_lacked_until_it_is_gone() {
    let client = Client::of(&FIRST.snapshot());
    let mut layer = FIRST.layer();
    let mut hosts = layer.get(Kind::Route, "80").and_then(|routes| routes.fragments().cloned()).expect("its hosts");
    hosts.remove("x");
    let (head, nobody) = (RouteConfiguration::default(), Provenance::default());
    layer.insert(Arc::new(Resource::of_fragments(Kind::Route, "80", &head, hosts, nobody)));
    let second = Snapshot { outbound: Arc::new(layer.clone()), ..Snapshot::default() };
    client.tell(second.clone());
    let sent = client.read();
    assert_eq!(client.lacks(&second), these(&["x"]), "it still has the virtual host");
    client.answer(&sent, None);
    assert_eq!(client.lacks(&second), these(&[]));
    layer.remove(Kind::Listener, "l");
    let third = Snapshot { outbound: Arc::new(layer), ..Snapshot::default() };
    client.tell(third.clone());
    assert_eq!(client.lacks(&third), these(&["sidecar"]), "it still has the listener");
    let sent = client.read();
    assert_eq!(client.lacks(&third), these(&["sidecar"]), "it may still have it");
    client.answer(&sent, None);
    client.accept();
    assert_eq!(client.lacks(&third), these(&[]));
}
