//! What a change costs, counted: computations, builds and posts, in worlds of very different sizes with fifty audiences
//! alive. Counters, not clocks: they say the same on every machine.

use super::worlds::{account, pod, present, proxy, routes, rule, service, service_key, slice};
use chancery::model::audience::{Interception, ProxyFacts};
use chancery::model::name::ServiceKey;
use chancery::model::object::{Object, Stored};
use chancery::model::provenance::{ObjectKey, ObjectKind};
use chancery::model::service::{Protocol, Service};
use chancery::model::world::{Change, World};
use chancery::publish::losses::Loss;
use chancery::publish::{Engine, Outcome};
use chancery::snapshot::board::{Board, Posted, Seat, Seats};
use chancery::snapshot::interest::{Interest, Wanted};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::names::NameSet;
use chancery::snapshot::set::Layer;
use std::collections::BTreeSet;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Waker};

/// How many audiences are alive, each in a namespace of its own.
const AUDIENCES: usize = 50;

/// A world in which everybody sees everything, and an engine that has caught up with it.
struct Stage {
    world: World,
    engine: Engine,
    board: Arc<Board>,
    /// In each namespace: a stream that wants everything, one that wants some endpoints, and one that wants others.
    seats: Vec<[Seat; 3]>,
}

impl Stage {
    /// `services` services with one endpoint each, spread over the namespaces of the audiences.
    fn new(services: usize) -> Self {
        Self::of(services, false)
    }

    /// The same with proxies that are authenticated, or not, and Pods that take mutual TLS.
    fn of(services: usize, authenticated: bool) -> Self {
        let world = (0..services).flat_map(|index| {
            let key = key(index);
            let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
            [
                present(service(namespace, name, &[(80, Protocol::Http)], 0)),
                present(slice(&key, name, &[80], &[(1, true, false)])),
            ]
        });
        Self::with(world, |facts| ProxyFacts { authenticated, ..facts })
    }

    /// So many services that don't speak HTTP, on one port or each on one of so many, at addresses of their own; traffic is
    /// captured, so that each has a listener.
    fn captured(services: usize, ports: usize) -> Self {
        let world = (0..services).map(|index| present(tcp(index, ports)));
        Self::with(world, |facts| ProxyFacts { interception: Interception::Redirect, ..facts })
    }

    /// With what is there, and proxies of some kind.
    fn with(objects: impl Iterator<Item = Change>, kind: impl Fn(ProxyFacts) -> ProxyFacts) -> Self {
        let mut world = World::default();
        world.apply(objects);
        let facts = |index| kind(proxy(&namespace(index), "client"));
        let joined: BTreeSet<ProxyFacts> = (0..AUDIENCES).map(facts).collect();
        world.apply(joined.iter().map(|facts| present(pod(facts.namespace.as_str(), "client", &[]))));
        let board = Arc::new(Board::default());
        let join = |facts: &ProxyFacts| std::array::from_fn(|_| board.join(facts.clone()).expect("room"));
        let seats = joined.iter().map(join).collect();
        let mut stage = Self { world, engine: Engine::default(), board, seats };
        let first = stage.engine.advance(&stage.world, &Seats { joined, left: BTreeSet::new() });
        assert_eq!(first.posts.len(), 2 * AUDIENCES, "an outbound and an inbound layer for each");
        stage.post(&first);
        for [everything, some, others] in &mut stage.seats {
            everything.wants(Interest::new(|_| Wanted::Everything));
            some.wants(endpoints_of(&[7, 8]));
            others.wants(endpoints_of(&[8, 9]));
        }
        assert_eq!(stage.visited(), [AUDIENCES; 3], "whatever they want, they are told where they are");
        stage
    }

    fn post(&self, outcome: &Outcome) {
        for (subject, layer) in &outcome.posts {
            self.board.post(subject, Posted { layer: layer.clone(), since: None });
        }
        outcome.placed.iter().for_each(|(facts, placement)| self.board.place(facts, placement.clone()));
    }

