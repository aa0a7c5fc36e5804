//! A certificate of this server that somebody else has signed: `tls.crt` and `tls.key` in a directory, as a Secret of the type
//! `kubernetes.io/tls` is mounted.

use super::authority::{Served, certificates, end};
use super::material::CaError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fs;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;
use zeroize::Zeroizing;

/// The certificate, and those between it and its root.
const CERTIFICATE: &str = "tls.crt";
/// Its key.
const KEY: &str = "tls.key";

/// The certificate where it is kept, and as it was good last.
pub struct Given {
    folder: PathBuf,
    last: Option<Last>,
}

struct Last {
    served: Served,
    /// What both files said, as a hash.
    hash: u64,
}

impl Given {
    /// One that is not read yet.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder, last: None }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads it again; whether it is another one. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If what is there can't be used, or its time is over. The last that was good stays.
    pub fn look(&mut self, now: u64) -> Result<bool, CaError> {
        let [certificate, key] = [self.read(CERTIFICATE)?, self.read(KEY)?];
        let hash = xxh3_64(&certificate) ^ xxh3_64(&key).rotate_left(1);
        let is_new = self.last.as_ref().is_none_or(|last| last.hash != hash);
        if is_new {
            self.last = Some(Last { served: pair(&certificate, &key, now)?, hash });
        }
        match self.last.as_ref().is_some_and(|last| last.served.until <= now) {
            true => Err(CaError::expired(CERTIFICATE)),
            false => Ok(is_new),
        }
    }

    /// What is served with; none before it was read.
    pub fn served(&self) -> Option<Served> {
        let Served { chain, key, until } = &self.last.as_ref()?.served;
        Some(Served { chain: chain.clone(), key: key.clone_key(), until: *until })
    }

    fn read(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, CaError> {
        let read = fs::read(self.folder.join(name)).map(Zeroizing::new);
        read.map_err(|error| CaError::Part { part: name, reason: error.to_string() })
    }
}

/// A certificate and the key that belongs to it.
fn pair(certificate: &[u8], key: &[u8], now: u64) -> Result<Served, CaError> {
    let wrong = |part, reason: String| CaError::Part { part, reason };
    let chain = certificates(&String::from_utf8_lossy(certificate), CERTIFICATE)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| wrong(KEY, "it is not a key in PEM".to_owned()))?;
    let provider = rustls::crypto::ring::default_provider();
    let whole = CertifiedKey::from_der(chain.clone(), key.clone_key(), &provider);
    whole.map_err(|error| wrong(KEY, format!("it can't be used with {CERTIFICATE}: {error}")))?;
    let until = chain.first().and_then(|leaf: &CertificateDer<'_>| end(leaf)).unwrap_or_default();
    match until > now {
        true => Ok(Served { chain, key, until }),
        false => Err(CaError::expired(CERTIFICATE)),
    }
}
