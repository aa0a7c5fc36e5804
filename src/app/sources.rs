//! The source of objects: a folder or a cluster, and what is waited for until it has been read once.

use super::security::Home;
use super::{AppError, SourceOptions, StatusOptions};
use crate::source::directory::{self, Directory};
use crate::source::kubernetes::news::{KindStatus, Kinds};
use crate::source::kubernetes::{self, Sinks};
use crate::status::election::Terms;
use crate::status::lease;
use crate::telemetry::readiness::{Readiness, Token};
use kube::Client;
use std::collections::BTreeMap;
use tokio::sync::watch;

/// Where objects come from.
pub enum Source {
    /// A folder.
    Folder(Box<Directory>),
    /// A cluster.
    Cluster(Client, Box<kubernetes::Options>),
}

impl Source {
    /// The source that is asked for. Reads nothing of it yet.
    pub async fn of(options: SourceOptions) -> Result<Self, AppError> {
        Ok(match options {
            SourceOptions::Folder { config, mesh_config } => {
                Source::Folder(Directory::new(config).with_settings(mesh_config.as_deref()).into())
            }
            SourceOptions::Kubernetes(options) => {
                let client = kubernetes::client(&options).await?;
                Source::Cluster(client, options.into())
            }
        })
    }

    /// The API server, where there is one.
    pub fn client(&self) -> Option<Client> {
        match self {
            Source::Folder(_) => None,
            Source::Cluster(client, _) => Some(client.clone()),
        }
    }

    /// The cluster, where there is one.
    pub fn home(&self) -> Option<Home> {
        let Source::Cluster(client, options) = self else { return None };
        let namespace = options.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        let within = options
            .kinds
            .iter()
            .filter(|kind| !kind.is_secret())
            .filter_map(|kind| kind.within)
            .map(str::to_owned)
            .collect();
        Some(Home { client: client.clone(), namespace, within })
    }

    /// What is waited for until there is a World.
    pub fn awaited(&self) -> &'static str {
        match self {
            Source::Folder(_) => "the first load of the folder",
            Source::Cluster(..) => "the first list of everything watched",
        }
    }

    /// What is known of kinds before anything is read.
    pub fn kinds(&self) -> Kinds {
        match self {
            Source::Folder(_) => Kinds::new(),
            Source::Cluster(_, options) => kubernetes::unknown(&options.kinds),
        }
    }

    /// Where status is written, and under which Lease; nowhere for a folder.
    pub fn status(&self, options: StatusOptions) -> Option<(Client, lease::Options)> {
        let Home { client, namespace, .. } = self.home()?;
        let StatusOptions { lease: name, lasts, host } = options;
        // A process that is started again in the same place is another.
        let identity = format!("{host}_{:016x}", fastrand::u64(..));
        Some((client, lease::Options { namespace, name, identity, terms: Terms { lasts } }))
    }

    /// Reads and follows it.
    pub async fn run(self, sinks: Sinks) -> Result<(), AppError> {
        match self {
            Source::Folder(directory) => Ok(directory::watch::run(*directory, sinks.batches, sinks.reports).await?),
            Source::Cluster(client, options) => {
                kubernetes::run(client, *options, sinks).await;
                Ok(())
            }
        }
    }
}

/// Says which kinds are waited for, and why, until there are none, or the source is gone: none is waited for again.
pub async fn kinds_awaited(mut kinds: watch::Receiver<Kinds>, readiness: Readiness) {
    let mut tokens: BTreeMap<String, Token> = BTreeMap::new();
    loop {
        let names: Vec<_> = kinds.borrow_and_update().iter().filter(|kind| !kind.settled).map(name).collect();
        // The new ones first, so that nothing looks ready between.
        for name in &names {
            tokens.entry(name.clone()).or_insert_with(|| readiness.block(name));
        }
        tokens.retain(|name, _| names.contains(name));
        if tokens.is_empty() || kinds.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

fn name(status: &KindStatus) -> String {
    format!("{} ({})", status.kind.place(), status.state)
}
