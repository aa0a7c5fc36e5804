//! Incremental equals from scratch: after any sequence of changes the engine holds what a new one would compute, byte
//! for byte, and each step computed again only what its touched keys select.

#[path = "equivalence/costs.rs"]
mod costs;
#[path = "equivalence/kept.rs"]
mod kept;
#[path = "equivalence/sifted.rs"]
mod sifted;
mod worlds;

use chancery::model::access_log::{AccessLog, LogFormat, Stream};
use chancery::model::audience::{Interception, ProxyFacts, Subject};
use chancery::model::authentication::Mode;
use chancery::model::exports::Exports;
use chancery::model::mesh::Mesh;
use chancery::model::name::Host;
use chancery::model::provenance::ObjectKind;
use chancery::model::service::Protocol;
use chancery::model::sidecar::{EgressHost, EgressListener, EgressNamespace};
use chancery::model::tracked::Tracked;
use chancery::model::world::{Change, Key, World};
use chancery::publish::{Computation, Engine, Outcome};
use chancery::snapshot::board::Seats;
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::lint;
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::translate::unit::{Built, Table, Unit};
use chancery::translate::{assemble, build, select};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use worlds::{
    NODES, account, authentication, exports, key, mesh, node, pod, present, proxy, routes, rule, secret, service,
    service_key, sidecar, slice, with_secret,
};

const NAMESPACES: [&str; 3] = ["shop", "bank", "ops"];
const SERVICES: [&str; 3] = ["web", "api", "db"];
const PODS: [&str; 3] = ["web-1", "web-2", "client"];

/// Something that happens to the World or to the seats.
#[derive(Clone, Debug)]
enum Step {
    World(Change),
    Seat(ProxyFacts),
    Leave(ProxyFacts),
}

fn hosts() -> impl Strategy<Value = Host> {
    (0..NAMESPACES.len(), 0..=SERVICES.len()).prop_map(|(namespace, service)| {
        let service = SERVICES.get(service).copied().unwrap_or("unknown");
        service_key(NAMESPACES[namespace], service).host()
    })
}

/// What a rule may name: a host, or a wildcard for several.
fn named() -> impl Strategy<Value = Host> {
    let wildcards = prop_oneof![Just("*.shop.svc.cluster.local"), Just("*.local")];
    prop_oneof![3 => hosts(), 1 => wildcards.prop_map(Host::from)]
}

fn services() -> impl Strategy<Value = Change> {
    let protocol =
        prop_oneof![Just(Protocol::Http), Just(Protocol::Http2), Just(Protocol::Tcp), Just(Protocol::Unnamed)];
    let ports = proptest::sample::subsequence(vec![80u16, 8080, 9000], 0..=2);
    (0..NAMESPACES.len(), 0..3usize, ports, protocol, 0..12i64).prop_map(
        |(namespace, name, ports, protocol, created)| {
            let ports: Vec<_> = ports.into_iter().map(|port| (port, protocol)).collect();
            present(service(NAMESPACES[namespace], SERVICES[name], &ports, created))
        },
    )
}

fn slices() -> impl Strategy<Value = Change> {
    (0..NAMESPACES.len(), 0..3usize, 0..2usize, vec((1..5u8, any::<bool>(), any::<bool>()), 0..4)).prop_map(
        |(namespace, name, index, endpoints)| {
            let service = service_key(NAMESPACES[namespace], SERVICES[name]);
            present(slice(&service, &format!("{}-{index}", service.name), &[80, 9000], &endpoints))
        },
    )
}

/// What is seen, and where: everything, a few patterns, or nothing.
fn egress_listener() -> impl Strategy<Value = EgressListener> {
    let namespace = prop_oneof![
        Just(EgressNamespace::Any),
        Just(EgressNamespace::Own),
        Just(EgressNamespace::Named("bank".into())),
    ];
    let host = prop_oneof![Just(Host::from("*")), named()];
    let pattern = (namespace, host).prop_map(|(namespace, host)| EgressHost { namespace, host });
    let protocol = proptest::option::of(prop_oneof![Just(Protocol::Http), Just(Protocol::Tcp)]);
    let bind = prop_oneof![Just([127, 0, 0, 1]), Just([127, 0, 0, 9]), Just([0, 0, 0, 0]), Just([10, 96, 0, 9])];
    (vec(pattern, 0..3), protocol, proptest::option::of(bind), any::<bool>()).prop_map(
        |(hosts, protocol, bind, opened)| EgressListener {
            entry: 0,
            port: Some((0, protocol)),
            bind: bind.map(IpAddr::from),
            opened,
            hosts,
        },
    )
}

