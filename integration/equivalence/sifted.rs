//! One resource that Envoy would refuse costs that resource and what depends on it: everything else goes. A panic in the midst of
//! an update costs the update; what was posted stays, and the next change computes it all again.

use super::worlds::{mesh, pod, present, proxy, routes, service, service_key, slice};
use super::{Posted, Step, check_equal, joined, steps};
use chancery::model::audience::{Interception, ProxyFacts};
use chancery::model::mesh::Mesh;
use chancery::model::provenance::{ObjectKey, ObjectKind};
use chancery::model::service::Protocol;
use chancery::model::world::{Change, World};
use chancery::publish::{Engine, Outcome, Translator};
use chancery::snapshot::board::Seats;
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::lint;
use chancery::snapshot::resource::Resource;
use chancery::snapshot::set::Layer;
use chancery::translate::assemble;
use chancery::translate::unit::Table;
use proptest::collection::vec;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

thread_local! {
    /// What is refused: names that contain this; those of which the sum of the letters has this rest.
    static REFUSED: RefCell<String> = const { RefCell::new(String::new()) };
    static REST: Cell<Option<u32>> = const { Cell::new(None) };
    /// Whether looking at a refused one panics, and whether assembling a route configuration does.
    static PANICS: Cell<bool> = const { Cell::new(false) };
    static BROKEN: Cell<bool> = const { Cell::new(false) };
}

fn is_refused(resource: &Resource) -> bool {
    let name = resource.name();
    let named = REFUSED.with_borrow(|refused| !refused.is_empty() && name.contains(&**refused));
    named || REST.get().is_some_and(|rest| name.bytes().map(u32::from).sum::<u32>() % 5 == rest)
}

fn refusals(resource: &Resource) -> Vec<String> {
    if !is_refused(resource) {
        return lint::refusals(resource);
    }
    assert!(!PANICS.get(), "a fault that is meant");
    vec!["is refused".to_owned()]
}

fn assemble_or_panic(table: &Table, fragments: Fragments) -> Resource {
    assert!(!BROKEN.get(), "a fault that is meant");
    assemble(table, fragments)
}

fn engine() -> Engine {
    Engine::new(Translator { refusals, assemble: assemble_or_panic, ..Translator::default() })
}

/// Services that don't speak HTTP, each at an address of its own, captured proxies in two namespaces, and what they have.
struct Stage {
    world: World,
    engine: Engine,
    posted: Posted,
    seated: BTreeSet<ProxyFacts>,
}

impl Stage {
    fn new() -> Self {
        let captured = |namespace| ProxyFacts { interception: Interception::Redirect, ..proxy(namespace, "client") };
        let seated = BTreeSet::from([captured("shop"), captured("bank")]);
        let mut stage = Self { world: World::default(), engine: engine(), posted: Posted::new(), seated };
        stage.world.apply([present(pod("shop", "client", &[])), present(pod("bank", "client", &[]))]);
        stage.world.apply([present(service("shop", "web", &[(80, Protocol::Http)], 0))]);
        stage.world.apply([present(service("shop", "bad", &[(81, Protocol::Tcp)], 0)), endpoints("bad", &[1])]);
        stage.world.apply([present(service("shop", "good", &[(82, Protocol::Tcp)], 0)), endpoints("good", &[1])]);
        let outcome = stage.engine.advance(&stage.world, &joined(&stage.seated));
        super::follow(&mut stage.posted, &outcome);
        stage
    }

    fn change(&mut self, changes: impl IntoIterator<Item = Change>) -> Outcome {
        self.world.apply(changes);
        let outcome = self.engine.advance(&self.world, &Seats::default());
        super::follow(&mut self.posted, &outcome);
        self.posted.values().for_each(|layer| assert_eq!(lint::layer(layer), []));
        outcome
    }

    /// The layers of both audiences.
    fn outbound(&self) -> Vec<&Arc<Layer>> {
        let layers: Vec<_> =
            self.posted.values().filter(|layer| layer.has(Kind::Cluster, "BlackHoleCluster")).collect();
        assert_eq!(layers.len(), 2);
        layers
    }

    fn has(&self, kind: Kind, name: &str) -> bool {
        let has: BTreeSet<bool> = self.outbound().iter().map(|layer| layer.has(kind, name)).collect();
        assert_eq!(has.len(), 1, "both or none");
        has.contains(&true)
    }

    fn kept_back(&self) -> Vec<String> {
        self.engine.kept_back().iter().map(ObjectKey::to_string).collect()
    }

