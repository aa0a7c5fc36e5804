//! What a fault of ours keeps back is known to be: a rule whose translation panics, or whose configuration lint refuses, is not in
//! effect, whatever proxies have accepted. Other rules are.

use super::worlds::{pod, present, proxy, routes, service, service_key};
use chancery::model::audience::Subject;
use chancery::model::provenance::ObjectKey;
use chancery::model::service::Protocol;
use chancery::model::tracked::Tracked;
use chancery::model::world::World;
use chancery::publish::{Engine, Outcome, Translator};
use chancery::snapshot::board::Seats;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Fragment, Ref};
use chancery::translate::unit::{Built, Inputs, Selection, Unit};
use chancery::translate::{build, select};
use envoy_types::pb::envoy::config::route::v3::VirtualHost;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

static PANICS: AtomicBool = AtomicBool::new(false);
static DANGLES: AtomicBool = AtomicBool::new(false);

fn select_or_panic(world: &Tracked, subject: &Subject, unit: &Unit) -> Selection {
    let selection = select(world, subject, unit);
    let bad = matches!(unit, Unit::VirtualHost(host) if host.service.name.as_str() == "bad");
    assert!(!(bad && PANICS.load(Ordering::SeqCst)), "a fault that is meant");
    selection
}

fn build_or_dangle(inputs: &Inputs) -> Built {
    match build(inputs) {
        Built::Fragment(host) if host.name().starts_with("bad") && DANGLES.load(Ordering::SeqCst) => {
            let refs = vec![Ref { kind: Kind::Cluster, name: "nobody".into() }];
            let (message, provenance) = (host.message::<VirtualHost>().expect("it is one"), host.provenance().clone());
            Built::Fragment(Arc::new(Fragment::new(host.name(), 2, &message, refs, provenance)))
        }
        built => built,
    }
}

/// Two services with a rule each, and a proxy.
struct Stage {
    world: World,
    engine: Engine,
}

impl Stage {
    fn new(translator: Translator) -> Self {
        let mut stage = Self { world: World::default(), engine: Engine::new(translator) };
        for name in ["bad", "good"] {
            stage.world.apply([present(service("shop", name, &[(80, Protocol::Http)], 0))]);
            stage.rule(name, 1);
        }
        stage.world.apply([present(pod("shop", "client", &[]))]);
        let seats = Seats { joined: [proxy("shop", "client")].into(), ..Seats::default() };
        assert_eq!(stage.engine.advance(&stage.world, &seats).posts.len(), 2);
        stage
    }

    fn rule(&mut self, name: &str, generation: i64) {
        let host = service_key("shop", name).host();
        let weights = [(&host, None, u32::try_from(generation).expect("small"))];
        self.world.apply([present(routes("shop", name, &host, &weights, generation))]);
    }

    fn advance(&mut self) -> Outcome {
        self.engine.advance(&self.world, &Seats::default())
    }

    fn kept_back(&self) -> Vec<String> {
        self.engine.kept_back().iter().map(ObjectKey::to_string).collect()
    }
}

/// Breaks and mends; what is kept back meanwhile.
fn follow(mut stage: Stage, broken: &AtomicBool) -> (Vec<String>, Outcome) {
    assert_eq!(stage.kept_back(), [""; 0]);
    broken.store(true, Ordering::SeqCst);
    stage.rule("bad", 4);
    stage.rule("good", 4);
    let outcome = stage.advance();
    let kept = stage.kept_back();
    broken.store(false, Ordering::SeqCst);
    stage.rule("bad", 3);
    stage.advance();
    assert_eq!(stage.kept_back(), [""; 0], "it is mended");
    (kept, outcome)
}

#[test]
fn a_rule_whose_translation_panics_is_known_not_to_be_in_effect() {
    let translator = Translator { select: select_or_panic, ..Translator::default() };
    let (kept, outcome) = follow(Stage::new(translator), &PANICS);
    assert!(!outcome.faults.is_empty() && outcome.posts.len() == 1, "{outcome:?}");
    // Whatever it looked at may be what is not in effect; the other rule it did not look at.
    assert_eq!(kept, ["VirtualService shop/bad", "MeshConfig mesh"]);
}

/// Only the virtual host at fault is kept back: the other rule is in effect, in the same route configuration.
#[test]
fn a_rule_whose_configuration_is_refused_by_lint_is_known_not_to_be_in_effect() {
    let translator = Translator { build: build_or_dangle, ..Translator::default() };
    let (kept, outcome) = follow(Stage::new(translator), &DANGLES);
    assert!(!outcome.violations.is_empty() && outcome.posts.len() == 1, "{outcome:?}");
    assert_eq!(kept, ["VirtualService shop/bad"]);
}