/// Everything, half the time; else other things on some ports, or on all.
fn egress() -> impl Strategy<Value = Option<Vec<EgressListener>>> {
    let ports = proptest::sample::subsequence(vec![None, Some(80u16), Some(9000)], 0..=3);
    let egress = (ports, vec(egress_listener(), 3)).prop_map(|(ports, listeners)| {
        let numbered = |(port, listener): (Option<u16>, EgressListener)| {
            let protocol = listener.port.and_then(|(_, protocol)| protocol);
            EgressListener { port: port.map(|port| (port, protocol)), ..listener }
        };
        ports.into_iter().zip(listeners).map(numbered).collect()
    });
    proptest::option::of(egress)
}

fn policies() -> impl Strategy<Value = Change> {
    let subsets = || proptest::sample::subsequence(vec!["v1", "v2"], 0..=2);
    let rules = (0..NAMESPACES.len(), 0..2usize, named(), subsets(), 0..40i64).prop_map(
        |(namespace, name, host, subsets, generation)| {
            present(rule(NAMESPACES[namespace], ["a", "b"][name], &host, &subsets, generation))
        },
    );
    let target = (hosts(), proptest::option::of(Just("v1")), 0..3u32);
    let routes = (0..NAMESPACES.len(), 0..2usize, named(), vec(target, 1..3), 0..8i64).prop_map(
        |(namespace, name, host, to, generation)| {
            let to: Vec<_> = to.iter().map(|(host, subset, weight)| (host, *subset, weight + 1)).collect();
            present(routes(NAMESPACES[namespace], ["a", "b"][name], &host, &to, generation))
        },
    );
    // 9000 is bound to the very address of outbound listeners.
    let ports = proptest::sample::subsequence(vec![80u16, 8080, 9000], 0..=2);
    let sidecars = (0..NAMESPACES.len(), 0..2usize, any::<bool>(), ports, egress()).prop_map(
        |(namespace, name, all, ports, egress)| {
            let selector: &[_] = if all { &[] } else { &[("version", "v1")] };
            present(sidecar(NAMESPACES[namespace], ["a", "b"][name], selector, &ports, egress))
        },
    );
    let mode = || {
        let modes = prop_oneof![Just(Mode::Disable), Just(Mode::Permissive), Just(Mode::Strict)];
        proptest::option::of(modes)
    };
    let authentications = (0..NAMESPACES.len(), 0..2usize, mode(), mode(), 0..12i64).prop_map(
        |(namespace, name, mode, port, generation)| {
            present(authentication(NAMESPACES[namespace], ["a", "b"][name], mode, port, generation))
        },
    );
    let with_secrets = (0..NAMESPACES.len(), 0..2usize, named(), 0..2usize, 0..4i64).prop_map(
        |(namespace, name, host, secret, generation)| {
            let (name, secret) = (["a", "b"][name], ["far", "near"][secret]);
            present(with_secret(NAMESPACES[namespace], name, &host, secret, generation))
        },
    );
    prop_oneof![3 => rules, 3 => routes, 3 => sidecars, 3 => authentications, 1 => with_secrets]
}

fn secrets() -> impl Strategy<Value = Change> {
    (0..NAMESPACES.len(), 0..3usize, 0..6i64).prop_map(|(namespace, name, generation)| {
        present(secret(NAMESPACES[namespace], ["far", "far-cacert", "near"][name], generation))
    })
}

fn pods() -> impl Strategy<Value = Change> {
    (0..NAMESPACES.len(), 0..3usize, any::<[bool; 3]>()).prop_map(|(namespace, name, [first, meshed, next])| {
        let version = ("version", if first { "v1" } else { "v2" });
        let labels = [version, ("security.istio.io/tlsMode", "istio")];
        let pod = pod(NAMESPACES[namespace], PODS[name], if meshed { &labels } else { &labels[..1] });
        present(account(pod, if next { "next" } else { "default" }))
    })
}