    /// How many streams of each sort find something new.
    fn visited(&mut self) -> [usize; 3] {
        let mut counts = [0; 3];
        let mut context = Context::from_waker(Waker::noop());
        for (count, seat) in self.seats.iter_mut().flat_map(|seats| seats.iter_mut().enumerate()) {
            let found = std::pin::pin!(seat.changed()).poll(&mut context).is_ready();
            counts[count] += usize::from(found);
        }
        counts
    }

    fn apply(&mut self, object: Object) -> Outcome {
        self.change([present(object)])
    }

    /// Services are deleted.
    fn delete(&mut self, services: impl IntoIterator<Item = usize>) -> Outcome {
        let key = |index| {
            let ServiceKey { namespace, name } = key(index);
            ObjectKey { kind: ObjectKind::Service, namespace, name }
        };
        self.change(services.into_iter().map(|index| (key(index), None)))
    }

    fn change(&mut self, changes: impl IntoIterator<Item = Change>) -> Outcome {
        self.world.apply(changes);
        let outcome = self.engine.advance(&self.world, &Seats::default());
        self.post(&outcome);
        outcome
    }
}

/// Interest in the endpoints of these services.
fn endpoints_of(services: &[usize]) -> Interest {
    let mut names = NameSet::default();
    services.iter().for_each(|index| _ = names.insert(endpoints(*index).into()));
    Interest::new(|kind| if kind == Kind::Endpoint { Wanted::Names(names.clone()) } else { Wanted::Nothing })
}

fn endpoints(index: usize) -> String {
    format!("outbound|80||{}", key(index).host())
}

fn namespace(index: usize) -> String {
    format!("team-{}", index % AUDIENCES)
}

fn key(index: usize) -> ServiceKey {
    service_key(&namespace(index), &format!("s{index}"))
}

fn key_of_pod(name: &str) -> ObjectKey {
    super::worlds::key(ObjectKind::Pod, "team-7", name)
}

/// A service of its own address that speaks TCP, on one of so many ports.
fn tcp(index: usize, ports: usize) -> Object {
    let port = u16::try_from(2000 + index % ports).expect("a port");
    let ServiceKey { namespace, name } = key(index);
    let Object::Service(made) = service(namespace.as_str(), name.as_str(), &[(port, Protocol::Tcp)], 0) else {
        unreachable!("it makes a service")
    };
    let [.., a, b, c] = u32::try_from(index).expect("few services").to_be_bytes();
    let addresses = vec![IpAddr::V4(Ipv4Addr::new(10, a, b, c))];
    Object::Service(Stored::new(made.meta().clone(), Service { addresses, ..(*made).clone() }))
}

/// The namespaces whose layers were posted.
fn reached(outcome: &Outcome) -> BTreeSet<String> {
    outcome.posts.iter().map(|(subject, _)| format!("{subject:?}")).collect()
}

/// One endpoint more in a world of any size: one resource is selected, built and encoded, and shared by all.
#[test]
fn one_endpoint_change_builds_one_resource() {
    for services in [100, 1_000, 10_000, 50_000] {
        let mut stage = Stage::new(services);
        let outcome = stage.apply(slice(&key(7), "s7", &[80], &[(1, true, false), (2, true, false)]));
        assert_eq!((outcome.built, outcome.recomputed.len()), (1, 1), "{services}: {:?}", outcome.recomputed);
        assert_eq!(outcome.posts.len(), AUDIENCES);
        let name = endpoints(7);
        let changed = outcome.posts.iter().flat_map(|(_, layer)| layer.get(Kind::Endpoint, &name));
        assert_eq!(changed.map(Arc::as_ptr).collect::<BTreeSet<_>>().len(), 1, "one encoding, shared by all");
        assert_eq!(stage.visited(), [AUDIENCES, AUDIENCES, 0], "{services}: only the streams that asked for it");
    }
}

