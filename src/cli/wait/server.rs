//! chancery's API, asked over HTTP.

use crate::model::provenance::ObjectKey;
use crate::telemetry::logging::shown;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::time::Duration;
use thiserror::Error;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may be, in bytes.
const LIMIT: usize = 64 << 20;

/// Why there is no answer.
#[derive(Error, Debug)]
pub enum ServerError {
    /// The address is none.
    #[error("\"{0}\" is not an address such as 127.0.0.1:15014")]
    Address(String),
    /// The token is none.
    #[error("what --token names is not a token")]
    Token,
    /// Nobody answers.
    #[error("{address} can't be asked; is chancery there? See --server")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It wants to know who asks, or that is not enough.
    #[error("{address} refuses to answer: {reason}; see --token")]
    Refused {
        /// Where.
        address: String,
        /// What it says.
        reason: String,
    },
    /// It answers something else.
    #[error("{address} does not answer as chancery does: {reason}")]
    Strange {
        /// Where.
        address: String,
        /// What is strange about it.
        reason: String,
    },
}

/// The server.
pub struct Server {
    address: String,
    /// What is shown with each question.
    credential: Option<HeaderValue>,
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// What is answered to a question for objects.
#[derive(Deserialize, Debug)]
pub struct Answer {
    /// Whether the server follows a cluster; else a folder.
    #[serde(rename = "fromCluster")]
    pub from_cluster: bool,
    /// Whether proxies may be missing.
    pub partial: bool,
    /// The objects.
    pub items: Vec<Standing>,
    /// What is wrong with what is asked for, where there is no such object.
    #[serde(skip)]
    pub others: Vec<Trouble>,
}

/// How far an object has come.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The generation in effect.
    pub generation: Option<i64>,
    /// Which object of that name.
    pub identity: Option<String>,
    /// How many proxies it concerns.
    pub proxies: usize,
    /// How many have accepted it.
    pub in_effect_at: usize,
    /// What is wrong with it.
    pub problems: Vec<Trouble>,
}

/// Something that is wrong.
#[derive(Deserialize, Debug)]
pub struct Trouble {
    #[serde(default)]
    object: String,
    severity: String,
    #[serde(default)]
    field: String,
    text: String,
}

#[derive(Deserialize)]
struct Troubles {
    items: Vec<Trouble>,
}

impl Answer {
    /// What is wrong with the object, to follow what is said of it.
    pub fn problems(&self, key: &ObjectKey) -> String {
        let object = key.to_string();
        let problems = self.items.iter().flat_map(|standing| &standing.problems).chain(&self.others);
        let about = problems.filter(|problem| problem.object == object);
        about.map(|Trouble { severity, field, text, .. }| format!("\n  {severity}: {field}: {text}")).collect()
    }
}

impl Server {
    /// A server at an address, which is shown that token. Asks nothing.
    pub fn new(address: &str, token: Option<&str>) -> Result<Self, ServerError> {
        let address = address.trim_start_matches("http://").trim_end_matches('/').to_owned();
        match format!("http://{address}/").parse::<Uri>() {
            Ok(uri) if uri.port().is_some() => {}
            _ => return Err(ServerError::Address(address)),
        }
        let credential = token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))).transpose();
        let mut credential = credential.map_err(|_| ServerError::Token)?;
        credential.iter_mut().for_each(|credential| credential.set_sensitive(true));
        Ok(Self { address, credential, client: Client::builder(TokioExecutor::new()).build_http() })
    }

    /// Whether the server follows a cluster.
    pub async fn source(&self) -> Result<bool, ServerError> {
        Ok(self.get::<Answer>("/api/v1/objects?kind=&namespace=&name=").await?.from_cluster)
    }

    /// How far an object has come.
    pub async fn object(&self, key: &ObjectKey) -> Result<Answer, ServerError> {
        let (kind, namespace, name) = (key.kind, key.namespace.as_str(), key.name.as_str());
        let mut answer: Answer =
            self.get(&format!("/api/v1/objects?kind={kind}&namespace={namespace}&name={name}")).await?;
        if answer.items.is_empty() {
            answer.others = self.get::<Troubles>("/api/v1/problems").await?.items;
        }
        Ok(answer)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ServerError> {
        let address = &self.address;
        let strange = |reason: String| ServerError::Strange { address: address.clone(), reason };
        let mut request = Request::get(format!("http://{address}{path}"));
        if let Some(credential) = &self.credential {
            request = request.header(AUTHORIZATION, credential);
        }
        let request = request.body(Empty::new());
        let request = request.map_err(|error| strange(error.to_string()))?;
        let asked = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            let body = Limited::new(body, LIMIT).collect().await?.to_bytes();
            Ok::<_, Box<dyn Error + Send + Sync>>((head.status, body))
        };
        let unreachable = |source| ServerError::Unreachable { address: address.clone(), source };
        let answer = timeout(PATIENCE, asked).await.map_err(|elapsed| unreachable(elapsed.into()))?;
        let (status, body) = answer.map_err(unreachable)?;
        if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
            let reason = shown(String::from_utf8_lossy(&body).trim());
            return Err(ServerError::Refused { address: address.clone(), reason });
        }
        if status != StatusCode::OK {
            return Err(strange(format!("it answers {status}")));
        }
        serde_json::from_slice(&body).map_err(|error| strange(error.to_string()))
    }
}
