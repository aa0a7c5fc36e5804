//! Whose tokens are believed: those of the cluster, whose keys the API server tells, or of the key beside a folder of
//! manifests.
//!
//! A token is verified here, without asking anybody: a fleet that comes back at once costs the API server nothing.

use super::authority::SecurityError;
use crate::ca::folder::{Folder, ISSUER_KEY};
use crate::telemetry::logging::shown;
use crate::telemetry::readiness::Token;
use crate::tokens::issuer::{ISSUER, Issuer};
use crate::tokens::keys::Keys;
use http::Request;
use kube::Client;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Where an API server tells who issues its tokens.
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where it tells their keys.
const JWKS: &str = "/openid/v1/jwks";
/// How often they are asked for.
const OFTEN: Duration = Duration::from_secs(300);
/// How long to wait after it could not be asked, and between two unknown keys.
const AGAIN: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whose tokens are believed.
#[derive(Clone, Debug, Default)]
pub struct Issuers {
    /// Their keys.
    pub keys: Keys,
    /// What they call themselves; none: nobody yet.
    pub issuer: Option<String>,
}

/// The newest issuers, and a bell to have them asked for anew.
#[derive(Clone, Debug)]
pub struct Known {
    /// The newest.
    pub newest: watch::Receiver<Arc<Issuers>>,
    /// Rung when a token is signed with a key that is not known.
    pub unknown_key: Arc<Notify>,
}

/// The issuer beside a folder of manifests.
///
/// # Errors
/// If its key can't be read, made or used.
pub fn of_folder(folder: &Folder) -> Result<Known, SecurityError> {
    let issuers = Issuers { keys: issuer(folder)?.keys(), issuer: Some(ISSUER.to_owned()) };
    Ok(Known { newest: watch::channel(Arc::new(issuers)).1, unknown_key: Arc::default() })
}

/// Who issues tokens for a folder of manifests: a key in that directory, which is made if there is none.
///
/// # Errors
/// If it can't be read, made or used.
pub fn issuer(folder: &Folder) -> Result<Issuer, SecurityError> {
    let key = folder.secret_or::<SecurityError>(ISSUER_KEY, || Ok(Issuer::new_key()?))?;
    Ok(Issuer::of_pem(&key)?)
}

/// Asks an API server again and again whose tokens are those of its service accounts. What it said last stays. The token is given
/// back when it has said it.
pub async fn follow(client: Client, sink: watch::Sender<Arc<Issuers>>, unknown_key: Arc<Notify>, token: Token) {
    let (mut trouble, mut token) = (None, Some(token));
    loop {
        let asked = ask(&client).await;
        let wait = if asked.is_ok() { OFTEN } else { AGAIN };
        match asked {
            Ok(issuers) => {
                sink.send_replace(Arc::new(issuers));
                drop(token.take());
                trouble = None;
            }
            Err(reason) if trouble.as_ref() != Some(&reason) => {
                tracing::error!("it is not known whose tokens to believe, or whether others sign them now: {reason}");
                trouble = Some(reason);
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
        _ = tokio::time::timeout(wait - AGAIN, unknown_key.notified()).await;
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

async fn ask(client: &Client) -> Result<Issuers, String> {
    let discovery: Discovery =
        serde_json::from_str(&get(client, DISCOVERY).await?).map_err(|error| error.to_string())?;
    let keys = Keys::of_jwks(get(client, JWKS).await?.as_bytes()).map_err(|error| format!("{JWKS}: {error}"))?;
    Ok(Issuers { keys, issuer: Some(discovery.issuer) })
}

async fn get(client: &Client, path: &str) -> Result<String, String> {
    let request = Request::get(path).body(Vec::new()).expect("a valid request");
    match tokio::time::timeout(PATIENCE, client.request_text(request)).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(kube::Error::Api(status))) => Err(format!("{path}: {}", shown(status.message.trim()))),
        Ok(Err(error)) => Err(format!("{path}: {}", shown(&error.to_string()))),
        Err(_) => Err(format!("{path}: the API server said nothing for {PATIENCE:?}")),
    }
}