    /// Nothing is wrong any more: with the next change of everything all have what they should.
    fn mend(&mut self) {
        REFUSED.take();
        REST.set(None);
        PANICS.set(false);
        BROKEN.set(false);
        let connect_timeout = Duration::from_secs(77);
        let outcome = self.change([present(mesh(Mesh { connect_timeout, ..Mesh::default() }))]);
        assert!(outcome.faults.is_empty() && outcome.violations.is_empty(), "{outcome:?}");
        check_equal(&self.engine, &self.posted, &self.world, &self.seated);
        assert_eq!(self.kept_back(), [""; 0]);
    }
}

fn endpoints(service: &str, hosts: &[u8]) -> Change {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host, true, false)).collect();
    present(slice(&service_key("shop", service), service, &[81, 82], &hosts))
}

fn cluster(port: u16, service: &str) -> String {
    format!("outbound|{port}||{}", service_key("shop", service).host())
}

fn gone(name: &str) -> Change {
    (super::key(ObjectKind::Service, "shop", name), None)
}

const OTHER: &str = "10.96.0.0_82";
const BAD: &str = "10.96.0.0_81";

/// A listener that can't be: its service is there without it, and everything else that changes at the same time or later
/// goes, endpoints too.
#[test]
fn one_bad_listener_freezes_nothing_else() {
    let mut stage = Stage::new();
    assert!(stage.has(Kind::Listener, BAD) && stage.has(Kind::Listener, OTHER), "{:?}", stage.outbound());
    REFUSED.set("_83".to_owned());
    let changes = [present(service("shop", "new", &[(83, Protocol::Tcp), (84, Protocol::Tcp)], 0))];
    let outcome = stage.change(changes);
    assert!(outcome.violations.iter().any(|it| it.to_string() == "lds 10.96.0.0_83: is refused"), "{outcome:?}");
    assert!(outcome.violations.iter().all(|it| it.sources.iter().any(|key| key.name.as_str() == "new")), "{outcome:?}");
    assert!(stage.has(Kind::Cluster, &cluster(83, "new")) && !stage.has(Kind::Listener, "10.96.0.0_83"));
    assert!(stage.has(Kind::Listener, "10.96.0.0_84"));
    let outcome = stage.change([endpoints("good", &[1, 2])]);
    assert_eq!(outcome.posts.len(), 2, "both hear of the endpoint");
    stage.mend();
    assert!(stage.has(Kind::Listener, "10.96.0.0_83"), "the control");
}

/// A listener that has to stay as it was keeps the cluster that it names, though that is gone; a service that is gone with
/// nothing wrong about it goes.
#[test]
fn what_a_form_names_that_stays_does_too() {
    let mut stage = Stage::new();
    let old = Arc::clone(stage.outbound()[0].get(Kind::Listener, BAD).expect("a listener"));
    // It leads elsewhere now: to the service that takes over the address. That is refused.
    REFUSED.set(BAD.to_owned());
    stage.change([present(service("shop", "heir", &[(81, Protocol::Tcp)], 0)), gone("bad"), gone("good")]);
    for layer in stage.outbound() {
        assert_eq!(layer.get(Kind::Listener, BAD), Some(&old));
    }
    assert!(stage.has(Kind::Cluster, &cluster(81, "bad")) && stage.has(Kind::Endpoint, &cluster(81, "bad")));
    assert!(stage.has(Kind::Cluster, &cluster(81, "heir")));
    assert!(!stage.has(Kind::Listener, OTHER) && !stage.has(Kind::Cluster, &cluster(82, "good")));
    stage.mend();
    assert!(!stage.has(Kind::Cluster, &cluster(81, "bad")), "the control");
}

/// A cluster that can't be keeps back the virtual hosts that name it, and no others, for everyone.
#[test]
fn a_bad_cluster_keeps_back_what_names_it() {
    let mut stage = Stage::new();
    let hosts = |stage: &Stage| -> Vec<BTreeSet<String>> {
        let fragments = |layer: &&Arc<Layer>| {
            let routes = layer.get(Kind::Route, "80").expect("routes").fragments().expect("virtual hosts").clone();
            routes.iter().map(|host| host.name().to_string()).collect::<BTreeSet<String>>()
        };
        stage.outbound().iter().map(fragments).collect()
    };
    let before = hosts(&stage);
    REFUSED.set("|new.".to_owned());
    let made = |name: &str| present(service("shop", name, &[(80, Protocol::Http)], 0));
    let outcome = stage.change([made("new"), made("other")]);
    assert!(outcome.violations.iter().any(|it| it.to_string().contains("which is not there")), "{outcome:?}");
    assert!(!stage.has(Kind::Cluster, &cluster(80, "new")) && stage.has(Kind::Cluster, &cluster(80, "other")));
    for (before, after) in before.iter().zip(hosts(&stage)) {
        let more: Vec<_> = after.difference(before).cloned().collect();
        assert!(more.len() == 1 && more[0].starts_with("other."), "{more:?}");
    }
    // Those who come now, and those who change for another reason, are told no more than that.
    let host = service_key("shop", "other").host();
    stage.change([present(routes("bank", "mine", &host, &[(&host, None, 1)], 1))]);
    assert!(hosts(&stage).iter().all(|hosts| !hosts.iter().any(|host| host.starts_with("new."))));
    stage.mend();
    assert!(hosts(&stage).iter().all(|hosts| hosts.iter().any(|host| host.starts_with("new."))), "the control");
}