fn nodes() -> impl Strategy<Value = Change> {
    (0..2usize, any::<bool>()).prop_map(|(name, first)| present(node(NODES[name], if first { "east" } else { "west" })))
}

fn meshes() -> impl Strategy<Value = Change> {
    let exports = || (0..8i64).prop_map(|number| exports(number).unwrap_or(Exports::Everyone));
    let root = prop_oneof![Just("bank"), Just("istio-system")];
    (1..5u64, root, exports(), exports(), exports()).prop_map(|(seconds, root, services, routes, rules)| {
        present(mesh(Mesh {
            connect_timeout: Duration::from_secs(seconds),
            root_namespace: root.into(),
            service_exports: services,
            virtual_service_exports: routes,
            destination_rule_exports: rules,
            access_log: seconds.is_multiple_of(2).then(|| logged(seconds)),
            auto_mtls: seconds > 1,
            trust_domain_aliases: if seconds == 3 { vec!["old.example".into()] } else { vec![] },
            ..Mesh::default()
        }))
    })
}

fn logged(seconds: u64) -> AccessLog {
    let format = LogFormat::Text(format!("{seconds} %PROTOCOL%\n").into());
    AccessLog { stream: Stream::Stdout, format, unmatched: seconds > 2 }
}

fn steps() -> impl Strategy<Value = Step> {
    let change = prop_oneof![
        3 => services(), 3 => slices(), 3 => policies(), 3 => pods(), 1 => nodes(), 1 => meshes(), 1 => secrets()
    ];
    let change = (change, prop::bool::weighted(0.25))
        .prop_map(|((key, value), gone)| Step::World((key, value.filter(|_| !gone))));
    let seat = (0..NAMESPACES.len(), 0..3usize, any::<[bool; 2]>()).prop_map(|(namespace, pod, two)| {
        let [captured, authenticated] = two;
        let facts = ProxyFacts { authenticated, ..proxy(NAMESPACES[namespace], PODS[pod]) };
        if captured { ProxyFacts { interception: Interception::Redirect, ..facts } } else { facts }
    });
    prop_oneof![8 => change, 2 => seat.clone().prop_map(Step::Seat), 1 => seat.prop_map(Step::Leave)]
}

/// A layer as values that compare in full: content, references and provenance.
fn contents(layer: &Layer) -> Vec<String> {
    let all = Kind::ALL.into_iter().flat_map(|kind| layer.iter(kind));
    let described = all.map(|resource| {
        format!(
            "{} {} {:?} {:?} {:?} {:?}",
            resource.kind(),
            resource.name(),
            resource.version(),
            resource.body(),
            resource.refs().collect::<BTreeSet<_>>(),
            resource.sources().collect::<BTreeSet<_>>(),
        )
    });
    let mut described: Vec<_> = described.collect();
    described.sort();
    described
}

/// What an audience or a workload would have if it had nothing in common with anybody: every unit translated for itself.
fn alone(world: &World, subject: &Subject) -> Layer {
    let (mut layer, mut tables) = (Layer::default(), BTreeMap::<Table, Fragments>::new());
    let mut units = vec![Unit::Roots];
    while let Some(unit) = units.pop() {
        let selection = select(&Tracked::new(world), subject, &unit);
        if let Unit::RouteTable(table) = &unit {
            tables.entry(table.clone()).or_default();
        }
        for inputs in &selection.inputs {
            match (build(inputs), unit.table()) {
                (Built::Resource(resource), _) => layer.insert(resource),
                (Built::Fragment(fragment), table) => {
                    tables.entry(table.expect("of a table").clone()).or_default().insert(fragment);
                }
            }
        }
        units.extend(selection.children);
    }
    tables.into_iter().for_each(|(table, fragments)| layer.insert(Arc::new(assemble(&table, fragments))));
    layer
}

/// What was posted for each subject so far, as the board would hold it.
type Posted = BTreeMap<Arc<Subject>, Arc<Layer>>;

fn follow(posted: &mut Posted, outcome: &Outcome) {
    posted.extend(outcome.posts.iter().cloned());
    for gone in &outcome.forgotten {
        posted.remove(gone);
    }
}

