//! Follows the authority: read again and again, so that a new one takes over without a restart, and one that is broken
//! does not: the last good one stays, loudly.

use super::Options;
use super::store::{Store, StoreError};
use crate::ca::authority::Authority;
use crate::ca::folder::{FolderError, ISSUER_KEY};
use crate::ca::given::Given;
use crate::ca::material::{CaError, Material};
use crate::ca::term::{Term, is_early};
use crate::ca::tls::Tls;
use crate::clock::Clock;
use crate::telemetry::logging::chain;
use crate::telemetry::readiness::Token;
use crate::telemetry::security::SecurityMetrics;
use crate::tokens::issuer::IssuerError;
use rustls::ServerConfig;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use xxhash_rust::xxh3::Xxh3;

/// How often it is looked whether there is another authority.
const LOOK: Duration = Duration::from_secs(2);
/// How long the server's own certificate lasts; it is renewed at half of that.
const SERVED: Duration = Duration::from_secs(24 * 3600);

/// Why there is no secure door.
#[derive(Debug, Error)]
pub enum SecurityError {
    /// The directory can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The authority can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is there is no authority.
    #[error("the certificate authority can't be used")]
    Authority(#[from] CaError),
    /// There is neither a directory nor a cluster.
    #[error("there is no place for the certificate authority: give --identity DIR")]
    Nowhere,
    /// There is no key for tokens.
    #[error("the key for tokens, {ISSUER_KEY}, can't be used")]
    Issuer(#[from] IssuerError),
    /// The certificate that is given can't be used.
    #[error("the certificate of this server, in {}, can't be used", folder.display())]
    Given {
        /// Where it is.
        folder: PathBuf,
        /// What is wrong with it.
        source: CaError,
    },
    /// The system gives no randomness.
    #[error("TLS can't be spoken")]
    Tls(#[from] rustls::Error),
}

/// Where the newest is told.
pub struct Sinks {
    /// The authority.
    pub authorities: watch::Sender<Option<Arc<Authority>>>,
    /// How TLS is spoken.
    pub configs: watch::Sender<Option<Arc<ServerConfig>>>,
    /// What is counted.
    pub metrics: SecurityMetrics,
}

/// An authority where it is kept, and what it has signed for this server.
pub struct Followed {
    store: Store,
    names: Vec<String>,
    /// The certificate of this server, where the authority signs none.
    given: Option<Given>,
    tls: Tls,
    clock: Clock,
    sinks: Sinks,
    /// The material that is in use, as a hash.
    in_use: u64,
    /// For how long the server's certificate counts; none while there is none.
    served: Option<Term>,
    /// Why nothing can be read, or what was read last can't be used.
    trouble: Option<String>,
}

impl Followed {
    /// An authority that is not read yet.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn new(store: Store, options: &Options, sinks: Sinks) -> Result<Self, SecurityError> {
        let (names, clock) = (options.names.clone(), options.clock.clone());
        let given = options.served.clone().map(Given::in_folder);
        let tls = Tls::new(Arc::new(clock.clone()))?;
        Ok(Self { store, names, given, tls, clock, sinks, in_use: 0, served: None, trouble: None })
    }

    /// Reads it for the first time; makes one if there is none.
    ///
    /// # Errors
    /// If there is none that can sign.
    pub async fn open(&mut self) -> Result<(), SecurityError> {
        let material = self.store.read_or_make(self.clock.now()).await?;
        self.look_at_given()?;
        self.take_over(&material, fingerprint(&material))
    }

    /// Follows it until the process ends. Whoever waits for it gets the token back when it has been read once.
    pub async fn run(mut self, token: Token) {
        while self.sinks.authorities.borrow().is_none() {
            if let Err(error) = self.open().await {
                self.complain(Some(chain(&error)));
                tokio::time::sleep(LOOK).await;
            }
        }
        self.complain(None);
        drop(token);
        loop {
            tokio::time::sleep(LOOK).await;
            self.look().await;
        }
    }

    /// Looks once. What is being served is renewed in time, also while nothing can be read.
    async fn look(&mut self) {
        let given = self.follow_given();
        let (followed, renewed) = (self.follow().await, self.renew());
        let trouble = followed.and(renewed).and(given).err();
        self.complain(trouble.map(|error| chain(&error)));
    }

    async fn follow(&mut self) -> Result<(), SecurityError> {
        let material = self.store.read().await?;
        let read = fingerprint(&material);
        if read != self.in_use {
            self.take_over(&material, read)?;
            tracing::info!("another certificate authority has taken over");
        }
        Ok(())
    }

    /// Reads what is given; whether it is another certificate.
    fn look_at_given(&mut self) -> Result<bool, SecurityError> {
        let now = self.clock.now();
        let Some(given) = &mut self.given else { return Ok(false) };
        given.look(now).map_err(|source| SecurityError::Given { folder: given.folder().to_owned(), source })
    }

    fn follow_given(&mut self) -> Result<(), SecurityError> {
        let authority = self.sinks.authorities.borrow().clone();
        if let (true, Some(authority)) = (self.look_at_given()?, authority) {
            self.serve(&authority)?;
            tracing::info!("this server has another certificate");
        }
        Ok(())
    }

    /// Says what is wrong, once.
    fn complain(&mut self, trouble: Option<String>) {
        self.sinks.metrics.authority_is_broken(trouble.is_some());
        if let Some(reason) = trouble.as_ref().filter(|_| self.trouble != trouble) {
            match self.sinks.authorities.borrow().is_some() {
                true => tracing::error!("what was good last stays in use: {reason}"),
                false => tracing::error!("there is no certificate authority yet: {reason}"),
            }
        }
        self.trouble = trouble;
    }

    /// The authority of that material, whose hash is given, signs from now on.
    fn take_over(&mut self, material: &Material, hash: u64) -> Result<(), SecurityError> {
        let authority = Arc::new(Authority::new(material, self.clock.now())?);
        self.serve(&authority)?;
        self.in_use = hash;
        self.sinks.metrics.expires("authority", authority.until());
        self.sinks.authorities.send_replace(Some(authority));
        Ok(())
    }

    /// Renews the server's own certificate, if it is time. What can't sign is an error also where nothing is to be renewed.
    fn renew(&mut self) -> Result<(), SecurityError> {
        let (authority, now) = (self.sinks.authorities.borrow().clone(), self.clock.now());
        let Some(authority) = authority else { return Ok(()) };
        // Nobody would take what it signs.
        if authority.until() <= now {
            return Err(authority.form().named(authority.expired()).into());
        }
        // Whoever gives one renews it.
        if self.given.is_none() && self.served.is_none_or(|served| served.is_due(now)) {
            self.serve(&authority)?;
        }
        // Nor this, but who has another clock may.
        match is_early(authority.from(), now) {
            true => Err(authority.form().named(CaError::early()).into()),
            false => Ok(()),
        }
    }

    fn serve(&mut self, authority: &Authority) -> Result<(), SecurityError> {
        let now = self.clock.now();
        let given = self.given.as_ref().and_then(Given::served);
        let served = given.map_or_else(|| authority.serve(&self.names, now, SERVED), Ok)?;
        let until = served.until;
        self.sinks.metrics.expires("server", until);
        let config = self.tls.server(served, authority)?;
        self.served = Some(Term { from: now, renew: now + until.saturating_sub(now) / 2, until });
        self.sinks.configs.send_replace(Some(Arc::new(config)));
        Ok(())
    }
}

fn fingerprint(material: &Material) -> u64 {
    let mut hasher = Xxh3::new();
    for part in
        [material.roots.as_bytes(), material.certificate.as_bytes(), material.key.expose(), material.chain.as_bytes()]
    {
        hasher.update(&part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.digest()
}
