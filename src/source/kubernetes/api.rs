//! The requests to the API server: in which version a kind is served, pages of a list, a watch. And how they fail.

use super::kinds::Watched;
use super::raw::{self, PageMeta, Raw};
use crate::source::parse::fields::Field;
use crate::telemetry::logging::{shown, words};
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, Status, WatchEvent};
use kube::{Client, Error};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::timeout;
use tokio_stream::Stream;

/// How many objects a page of a list holds.
const PAGE: u32 = 500;
/// How long an answer to a small question may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a request failed, by what has to be done about it.
#[derive(thiserror::Error, Debug)]
pub enum Failure {
    /// The state that was asked for is not kept any more, or does not exist yet.
    #[error("the API server does not know the state that was asked for: {0}")]
    Expired(String),
    /// It is at an earlier state than one that was known: it was restored from a backup.
    #[error("the API server was restored from a backup: it is at {told}, and {known} was known")]
    Restored {
        /// The state that is known.
        known: String,
        /// The one that is told.
        told: String,
    },
    /// We may not.
    #[error("{0}")]
    Denied(String),
    /// There is no such kind.
    #[error("the API server does not serve it")]
    Missing,
    /// Nothing came for so long.
    #[error("the API server said nothing for {0:?}")]
    Silent(Duration),
    /// It said no for another reason, or could not be reached.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// A word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Failure::Expired(_) => "expired",
            Failure::Restored { .. } => "restored",
            Failure::Denied(_) => "denied",
            Failure::Missing => "missing",
            Failure::Silent(_) => "silent",
            Failure::Other(_) => "failed",
        }
    }

    /// What a status of the API server means.
    pub fn of(status: &Status) -> Self {
        let message = shown(status.message.trim());
        let details = status.details.iter().flat_map(|details| &details.causes);
        let too_large = details.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge");
        match status.code {
            410 => Failure::Expired(message),
            // After a restore from a backup the newest state is older than what we know.
            _ if too_large || message.contains("Too large resource version") => Failure::Expired(message),
            // That we are not known may pass; that we may not is somebody's decision.
            403 => Failure::Denied(message),
            404 => Failure::Missing,
            code => Failure::Other(format!("the API server answers {code}: {message}")),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) => Failure::of(&status),
            // The words of whatever gives credentials may hold them.
            Error::Auth(_) => Failure::Other("the credentials that the kubeconfig names can't be had".to_owned()),
            error => Failure::Other(words(&error)),
        }
    }
}

/// The resources of a version of a group.
#[derive(Deserialize, Debug)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize, Debug)]
struct Resource {
    name: String,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// What is said of the list.
    pub meta: PageMeta,
    text: String,
}

impl Page {
    fn of(text: String) -> Result<Self, Failure> {
        Ok(Self { meta: raw::meta(&text).map_err(unreadable)?, text })
    }

    /// Hands over its objects one after the other: [`raw::items`].
    ///
    /// # Errors
    /// If it can't be read.
    pub fn items(&self, fields: Option<&'static [Field]>, take: impl FnMut(Raw)) -> Result<(), Failure> {
        raw::items(&self.text, fields, take).map_err(unreadable)
    }
}

/// The events of a watch.
pub type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent<Raw>, Error>> + Send>>;

/// The API server, asked for one kind in one version.
#[derive(Clone)]
pub struct Api {
    client: Client,
    kind: &'static Watched,
    version: &'static str,
    only: Only,
}

/// Which objects of a kind are asked for.
#[derive(Clone, Default, Debug)]
pub struct Only {
    /// Those of this namespace; none: of all.
    pub namespace: Option<String>,
    /// The one of this name; none: all.
    pub name: Option<String>,
}

impl Api {
    /// Finds the best version in which a kind is served.
    ///
    /// # Errors
    /// [`Failure::Missing`] if there is none.
    pub async fn discover(client: &Client, kind: &'static Watched, only: &Only) -> Result<Self, Failure> {
        for version in kind.versions {
            let question = http::Request::get(kind.group_path(version)).body(Vec::new());
            let question = question.map_err(|error| Failure::Other(error.to_string()))?;
            match timeout(PATIENCE, ask::<Resources>(client, question)).await {
                Err(_) => return Err(Failure::Silent(PATIENCE)),
                Ok(Ok(answer)) if answer.resources.iter().any(|resource| resource.name == kind.plural) => {
                    return Ok(Self { client: client.clone(), kind, version, only: only.clone() });
                }
                Ok(Ok(_)) => {}
                Ok(Err(Failure::Missing)) => {}
                Ok(Err(other)) => return Err(other),
            }
        }
        Err(Failure::Missing)
    }

    /// The version of the kind that is asked for.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// The next page of a list as it was sent, after what the page before said to go on with.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn page(&self, after: Option<&str>) -> Result<Page, Failure> {
        self.list(ListParams::default().limit(PAGE), after).await
    }

    /// A whole list as one page: long, but of one state, whatever is forgotten meanwhile.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn whole(&self) -> Result<Page, Failure> {
        self.list(ListParams::default(), None).await
    }

    async fn list(&self, mut params: ListParams, after: Option<&str>) -> Result<Page, Failure> {
        params.field_selector = self.selector();
        params.continue_token = after.map(str::to_owned);
        let question = match self.kind.is_metadata_only() {
            true => self.request().list_metadata(&params),
            false => self.request().list(&params),
        };
        let question = question.map_err(|error| Failure::Other(error.to_string()))?;
        // What comes slowly may take its time: the client's own limit is on each read.
        Page::of(self.client.request_text(question).await?)
    }

    /// The newest state there is.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn newest(&self) -> Result<String, Failure> {
        let mut params = ListParams::default().limit(1);
        params.field_selector = self.selector();
        let question = self.request().list_metadata(&params);
        let question = question.map_err(|error| Failure::Other(error.to_string()))?;
        let answer = timeout(PATIENCE, self.client.request_text(question)).await;
        Ok(Page::of(answer.map_err(|_| Failure::Silent(PATIENCE))??)?.meta.resource_version)
    }

    /// What happens after a state, until the API server ends it after so many seconds.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn watch(&self, since: &str, seconds: u32) -> Result<Events, Failure> {
        let mut params = WatchParams::default().timeout(seconds);
        params.field_selector = self.selector();
        let question = match self.kind.is_metadata_only() {
            true => self.request().watch_metadata(&params, since),
            false => self.request().watch(&params, since),
        };
        let question = question.map_err(|error| Failure::Other(error.to_string()))?;
        let events = timeout(PATIENCE, self.client.request_events::<Raw>(question)).await;
        Ok(Box::pin(events.map_err(|_| Failure::Silent(PATIENCE))??))
    }

    fn request(&self) -> Request {
        Request::new(self.kind.path(self.version, self.only.namespace.as_deref()))
    }

    fn selector(&self) -> Option<String> {
        let name = self.only.name.as_ref().map(|name| format!("metadata.name={name}"));
        let all = [Some(self.kind.fields.to_owned()).filter(|fields| !fields.is_empty()), name];
        let selectors: Vec<_> = all.into_iter().flatten().collect();
        (!selectors.is_empty()).then(|| selectors.join(","))
    }
}

/// The client would write what it can't read to the log.
async fn ask<T: DeserializeOwned>(client: &Client, question: http::Request<Vec<u8>>) -> Result<T, Failure> {
    let text = client.request_text(question).await?;
    serde_json::from_str(&text).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::Other(format!("the answer can't be read: {error}"))
}