/// The same where mutual TLS is spoken: the clusters are looked at again, for a workload may have come that runs as somebody
/// else, but that is seen without building any.
#[test]
fn one_endpoint_change_builds_one_resource_with_mutual_tls() {
    for services in [100, 1_000, 10_000] {
        let mut stage = Stage::of(services, true);
        let meshed: &[_] = &[("security.istio.io/tlsMode", "istio")];
        for number in 1..=2 {
            stage.apply(pod("team-7", &format!("s7-{number}"), meshed));
        }
        let outcome = stage.apply(slice(&key(7), "s7", &[80], &[(1, true, false), (2, true, false)]));
        assert_eq!((outcome.built, outcome.recomputed.len()), (1, 2), "{services}: {:?}", outcome.recomputed);
        // The control: somebody else comes.
        stage.apply(account(pod("team-7", "s7-3", meshed), "other"));
        let outcome = stage.apply(slice(&key(7), "s7", &[80], &[(1, true, false), (2, true, false), (3, true, false)]));
        assert_eq!((outcome.built, outcome.recomputed.len()), (2, 2), "{services}: {:?}", outcome.recomputed);
    }
}

/// Who is about to come is accepted when its Pod is seen, and who leaves until it is gone: a cluster doesn't change when its
/// endpoints do. The control: it does where the Service selects no such Pod.
#[test]
fn clusters_change_with_pods_and_not_with_their_endpoints() {
    for (version, selected) in [("v1", true), ("v3", false)] {
        let mut stage = Stage::of(100, true);
        let labels: &[_] = &[("security.istio.io/tlsMode", "istio"), ("version", version)];
        // It selects by the version.
        stage.apply(service("team-7", "s7", &[(80, Protocol::Http)], 1));
        stage.apply(pod("team-7", "s7-1", labels));
        let endpoints = |stage: &mut Stage, endpoints: &[_]| stage.apply(slice(&key(7), "s7", &[80], endpoints)).built;
        endpoints(&mut stage, &[(1, true, false)]);
        let coming = stage.apply(account(pod("team-7", "s7-2", labels), "next")).built;
        let came = endpoints(&mut stage, &[(1, true, false), (2, false, false)]);
        let ready = endpoints(&mut stage, &[(1, true, false), (2, true, false)]);
        let left = endpoints(&mut stage, &[(2, true, false)]);
        let gone = stage.change([(key_of_pod("s7-1"), None)]).built;
        // The cluster, or its endpoints, or both.
        let expected = if selected { [1, 1, 1, 1, 1] } else { [0, 2, 1, 2, 0] };
        assert_eq!([coming, came, ready, left, gone], expected, "{version}");
    }
}

/// The control of the tests above: a change that reaches more is counted as more.
#[test]
fn one_service_more_builds_more() {
    let mut stage = Stage::new(100);
    let outcome = stage.apply(service("team-1", "new", &[(80, Protocol::Http)], 0));
    let why = "a cluster, its endpoints and a virtual host, which has a short name in its own namespace";
    assert_eq!(outcome.built, 4, "{why}");
}

/// One route more: one virtual host is built, twice, because the service's own namespace knows it by a short name.
#[test]
fn one_route_change_builds_one_virtual_host() {
    for services in [100, 1_000] {
        let mut stage = Stage::new(services);
        let host = key(7).host();
        let before = stage.apply(service("team-8", "elsewhere", &[(8080, Protocol::Http)], 0)).posts;
        let outcome = stage.apply(routes("team-7", "s7", &host, &[(&host, None, 1)], 1));
        assert_eq!((outcome.built, outcome.recomputed.len()), (2, 2), "{services}: {:?}", outcome.recomputed);
        // Of the route configurations of two ports it is in one.
        assert_eq!((before.len(), outcome.posts.len()), (AUDIENCES, AUDIENCES));
        for ((_, before), (_, after)) in before.iter().zip(&outcome.posts) {
            assert_eq!(after.len(Kind::Route), 2);
            let differ = Kind::ALL.map(|kind| after.differs_from(before, kind).into_iter().collect::<Vec<_>>());
            assert_eq!(differ.concat(), [Arc::from("80")], "{services}");
        }
    }
}

