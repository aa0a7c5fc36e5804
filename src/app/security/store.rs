//! Where an authority is kept: a directory, or a Secret in our own namespace, which replicas share.

use crate::ca::folder::{Folder, FolderError};
use crate::ca::material::{CaError, Material, names};
use crate::ca::rotation::{Change, PARTS, Parts};
use crate::model::sensitive::Sensitive;
use crate::telemetry::logging::shown;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Error};
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// How long an answer of the API server may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where an authority is kept.
#[derive(Clone)]
pub enum Store {
    /// A directory.
    Folder(Folder),
    /// A Secret.
    Secret {
        /// Ours, in our own namespace.
        api: Box<Api<Secret>>,
        /// What it is called.
        name: String,
    },
}

/// Why nothing can be had from a store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory can't be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The API server can't be asked, or says no.
    #[error("Secret {name}: {reason}")]
    Cluster {
        /// Which Secret.
        name: String,
        /// What it says.
        reason: String,
    },
    /// A part is missing or none.
    #[error("Secret {name}: {source}")]
    Content {
        /// Which Secret.
        name: String,
        /// What is wrong.
        source: CaError,
    },
}

impl Store {
    /// A Secret in a namespace.
    pub fn secret(client: Client, namespace: &str, name: &str) -> Self {
        Store::Secret { api: Box::new(Api::namespaced(client, namespace)), name: name.to_owned() }
    }

    /// What the authority is made of; made if there is nothing. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If it can't be read, or made, or isn't complete.
    pub async fn read_or_make(&self, now: u64) -> Result<Material, StoreError> {
        let (api, name) = match self {
            Store::Folder(folder) => return Ok(folder.read_or(|| Material::self_signed(now))?),
            Store::Secret { api, name } => (api, name),
        };
        if let Some(secret) = asked(name, api.get_opt(name)).await? {
            return read(name, secret);
        }
        let content = |source| StoreError::Content { name: name.clone(), source };
        let made = secret_of(name, &Material::self_signed(now).map_err(content)?);
        match tokio::time::timeout(PATIENCE, api.create(&PostParams::default(), &made)).await {
            // Another replica was first: its authority is ours.
            Ok(Err(Error::Api(status))) if status.code == 409 => self.read().await,
            Ok(created) => created.map_err(|error| failed(name, &error)).and_then(|secret| read(name, secret)),
            Err(_) => Err(silent(name)),
        }
    }

    /// Changes what is kept, by what there is: all at once in a Secret, one after the other in a directory.
    ///
    /// # Errors
    /// If it can't be read or written, somebody else writes at the same time, or `changes` says so.
    pub async fn change<E: From<StoreError>>(
        &self,
        changes: impl FnOnce(Parts) -> Result<Vec<Change>, E>,
    ) -> Result<(), E> {
        let (api, name) = match self {
            Store::Folder(folder) => {
                let changes = changes(folder.parts(&PARTS).map_err(StoreError::from)?)?;
                return Ok(folder.change(changes).map_err(StoreError::from)?);
            }
            Store::Secret { api, name } => (api, name),
        };
        let mut secret = asked(name, api.get(name)).await?;
        let data = secret.data.get_or_insert_default();
        let part = |part: &&'static str| Some((*part, Sensitive::new(data.get(*part)?.0.clone())));
        let changes = changes(PARTS.iter().filter_map(part).collect())?;
        if changes.is_empty() {
            return Ok(());
        }
        for (part, content) in changes {
            match content {
                Some(content) => _ = data.insert(part.to_owned(), ByteString(content.expose().to_vec())),
                None => _ = data.remove(part),
            }
        }
        // It is refused if it is not what was read any more.
        asked(name, api.replace(name, &PostParams::default(), &secret)).await?;
        Ok(())
    }

    /// What the authority is made of.
    ///
    /// # Errors
    /// If it can't be read, or isn't complete.
    pub async fn read(&self) -> Result<Material, StoreError> {
        match self {
            Store::Folder(folder) => Ok(folder.read_all()?),
            Store::Secret { api, name } => read(name, asked(name, api.get(name)).await?),
        }
    }
}

async fn asked<T>(name: &str, request: impl Future<Output = Result<T, Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| failed(name, &error)),
        Err(_) => Err(silent(name)),
    }
}

fn silent(name: &str) -> StoreError {
    StoreError::Cluster { name: name.to_owned(), reason: format!("the API server said nothing for {PATIENCE:?}") }
}

fn failed(name: &str, error: &Error) -> StoreError {
    let reason = match error {
        Error::Api(status) => shown(status.message.trim()),
        // An answer that isn't understood is told with its words, which may be those of the Secret.
        Error::SerdeError(_) => "the API server's answer is not understood".to_owned(),
        other => shown(&other.to_string()),
    };
    StoreError::Cluster { name: name.to_owned(), reason }
}

fn read(name: &str, secret: Secret) -> Result<Material, StoreError> {
    let mut data = secret.data.unwrap_or_default();
    let parts = names::ALL.into_iter().filter_map(|part| Some((part, Sensitive::new(data.remove(part)?.0))));
    let material = Material::of_parts(&parts.collect());
    material.map_err(|source| StoreError::Content { name: name.to_owned(), source })
}

fn secret_of(name: &str, material: &Material) -> Secret {
    let text = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = [
        (names::ROOTS, text(&material.roots)),
        (names::CERTIFICATE, text(&material.certificate)),
        (names::CHAIN, text(&material.chain)),
        (names::KEY, ByteString(material.key.expose().to_vec())),
    ];
    let data: BTreeMap<_, _> = data.into_iter().map(|(part, bytes)| (part.to_owned(), bytes)).collect();
    Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        data: Some(data),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}
