//! Where the programs are: Envoy from the tools cache, chancery from the same build.

use super::spawner;
use super::{Failure, Outcome};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Names another Envoy than the fetched one.
const ENVOY: &str = "CHANCERY_ENVOY";

/// The Envoy to run: `$CHANCERY_ENVOY`, else the pinned one, fetched if need be.
pub fn envoy() -> Outcome<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| find_envoy().map_err(|failure| failure.0)).clone().map_err(Failure)
}

fn find_envoy() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os(ENVOY) {
        return Ok(path.into());
    }
    let fetch = root().join("integration/tools/fetch");
    let hint = |error: Failure| {
        Failure::new(format!("no Envoy: `{} envoy` failed; or set {ENVOY}", fetch.display())).with(&error.0)
    };
    let printed = spawner::output(&fetch, &["envoy"]).map_err(hint)?;
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
