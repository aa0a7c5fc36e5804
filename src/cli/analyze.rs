//! `chancery analyze FILES…`: what is wrong with manifests, before anybody applies them.
//!
//! The core is pure: from the bytes of files to findings and text. Translation adds what only shows when objects meet, with
//! [`Analysis::add`]. It never stops at the first mistake.

use super::{Done, FINDINGS};
use crate::model::audience::{Interception, ProxyFacts};
use crate::model::object::Object;
use crate::model::problem::{Problem, Severity};
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::world::World;
use crate::publish::Engine;
use crate::snapshot::board::Seats;
use crate::source::directory::catalog::{Catalog, Update};
use crate::source::directory::{bytes, is_settings, limited, manifests};
use crate::source::finding::{Finding, Position};
use clap::Args;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// `chancery analyze`.
#[derive(Args, Debug)]
pub struct AnalyzeArgs {
    /// Manifests: files, or folders of them
    #[arg(value_name = "FILES", required = true)]
    paths: Vec<PathBuf>,
    /// The least severity that makes the exit code 3: error or warning
    #[arg(long, value_name = "SEVERITY", value_parser = severity, default_value = "error")]
    fail_on: Severity,
}

fn severity(text: &str) -> Result<Severity, String> {
    match text {
        "error" => Ok(Severity::Error),
        "warning" => Ok(Severity::Warning),
        _ => Err("not one of error, warning".to_owned()),
    }
}

impl AnalyzeArgs {
    /// Analyses the files one by one and together.
    pub fn run(self) -> Done {
        let mut analysis = analyze(read(&self.paths));
        let mut engine = Engine::default();
        engine.advance(&analysis.world(), &Seats { joined: analysis.proxies(), ..Seats::default() });
        engine.problems().into_iter().for_each(|problem| analysis.add(problem));
        let code = if analysis.fails(self.fail_on) { FINDINGS } else { 0 };
        Done { text: analysis.to_string(), code }
    }
}

/// What is known after reading a set of files.
#[derive(Default, Debug)]
pub struct Analysis {
    catalog: Catalog,
    files: usize,
    /// What was found by others than the parsers.
    further: BTreeSet<Finding>,
}

/// Reads what `paths` name: files, and the manifests of directories. A file named twice is read once.
pub fn read(paths: &[PathBuf]) -> Vec<(Arc<Path>, Update)> {
    let mut files: BTreeSet<Arc<Path>> = BTreeSet::new();
    let mut named: BTreeSet<Arc<Path>> = BTreeSet::new();
    let mut others = Vec::new();
    for path in paths {
        match path.is_dir().then(|| manifests(path)) {
            Some(Ok(found)) => {
                let (settings, objects): (Vec<_>, Vec<_>) = found.into_iter().partition(|path| is_settings(path));
                files.extend(objects);
                others.extend(settings.into_iter().map(settings_of));
            }
            Some(Err(error)) => others.push((path.as_path().into(), Update::Unreadable(error.to_string()))),
            // A file that was named may be a pipe: `chancery analyze <(helm template .)`.
            None => drop(named.insert(path.as_path().into())),
        }
    }
    files.retain(|path| !named.contains(path));
    let update = |bytes: std::io::Result<Vec<u8>>| match bytes {
        Ok(bytes) => Update::Bytes(bytes),
        Err(error) => Update::Unreadable(error.to_string()),
    };
    let found = files.into_iter().map(|path| (path.clone(), update(bytes(&path))));
    let named = named.iter().map(|path| match update(limited(path)) {
        Update::Bytes(bytes) if is_settings(path) => (path.clone(), Update::Settings(bytes)),
        update => (path.clone(), update),
    });
    found.chain(named).chain(others).collect()
}

/// Reads settings of the mesh.
pub fn settings_of(path: Arc<Path>) -> (Arc<Path>, Update) {
    let update = match bytes(&path) {
        Ok(bytes) => Update::Settings(bytes),
        Err(error) => Update::Unreadable(error.to_string()),
    };
    (path, update)
}

/// Analyses files, each with what was read of it.
pub fn analyze(files: Vec<(Arc<Path>, Update)>) -> Analysis {
    let mut analysis = Analysis { files: files.len(), ..Analysis::default() };
    analysis.catalog.apply(files);
    analysis
}

impl Analysis {
    /// The objects that would be in effect.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.catalog.objects()
    }

    /// The World these objects make.
    pub fn world(&self) -> World {
        let mut world = World::default();
        world.apply(self.objects().map(|object| (object.key().clone(), Some(object.clone()))));
        world
    }

    /// A proxy for every Pod: some mistakes show only in what a proxy would be given. It has proven who it is, as proxies do.
    fn proxies(&self) -> BTreeSet<ProxyFacts> {
        let pods = self.objects().filter(|object| object.key().kind == ObjectKind::Pod).map(Object::key);
        let facts = |pod: &ObjectKey| {
            let facts = ProxyFacts::new(pod.namespace.clone(), pod.name.clone(), Interception::default());
            ProxyFacts { authenticated: true, ..facts }
        };
        pods.map(facts).collect()
    }

    /// Adds a problem that was found when the objects were looked at together. Its place is looked up.
    pub fn add(&mut self, problem: Problem) {
        let unknown = || Position { file: Path::new("?").into(), line: None };
        let position = self.catalog.report().locate(&problem.object, &problem.field).unwrap_or_else(unknown);
        self.further.insert(Finding::of(problem, position));
    }

    /// Every finding, sorted by file and line.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.catalog.report().findings();
        findings.extend(self.further.iter().cloned());
        findings.sort();
        findings.dedup();
        findings
    }

    /// Whether there is a finding of that severity, or a worse one.
    pub fn fails(&self, severity: Severity) -> bool {
        self.findings().iter().any(|finding| finding.severity() <= severity)
    }
}

/// One finding a line, and a summary.
impl fmt::Display for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = self.findings();
        for finding in &findings {
            writeln!(f, "{finding}")?;
        }
        let errors = findings.iter().filter(|finding| finding.severity() == Severity::Error).count();
        let counts = [
            count(self.files, "file"),
            count(self.objects().count(), "object"),
            count(errors, "error"),
            count(findings.len() - errors, "warning"),
        ];
        writeln!(f, "{}", counts.join(", "))
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
