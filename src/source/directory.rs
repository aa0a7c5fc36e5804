//! A folder of YAML as a source: which objects its files hold, kept up to date file by file.
//!
//! Reached by names of files that may have changed; what leaves are real differences and a report of what is
//! wrong. Never deletes an object because a file can't be read or understood: its last good version stays in effect.

pub mod catalog;
mod exchange;
mod file;
mod notices;
pub mod watch;

use super::report::Report;
use crate::model::world::Change;
use catalog::{Catalog, Update};
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a folder can't be a source at all.
#[derive(thiserror::Error, Debug)]
pub enum DirectoryError {
    /// It isn't there, can't be listed, or isn't a directory.
    #[error("the directory {path} can't be read")]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of settings isn't there.
    #[error("the settings {path} can't be read")]
    Settings {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel doesn't tell us of changes; often its limit of watches is reached.
    #[error("changes of the directory {path} can't be watched")]
    Unwatched {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
}

/// The file of mesh settings: plain MeshConfig, without kind and name.
const MESH_SETTINGS: &str = "mesh.yaml";

/// Whether a file of that name is read: `*.yaml`, `*.yml` or `*.json`, and no leading dot (editors' files, and the
/// directories behind a mounted ConfigMap).
pub fn is_manifest(name: &Path) -> bool {
    let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
    let known = name.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(known, Some("yaml" | "yml" | "json"))
}

/// Whether a file of a folder holds settings of the mesh instead of objects.
pub fn is_settings(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == MESH_SETTINGS)
}

/// The bytes of a file, at most one more than are allowed; an error for what is no regular file.
///
/// # Errors
/// Whatever the system says.
pub fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe would wait for ever, so look first.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    limited(path)
}

/// The bytes of anything that can be opened, at most one more than are allowed.
///
/// # Errors
/// Whatever the system says.
pub fn limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(crate::source::yaml::MAX_FILE).unwrap_or(u64::MAX);
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The manifests of a directory, sorted; not those of directories inside it.
///
/// # Errors
/// Whatever the system says of the directory.
pub fn manifests(root: &Path) -> io::Result<BTreeSet<Arc<Path>>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(root)? {
        let name = entry?.file_name();
        if is_manifest(Path::new(&name)) {
            found.insert(root.join(name).into());
        }
    }
    Ok(found)
}

/// A folder and what is known of its files. Reads when told to; see [`watch`] for who tells.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    settings: Option<Arc<Path>>,
    catalog: Catalog,
    unreadable: BTreeSet<Arc<Path>>,
}

impl Directory {
    /// A folder of which nothing is known yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), settings: None, catalog: Catalog::default(), unreadable: BTreeSet::new() }
    }

    /// The same with settings of the mesh from a file that may be anywhere, in place of those in the folder.
    pub fn with_settings(self, settings: Option<&Path>) -> Self {
        let inside = |path: &Path| path.parent().and_then(|at| at.canonicalize().ok()) == self.root.canonicalize().ok();
        let settings = settings.map(|path| match path.file_name() {
            // A file has one name here, however it is written.
            Some(name) if inside(path) => self.root.join(name).into(),
            _ => path.into(),
        });
        Self { settings, ..self }
    }

    /// The file named by [`Directory::with_settings`].
    pub fn settings(&self) -> Option<&Arc<Path>> {
        self.settings.as_ref()
    }

    fn is_settings(&self, path: &Path) -> bool {
        is_settings(path) || self.settings.as_deref() == Some(path)
    }

    /// Whether another file stands in place of this one.
    fn is_replaced(&self, path: &Path) -> bool {
        is_settings(path) && self.settings.as_deref().is_some_and(|settings| settings != path)
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every file that is there or was there.
    ///
    /// # Errors
    /// If the folder can't be listed.
    pub fn files(&self) -> Result<BTreeSet<Arc<Path>>, DirectoryError> {
        let unreadable = |source| DirectoryError::Unreadable { path: self.root.clone(), source };
        let mut files = manifests(&self.root).map_err(unreadable)?;
        files.retain(|path| !self.is_replaced(path));
        files.extend(self.settings.iter().chain(self.catalog.files()).cloned());
        Ok(files)
    }

    /// The files that could not be read when last tried.
    pub fn unreadable(&self) -> &BTreeSet<Arc<Path>> {
        &self.unreadable
    }

    /// Reads these files again; those whose bytes are the same cost nothing more. Files that are not there are named in the
    /// answer and otherwise left alone.
    pub fn read(&mut self, files: impl IntoIterator<Item = Arc<Path>>) -> (Vec<Change>, BTreeSet<Arc<Path>>) {
        let mut gone = BTreeSet::new();
        let mut updates = Vec::new();
        for path in files {
            if self.is_replaced(&path) {
                continue;
            }
            let bytes = bytes(&path);
            self.unreadable.remove(&path);
            match bytes {
                Ok(bytes) if self.is_settings(&path) => updates.push((path, Update::Settings(bytes))),
                Ok(bytes) => updates.push((path, Update::Bytes(bytes))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => drop(gone.insert(path)),
                Err(error) => {
                    self.unreadable.insert(path.clone());
                    updates.push((path, Update::Unreadable(error.to_string())));
                }
            }
        }
        (self.catalog.apply(updates), gone)
    }

    /// Those of `files` that something is known of.
    pub fn known(&self, files: BTreeSet<Arc<Path>>) -> impl Iterator<Item = Arc<Path>> {
        files.into_iter().filter(|path| self.catalog.knows(path))
    }

    /// Takes files for deleted, and their objects with them.
    pub fn forget(&mut self, files: impl IntoIterator<Item = Arc<Path>>) -> Vec<Change> {
        let updates: Vec<_> = files.into_iter().map(|path| (path, Update::Gone)).collect();
        for (path, _) in &updates {
            self.unreadable.remove(path);
        }
        self.catalog.apply(updates)
    }

    /// Says in the report that the folder is not there, or that it is.
    pub fn set_missing(&mut self, reason: Option<String>) {
        self.catalog.set_missing(reason.map(|reason| (self.root.as_path().into(), reason)));
    }

    /// Whether some file may hold more than was understood of it.
    pub fn is_partial(&self) -> bool {
        self.catalog.is_partial() || !self.unreadable.is_empty()
    }

    /// What is wrong with the files now.
    pub fn report(&self) -> &Report {
        self.catalog.report()
    }

    /// Counts the changes of the report.
    pub fn revision(&self) -> u64 {
        self.catalog.revision()
    }
}
