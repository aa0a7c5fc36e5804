//! `chancery translate`: what a proxy would be given, without a server.
//!
//! The same engine as the server's computes it; golden tests ask through here too.

use crate::model::audience::{ProxyFacts, Subject};
use crate::model::problem::Problem;
use crate::model::world::World;
use crate::publish::Engine;
use crate::snapshot::board::Seats;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint::{self, Violation};
use crate::snapshot::print::{self, PrintError};
use crate::snapshot::set::Snapshot;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;

/// What a proxy would be given.
#[derive(Debug)]
pub struct Answer {
    /// The resources.
    pub snapshot: Snapshot,
    /// Mistakes that translation found, sorted.
    pub problems: BTreeSet<Problem>,
    /// What Envoy would refuse: a fault of ours, empty unless there is one.
    pub violations: Vec<Violation>,
}

/// The proxy's Pod is not among the objects.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("Pod {}/{} is not among the objects, and a proxy is configured by its Pod{}", facts.namespace, facts.pod, known(pods))]
pub struct UnknownPod {
    /// The proxy.
    pub facts: ProxyFacts,
    /// The Pods there are, as `pod.namespace`.
    pub pods: Vec<String>,
}

fn known(pods: &[String]) -> String {
    match pods {
        [] => "; there is no Pod at all".to_owned(),
        pods => format!("; there are {}", pods.join(", ")),
    }
}

/// Answers for one proxy in a World.
pub fn answer(world: &World, facts: ProxyFacts) -> Result<Answer, UnknownPod> {
    let mut engine = Engine::default();
    let seats = Seats { joined: BTreeSet::from([facts.clone()]), left: BTreeSet::new() };
    engine.advance(world, &seats);
    let Some(placement) = engine.placement(&facts).cloned() else {
        return Err(UnknownPod { facts, pods: pods(world) });
    };
    let layer = |subject| Arc::new(engine.layer(&subject).cloned().unwrap_or_default());
    let snapshot = Snapshot {
        outbound: layer(Subject::Audience(placement.audience)),
        inbound: layer(Subject::Workload(placement.workload)),
        since: None,
    };
    let violations = lint::snapshot(&snapshot);
    Ok(Answer { snapshot, problems: engine.problems(), violations })
}

fn pods(world: &World) -> Vec<String> {
    let pods = world.objects().filter_map(|object| match object {
        crate::model::object::Object::Pod(pod) => Some(format!("{}.{}", pod.key().name, pod.key().namespace)),
        _ => None,
    });
    pods.collect()
}

/// The resources of some kinds as one JSON object: by the kind's short name, a list sorted by name.
pub fn print(snapshot: &Snapshot, kinds: &[Kind]) -> Result<Value, PrintError> {
    let mut all = Map::new();
    for kind in kinds {
        let mut resources: Vec<_> = snapshot.iter(*kind).collect();
        resources.sort_by(|a, b| a.name().cmp(b.name()));
        let values = resources.into_iter().map(|resource| print::resource(resource)).collect::<Result<_, _>>()?;
        all.insert(kind.short().to_owned(), Value::Array(values));
    }
    Ok(Value::Object(all))
}