/// Who panics at a resource has not looked at it: that one is kept back.
#[test]
fn a_panic_in_lint_costs_one_resource() {
    let mut stage = Stage::new();
    REFUSED.set("_83".to_owned());
    PANICS.set(true);
    let changes = [present(service("shop", "new", &[(83, Protocol::Tcp)], 0)), endpoints("good", &[1, 2])];
    let outcome = stage.change(changes);
    assert!(!outcome.faults.is_empty() && outcome.faults[0].what.contains("10.96.0.0_83"), "{outcome:?}");
    assert!(stage.has(Kind::Cluster, &cluster(83, "new")) && !stage.has(Kind::Listener, "10.96.0.0_83"));
    stage.mend();
}

/// An update that panics leaves what was posted, says what had changed, and is tried again with the next change; what has
/// nothing to do with it goes on.
#[test]
fn a_panic_in_an_update_costs_the_update() {
    let mut stage = Stage::new();
    let before = stage.posted.clone();
    let host = service_key("shop", "web").host();
    let rule = |generation| present(routes("shop", "rule", &host, &[(&host, None, 1)], generation));
    BROKEN.set(true);
    let outcome = stage.change([rule(1)]);
    assert!(outcome.faults.iter().any(|fault| fault.what.contains("VirtualService shop/rule")), "{outcome:?}");
    assert!(outcome.posts.is_empty() && stage.kept_back() == ["VirtualService shop/rule"], "{outcome:?}");
    // The same fault again, with another change.
    let outcome = stage.change([endpoints("good", &[1, 2]), rule(2)]);
    assert!(!outcome.faults.is_empty());
    for (subject, layer) in &before {
        assert!(Arc::ptr_eq(layer, &stage.posted[subject]), "what was posted stays");
    }
    // A proxy that comes meanwhile has its place, and nothing to go with it.
    let late = proxy("ops", "client");
    stage.world.apply([present(pod("ops", "client", &[]))]);
    stage.seated.insert(late.clone());
    let outcome = stage.engine.advance(&stage.world, &joined(&BTreeSet::from([late])));
    super::follow(&mut stage.posted, &outcome);
    stage.mend();
}

fn run(steps: Vec<(Step, Option<u32>)>) {
    let (world, posted, seated) = (World::default(), Posted::new(), BTreeSet::new());
    let mut stage = Stage { world, engine: engine(), posted, seated };
    for (step, rest) in steps {
        let (mut seats, before) = (Seats::default(), stage.posted.clone());
        REST.set(rest);
        match step {
            Step::World(change) => drop(stage.world.apply([change])),
            Step::Seat(facts) => {
                seats.joined.insert(facts.clone());
                stage.seated.insert(facts);
            }
            Step::Leave(facts) => {
                stage.seated.remove(&facts);
                seats.left.insert(facts);
            }
        }
        let outcome = stage.engine.advance(&stage.world, &seats);
        super::follow(&mut stage.posted, &outcome);
        for (subject, layer) in &outcome.posts {
            assert_eq!(lint::layer(layer), [], "{subject:?}");
            let all = Kind::ALL.into_iter().flat_map(|kind| layer.own(kind).values());
            let was = |resource: &Resource| before.get(subject)?.get(resource.kind(), resource.name()).cloned();
            let new = all.filter(|resource| was(resource).is_none_or(|was| was.version() != resource.version()));
            let refused: Vec<_> =
                new.filter(|resource| is_refused(resource) && resource.fragments().is_none()).collect();
            assert!(refused.is_empty(), "{subject:?} {refused:?}");
        }
    }
    stage.mend();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is refused and however things change, what is posted is what Envoy takes, and once nothing is refused any more
    /// it is what it would be if nothing had been.
    #[test]
    fn what_is_posted_is_always_good(steps in vec((steps(), proptest::option::of(0..5u32)), 1..30)) {
        run(steps);
    }
}
