//! Where the programs are: Envoys, Prometheus, Kubernetes and what else is pinned from the tools cache, chancery from the
//! same build.

use super::spawner;
use super::{Failure, Outcome};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Which Envoy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Release {
    /// The newest that chancery is tested with.
    Newest,
    /// The oldest that it serves.
    Oldest,
    /// One that loses rebuilds of its tables for hashing, with [`FORGETS`] on.
    Forgetful,
}

/// The flag with which [`Release::Forgetful`] forgets.
pub const FORGETS: &str = "envoy.reloadable_features.coalesce_lb_rebuilds_on_batch_update";

impl Release {
    /// Its name in the table of tools, and the variable that names another binary than the fetched one.
    fn source(self) -> (&'static str, &'static str) {
        match self {
            Release::Newest => ("envoy", "CHANCERY_ENVOY"),
            Release::Oldest => ("envoy-oldest", "CHANCERY_ENVOY_OLDEST"),
            Release::Forgetful => ("envoy-forgetful", "CHANCERY_ENVOY_FORGETFUL"),
        }
    }

    /// The version that is pinned; none where a variable names another binary.
    pub fn version(self) -> Outcome<Option<String>> {
        let (name, variable) = self.source();
        if std::env::var_os(variable).is_some() {
            return Ok(None);
        }
        let table = std::fs::read_to_string(root().join("integration/tools/tools.toml"))?;
        let section = table.split("\n[").find_map(|section| section.strip_prefix(&format!("{name}]\n")));
        let version = section.and_then(|section| section.split("\nversion = \"").nth(1)?.split('"').next());
        version.map(|version| Some(version.to_owned())).ok_or_else(|| Failure::new(format!("no version of {name}")))
    }
}

/// The Envoy to run: the one its variable names, else the pinned one, fetched if need be.
pub fn envoy(release: Release) -> Outcome<PathBuf> {
    let (name, variable) = release.source();
    find(name, variable)
}

/// The Prometheus to run, likewise.
pub fn prometheus() -> Outcome<PathBuf> {
    find("prometheus", "CHANCERY_PROMETHEUS")
}

/// The program that tries rules for alerts, likewise.
pub fn promtool() -> Outcome<PathBuf> {
    find("promtool", "CHANCERY_PROMTOOL")
}

/// The Helm to run, likewise.
pub fn helm() -> Outcome<PathBuf> {
    find("helm", "CHANCERY_HELM")
}

/// The linter of the Dockerfile, likewise.
pub fn hadolint() -> Outcome<PathBuf> {
    find("hadolint", "CHANCERY_HADOLINT")
}

/// A file with definitions of kinds, likewise.
pub fn definitions(name: &'static str, variable: &str) -> Outcome<PathBuf> {
    find(name, variable)
}

/// A program of a Kubernetes control plane: the one in the folder that `KUBEBUILDER_ASSETS` names, as tests of other
/// projects have it, else, also if that folder lacks it, the pinned one.
pub fn kubernetes(name: &'static str) -> Outcome<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(|folder| Path::new(&folder).join(name));
    match assets.filter(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => fetch(name, "KUBEBUILDER_ASSETS"),
    }
}

/// What the variable names, else the tool of that name in the table.
fn find(name: &'static str, variable: &str) -> Outcome<PathBuf> {
    std::env::var_os(variable).map_or_else(|| fetch(name, variable), |path| Ok(path.into()))
}

/// A tool by its name in the table, asked for once in a process; the variable is what a failure suggests.
fn fetch(name: &'static str, variable: &str) -> Outcome<PathBuf> {
    static FOUND: Mutex<BTreeMap<&str, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let found = found.entry(name).or_insert_with(|| install(name, variable).map_err(|failure| failure.0));
    found.clone().map_err(Failure)
}

fn install(name: &str, variable: &str) -> Outcome<PathBuf> {
    let fetch = root().join("integration/tools/fetch");
    let hint = |error: Failure| {
        Failure::new(format!("no {name}: `{} {name}` failed; or set {variable}", fetch.display())).with(&error.0)
    };
    let printed = spawner::output(&fetch, &[name]).map_err(hint)?;
    let path = printed.lines().last().map(PathBuf::from).filter(|path| path.is_file());
    path.ok_or_else(|| hint(Failure::new(format!("its last line names no file:\n{printed}"))))
}

/// The chancery of this build: told to tests by cargo, beside the examples' folder otherwise.
pub fn chancery() -> Outcome<PathBuf> {
    if let Some(path) = option_env!("CARGO_BIN_EXE_chancery") {
        return Ok(path.into());
    }
    let own = std::env::current_exe()?;
    let beside = own.parent().and_then(Path::parent).map(|folder| folder.join("chancery"));
    beside.filter(|path| path.is_file()).ok_or_else(|| {
        Failure::new(format!("no chancery beside {}: build it with `cargo build --bins --examples`", own.display()))
    })
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