/// A rule in a client's namespace is for that client's audience alone.
#[test]
fn a_rule_of_a_client_touches_its_audience_only() {
    let mut stage = Stage::new(100);
    let outcome = stage.apply(rule("team-3", "mine", &key(7).host(), &["v1"], 1));
    let reached = reached(&outcome);
    assert!(reached.len() == 1 && reached.iter().all(|subject| subject.contains("team-3")), "{reached:?}");
    assert!(outcome.built > 0);
    // The control: the same rule in the service's namespace is for everybody.
    let outcome = stage.apply(rule("team-7", "mine", &key(7).host(), &["v1"], 1));
    assert_eq!(outcome.posts.len(), AUDIENCES);
}

/// Rewriting an object without changing its meaning recomputes and posts nothing.
#[test]
fn a_rewrite_without_change_costs_nothing() {
    let mut stage = Stage::new(100);
    let same = present(service("team-7", "s7", &[(80, Protocol::Http)], 0));
    assert!(!stage.world.apply([same]));
    let outcome = stage.engine.advance(&stage.world, &Seats::default());
    assert!(outcome.recomputed.is_empty() && outcome.posts.is_empty() && outcome.built == 0);
    assert_eq!(stage.visited(), [0; 3]);
}

/// Much that goes at once is spoken of, for it may not have been meant: more than half of a kind, and more than twenty.
#[test]
fn a_great_loss_is_noted() {
    for (services, deleted, noted) in
        [(100, 60, true), (100, 51, true), (100, 50, false), (20, 20, false), (30, 30, true)]
    {
        let mut stage = Stage::new(services);
        let outcome = stage.delete(0..deleted);
        let clusters = outcome.losses.iter().find(|loss| loss.kind == Kind::Cluster);
        // One cluster is always there.
        let expected = Loss { kind: Kind::Cluster, gone: deleted, of: services + 1 };
        assert_eq!(clusters.copied(), noted.then_some(expected), "{deleted} of {services}");
        let left = |(_, layer): &(_, Arc<Layer>)| layer.len(Kind::Cluster) == services - deleted + 1;
        assert!(outcome.posts.iter().all(left), "what is noted goes all the same");
    }
}

/// What an audience needs for itself is in proportion to its own namespace, not to the world.
#[test]
fn audiences_share_what_is_the_same_for_all() {
    let mut stage = Stage::new(1_000);
    let own: Vec<usize> = stage
        .apply(slice(&key(7), "s7", &[80], &[]))
        .posts
        .iter()
        .map(|(_, layer)| Kind::ALL.into_iter().map(|kind| layer.own(kind).len()).sum())
        .collect();
    assert!(own.iter().all(|count| *count <= 1), "one route configuration with short names each: {own:?}");
    assert!(stage.engine.computations().count() < 3 * 1_000 + 1_000 + 10 * AUDIENCES);
}

/// What lint looks up when something comes, when a service goes and when two go, which is the control: what changes more is
/// looked up more. It is in proportion to that, for each audience, and not to the world.
fn looked_up(stage: impl Fn(usize) -> Stage, made: impl Fn(usize) -> Object) -> usize {
    let counts = [100, 1_000, 10_000].map(|services| {
        let mut stage = stage(services);
        let made = stage.apply(made(services));
        let removed = stage.delete([7]);
        let two_removed = stage.delete([8, 9]);
        [made, removed, two_removed].map(|outcome| {
            assert_eq!(outcome.posts.len(), AUDIENCES);
            outcome.looked_up
        })
    });
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    let [made, one, two] = counts[0];
    assert!(made > 0 && one < two && two <= 2 * one && one < 5 * AUDIENCES, "{counts:?}");
    made
}

/// A service more, or less, among as many that have a listener each, a fiftieth of them on one port.
#[test]
fn lint_of_a_listener_looks_at_no_other() {
    let made = looked_up(|services| Stage::captured(services, 50), |services| tcp(services, 50));
    assert!(made < AUDIENCES, "it is looked at once, for all: {made}");
}

/// A service less among as many that share a route configuration, of which each audience has a form of its own.
#[test]
fn lint_of_a_removal_looks_at_no_route() {
    looked_up(Stage::new, |_| service("team-1", "new", &[(80, Protocol::Http)], 0));
}
