//! An authority on disk, with the key of who issues tokens: a directory that only its owner can look into.

use super::material::{CaError, Form, Material, names};
use super::rotation::{Change, NEXT_KEY, PARTS, Parts};
use crate::model::sensitive::Sensitive;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The file of the key with which tokens are signed.
pub const ISSUER_KEY: &str = "issuer-key.pem";
/// The most that is read of a file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a directory can't be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// A file can't be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others can read a key.
    #[error("{path} can be read by others; chmod 600 it, and think of who may have read it", path = path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
    },
    /// What is in it is no authority.
    #[error("{path}: {source}", path = path.display())]
    Authority {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: CaError,
    },
}

/// A directory of secrets.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The directory at a path. Touches nothing.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The authority's parts; made now if none of them is there. One of which anything is there is somebody's, and is not
    /// written over because something else of it is missing.
    ///
    /// # Errors
    /// If files can't be read or written, others can read the key, or only some of the parts are there.
    pub fn read_or(&self, make: impl FnOnce() -> Result<Material, CaError>) -> Result<Material, FolderError> {
        if !PARTS.iter().any(|part| self.has(part)) {
            let material = make().map_err(|source| FolderError::Authority { path: self.0.clone(), source })?;
            let text = |text: String| Some(Sensitive::new(text.into_bytes()));
            self.change(vec![
                (names::ROOTS, text(material.roots)),
                (names::CERTIFICATE, text(material.certificate)),
                (names::CHAIN, text(material.chain)),
                (names::KEY, Some(material.key)),
            ])?;
        }
        self.read_all()
    }

    /// The authority's parts.
    ///
    /// # Errors
    /// If a file is missing or can't be read, or others can read the key.
    pub fn read_all(&self) -> Result<Material, FolderError> {
        let material = Material::of_parts(&self.parts(&names::ALL)?, Form::Cacerts);
        material.map_err(|source| FolderError::Authority { path: self.0.clone(), source })
    }

    /// A secret in a file.
    ///
    /// # Errors
    /// If there is none, it can't be read, or others can read it.
    pub fn secret(&self, name: &str) -> Result<Sensitive, FolderError> {
        let path = self.0.join(name);
        let mode = fs::metadata(&path).map_err(|source| failed(&path, source))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(FolderError::Exposed { path });
        }
        self.read(name).map(Sensitive::new)
    }

    /// A secret in a file; made now if there is none.
    ///
    /// # Errors
    /// If it can't be read or written, or others can read it.
    pub fn secret_or<E: From<FolderError>>(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Sensitive, E>,
    ) -> Result<Sensitive, E> {
        if !self.0.join(name).exists() {
            let secret = make()?;
            self.write(name, secret.expose(), 0o600)?;
        }
        Ok(self.secret(name)?)
    }

    /// Those of some files that are there; keys only where nobody else can read them.
    ///
    /// # Errors
    /// If a file can't be read, or others can read a key.
    pub fn parts(&self, names: &[&'static str]) -> Result<Parts, FolderError> {
        let there = names.iter().filter(|name| self.0.join(name).exists());
        there
            .map(|name| Ok((*name, if is_key(name) { self.secret(name)? } else { Sensitive::new(self.read(name)?) })))
            .collect()
    }

    /// Changes files, one after the other.
    ///
    /// # Errors
    /// If one can't be written or removed; those before it are changed.
    pub fn change(&self, changes: Vec<Change>) -> Result<(), FolderError> {
        for (name, content) in changes {
            match content {
                Some(content) => self.write(name, content.expose(), if is_key(name) { 0o600 } else { 0o644 })?,
                None => {
                    let path = self.0.join(name);
                    match fs::remove_file(&path) {
                        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(&path, source)),
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether anything has that name, be it a link to nothing, or nothing that can be looked at.
    fn has(&self, name: &str) -> bool {
        let looked_at = fs::symlink_metadata(self.0.join(name));
        looked_at.map_or_else(|error| error.kind() != io::ErrorKind::NotFound, |_| true)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, FolderError> {
        let path = self.0.join(name);
        let length = fs::metadata(&path).map_err(|source| failed(&path, source))?.len();
        if length > MAX_FILE {
            return Err(failed(&path, io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        fs::read(&path).map_err(|source| failed(&path, source))
    }

    /// Writes a file whole or not at all.
    fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), FolderError> {
        let (path, beside) = (self.0.join(name), self.0.join(format!(".{name}.new")));
        let written = || {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        written().map_err(|source| failed(&path, source))
    }
}

fn is_key(name: &str) -> bool {
    [names::KEY, NEXT_KEY].contains(&name)
}

fn failed(path: &Path, source: io::Error) -> FolderError {
    FolderError::File { path: path.to_owned(), source }
}
