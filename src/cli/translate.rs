//! `chancery translate`: what a proxy would be given, without a server.
//!
//! The same engine as the server's computes it; golden tests ask through here too.

use super::analyze::{analyze, read, settings_of};
use super::{Done, FAILED};
use crate::model::audience::{Interception, ProxyFacts, Subject};
use crate::model::problem::Problem;
use crate::model::world::World;
use crate::publish::Engine;
use crate::snapshot::board::Seats;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint::{self, Violation};
use crate::snapshot::print::{self, Format, PrintError};
use crate::snapshot::set::Snapshot;
use crate::source::directory::is_settings;
use crate::source::yaml;
use crate::xds::identity;
use crate::xds::refusal::Refusal;
use clap::Args;
use envoy_types::pb::envoy::config::core::v3::Node;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// `chancery translate`.
#[derive(Args, Debug)]
pub struct TranslateArgs {
    /// Manifests: a file, or a folder of them; may be repeated
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// Settings of the mesh (Istio's MeshConfig), in place of those in a mesh.yaml
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// The proxy that asks: pod.namespace, or a file with its Node in proto JSON or YAML
    #[arg(long, value_name = "ID|FILE")]
    proxy: String,
    /// Answer as for a proxy that has proven who it is, and so holds a certificate
    #[arg(long)]
    authenticated: bool,
    /// What to print, of cds, eds, lds, rds, sds
    #[arg(long = "type", value_name = "TYPES", value_delimiter = ',', value_parser = kind, default_value = "cds,eds,lds,rds")]
    kinds: Vec<Kind>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
}

fn kind(short: &str) -> Result<Kind, String> {
    let found = Kind::ALL.into_iter().find(|kind| kind.short() == short);
    found.ok_or_else(|| format!("not one of {}", Kind::ALL.map(Kind::short).join(", ")))
}

impl TranslateArgs {
    /// Answers; what is wrong with the manifests goes to standard error.
    pub fn run(self) -> Result<Done, Box<dyn Error>> {
        let facts = ProxyFacts { authenticated: self.authenticated, ..facts(&self.proxy)? };
        let mut files = read(&self.files);
        if let Some(path) = &self.mesh_config {
            let path: Arc<Path> = path.as_path().into();
            files.retain(|(other, _)| *other != path && !is_settings(other));
            files.push(settings_of(path));
        }
        let mut analysis = analyze(files);
        let answer = answer(&analysis.world(), facts);
        if let Ok(answer) = &answer {
            answer.problems.iter().cloned().for_each(|problem| analysis.add(problem));
        }
        for finding in analysis.findings() {
            eprintln!("{finding}");
        }
        let answer = answer?;
        for violation in &answer.violations {
            eprintln!("Envoy would refuse this, which is a fault of chancery: {violation}");
        }
        let text = print::text(&print(&answer.snapshot, &self.kinds)?, self.output);
        Ok(Done { text, code: if answer.violations.is_empty() { 0 } else { FAILED } })
    }
}

/// Why `--proxy` can't be understood.
#[derive(Debug, Error)]
enum ProxyError {
    /// Neither a file nor `pod.namespace`.
    #[error("--proxy {0}: neither a file nor pod.namespace")]
    Form(String),
    /// The file can't be read.
    #[error("--proxy {0}")]
    Unreadable(PathBuf, #[source] std::io::Error),
    /// The file is not YAML.
    #[error("--proxy {0}: {1}")]
    Syntax(PathBuf, String),
    /// The file has no Node.
    #[error("--proxy {0}")]
    NotANode(PathBuf, #[source] PrintError),
    /// The Node is not one that is served.
    #[error("--proxy {0}")]
    Refused(PathBuf, #[source] Refusal),
}

/// The proxy that asks: a file's Node, else `pod.namespace` without interception.
fn facts(proxy: &str) -> Result<ProxyFacts, ProxyError> {
    let path = Path::new(proxy);
    if path.is_file() {
        return node_facts(path);
    }
    let (pod, namespace) = proxy
        .rsplit_once('.')
        .filter(|(pod, namespace)| !pod.is_empty() && !namespace.is_empty())
        .ok_or_else(|| ProxyError::Form(proxy.to_owned()))?;
    Ok(ProxyFacts::new(namespace.into(), pod.into(), Interception::default()))
}

fn node_facts(path: &Path) -> Result<ProxyFacts, ProxyError> {
    let bytes = std::fs::read(path).map_err(|error| ProxyError::Unreadable(path.into(), error))?;
    let content = yaml::read(&bytes);
    if let Some(failure) = content.failures.first() {
        return Err(ProxyError::Syntax(path.into(), format!("line {}: {}", failure.line, failure.text)));
    }
    let value = content.documents.into_iter().next().map(|document| document.value).unwrap_or_default();
    let node: Node = print::message(&value).map_err(|error| ProxyError::NotANode(path.into(), error))?;
    identity::facts(&node).map_err(|refusal| ProxyError::Refused(path.into(), refusal))
}

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
    pub facts: Box<ProxyFacts>,
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
        return Err(UnknownPod { facts: facts.into(), pods: pods(world) });
    };
    let layer = |subject| Arc::new(engine.layer(&subject).cloned().unwrap_or_default());
    let snapshot = Snapshot {
        outbound: layer(Subject::Audience(placement.audience)),
        inbound: layer(Subject::Workload(placement.workload)),
        ..Snapshot::default()
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