/// The engine's cost: everything computed again was new, or had read a touched key.
fn check_cost(outcome: &Outcome, before: &BTreeMap<Computation, BTreeSet<Key>>, touched: &BTreeSet<Key>) {
    for computation in &outcome.recomputed {
        if let Some(reads) = before.get(computation) {
            assert!(!reads.is_disjoint(touched), "{computation:?} was computed again for nothing");
        }
    }
}

fn check_equal(engine: &Engine, posted: &Posted, world: &World, seated: &BTreeSet<ProxyFacts>) {
    let mut scratch = Engine::default();
    let outcome = scratch.advance(world, &joined(seated));
    let mut fresh = Posted::new();
    follow(&mut fresh, &outcome);
    assert_eq!(posted.keys().collect::<Vec<_>>(), fresh.keys().collect::<Vec<_>>());
    for (subject, layer) in &fresh {
        assert_eq!(contents(&posted[subject]), contents(layer), "{subject:?}");
        assert_eq!(contents(layer), contents(&alone(world, subject)), "{subject:?} as if alone");
        for kind in Kind::ALL {
            assert_eq!(layer.len(kind), layer.iter(kind).count(), "{subject:?} {kind}");
        }
    }
    assert_eq!(engine.problems(), scratch.problems());
    assert_eq!(engine.computations().collect::<Vec<_>>(), scratch.computations().collect::<Vec<_>>());
    for facts in seated {
        assert_eq!(engine.placement(facts), scratch.placement(facts));
    }
}

fn check_lint(engine: &Engine, seated: &BTreeSet<ProxyFacts>) {
    for placement in seated.iter().filter_map(|facts| engine.placement(facts)) {
        let layer = |subject| Arc::new(engine.layer(&subject).cloned().unwrap_or_default());
        let snapshot = Snapshot {
            outbound: layer(Subject::Audience(placement.audience.clone())),
            inbound: layer(Subject::Workload(placement.workload.clone())),
            ..Snapshot::default()
        };
        assert_eq!(lint::snapshot(&snapshot), []);
    }
}

fn joined(seated: &BTreeSet<ProxyFacts>) -> Seats {
    Seats { joined: seated.clone(), left: BTreeSet::new() }
}

fn run(steps: Vec<Step>) {
    let (mut engine, mut world, mut seated) = (Engine::default(), World::default(), BTreeSet::new());
    let mut posted = Posted::new();
    for step in steps {
        let old = world.clone();
        let mut seats = Seats::default();
        match step {
            Step::World(change) => drop(world.apply([change])),
            Step::Seat(facts) => {
                // Whoever sits already left and came back unseen.
                seats.joined.insert(facts.clone());
                seated.insert(facts);
            }
            Step::Leave(facts) => {
                seated.remove(&facts);
                seats.left.insert(facts);
            }
        }
        let reads = engine.computations().map(|c| (c.clone(), engine.reads(c))).collect();
        let outcome = engine.advance(&world, &seats);
        assert_eq!(outcome.violations, []);
        check_cost(&outcome, &reads, &world.touched_since(&old));
        follow(&mut posted, &outcome);
        check_lint(&engine, &seated);
    }
    check_equal(&engine, &posted, &world, &seated);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn incremental_equals_from_scratch(steps in vec(steps(), 1..40)) {
        run(steps);
    }
}

/// A proxy whose Pod is unknown gets nothing; when the Pod comes, it is placed.
#[test]
fn an_unknown_pod_is_not_placed() {
    let mut world = World::default();
    let facts = proxy("shop", "client");
    let seated = BTreeSet::from([facts.clone()]);
    let mut engine = Engine::default();
    let outcome = engine.advance(&world, &joined(&seated));
    assert_eq!(outcome.placed, [(facts.clone(), None)]);
    assert!(outcome.posts.is_empty());
    world.apply([present(pod("shop", "client", &[]))]);
    assert!(engine.advance(&world, &Seats::default()).placed[0].1.is_some());
    world.apply([(key(ObjectKind::Pod, "shop", "client"), None)]);
    assert_eq!(engine.advance(&world, &Seats::default()).placed, [(facts, None)]);
}
