//! chancery's own account of itself: who is connected and holds what, what is wrong, and its counters.

use super::client::Client;
use super::deadline;
use super::metrics::Metrics;
use super::{Failure, Outcome};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What every list comes in.
#[derive(Deserialize, Debug)]
pub struct List<T> {
    /// Its entries.
    pub items: Vec<T>,
}

/// One connected proxy, as in `/api/v1/proxies`.
#[derive(Deserialize, Clone, Debug)]
pub struct Proxy {
    /// The node's id.
    pub node: String,
    /// `delta` or `sotw`.
    pub wire: String,
    /// The program and its version, such as `envoy 1.40.0`.
    #[serde(rename = "userAgent")]
    pub user_agent: String,
    /// By the short name of the type: `cds`, `eds`, `lds`, `rds`.
    pub types: BTreeMap<String, Progress>,
}

/// How far a proxy has come with one type.
#[derive(Deserialize, Clone, Default, Debug)]
#[serde(default)]
pub struct Progress {
    /// What it is meant to hold.
    pub desired: Option<Mark>,
    /// What it was last sent.
    pub sent: Option<Mark>,
    /// What it last accepted.
    pub acked: Option<Mark>,
    /// What it last rejected.
    pub nacked: Option<Mark>,
}

/// A version and when it became what it is here.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// The version of the whole set.
    pub version: String,
    /// Microseconds since the epoch.
    #[serde(rename = "atUnixMicros")]
    pub at_unix_micros: u64,
}

/// One entry of `/api/v1/problems`.
#[derive(Deserialize, Clone, Debug)]
pub struct Problem {
    /// The object at fault, such as `VirtualService first-light/echo`; absent where a file can't be read at all.
    #[serde(default)]
    pub object: Option<String>,
    /// How bad it is.
    pub severity: String,
    /// The file it was read from.
    #[serde(default)]
    pub file: Option<String>,
    /// The line in the file.
    #[serde(default)]
    pub line: Option<u64>,
    /// The field of the object.
    #[serde(default)]
    pub field: String,
    /// The reason.
    pub text: String,
    /// What is in effect all the same.
    #[serde(default)]
    pub effect: Option<String>,
}

/// One entry of `/api/v1/kinds`.
#[derive(Deserialize, Clone, Debug)]
pub struct Kind {
    /// The resource's name with its group.
    pub resource: String,
    /// The only namespace in which it is watched.
    #[serde(default)]
    pub within: String,
    /// How it stands with its watch.
    pub state: String,
    /// Why it isn't better.
    #[serde(default)]
    pub reason: String,
    /// How many objects there are.
    pub objects: u64,
}

/// The entry of `/api/v1/status`.
#[derive(Deserialize, Clone, Debug)]
pub struct Status {
    /// Who writes: `leading`, `following` and so on.
    pub state: String,
    /// Our own name.
    #[serde(default)]
    pub identity: String,
    /// The name of who holds the Lease.
    #[serde(default)]
    pub holder: String,
    /// Why the Lease can't be had.
    #[serde(default)]
    pub reason: String,
    /// How many statuses are to be written.
    pub waiting: u64,
    /// Whose status may not be written.
    pub denied: Vec<serde_json::Value>,
}

impl Proxy {
    /// Whether everything sent of a type is accepted and nothing newer is meant.
    pub fn settled(&self, kind: &str) -> bool {
        self.types.get(kind).is_some_and(|progress| {
            let version = |mark: &Option<Mark>| mark.as_ref().map(|mark| mark.version.clone());
            version(&progress.acked).is_some() && version(&progress.acked) == version(&progress.desired)
        })
    }

    fn acked(&self, kind: &str) -> Option<&Mark> {
        self.types.get(kind)?.acked.as_ref()
    }
}

/// Questions to one chancery.
#[derive(Clone)]
pub struct Api {
    /// The admin address.
    pub address: SocketAddr,
    /// What is shown with each question; empty where nobody wants to know who asks.
    pub token: String,
    client: Client,
}

impl Api {
    /// Asks at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, token: String::new(), client: Client::default() }
    }

    /// A list of what a path shows.
    async fn list<T: DeserializeOwned>(&self, path: &str) -> Outcome<Vec<T>> {
        let shown = format!("Bearer {}", self.token);
        let headers = [("authorization", shown.as_str())];
        let answer = self.client.get(self.address, path, &headers[..usize::from(!self.token.is_empty())]).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let failed = |why: String| Failure::new(format!("{}{path}: {why}", self.address)).with(&text);
        if !answer.status.is_success() {
            return Err(failed(answer.status.to_string()));
        }
        Ok(serde_json::from_str::<List<T>>(&text).map_err(|error| failed(error.to_string()))?.items)
    }

    /// Who is connected.
    pub async fn proxies(&self) -> Outcome<Vec<Proxy>> {
        self.list("/api/v1/proxies").await
    }

    /// What is wrong.
    pub async fn problems(&self) -> Outcome<Vec<Problem>> {
        self.list("/api/v1/problems").await
    }

    /// How it stands with the kinds that are watched in a cluster.
    pub async fn kinds(&self) -> Outcome<Vec<Kind>> {
        self.list("/api/v1/kinds").await
    }

    /// How it stands with one of them.
    pub async fn kind(&self, resource: &str) -> Outcome<Kind> {
        let found = self.kinds().await?.into_iter().find(|kind| kind.resource == resource);
        found.ok_or_else(|| Failure::new(format!("{resource} is not watched")))
    }

    /// Who writes status.
    pub async fn status(&self) -> Outcome<Status> {
        let entries: Vec<Status> = self.list("/api/v1/status").await?;
        entries.into_iter().next().ok_or_else(|| Failure::new("no status"))
    }

    /// What `/readyz` says.
    pub async fn readiness(&self) -> Outcome<String> {
        let answer = self.client.get(self.address, "/readyz", &[]).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// A scrape.
    pub async fn metrics(&self) -> Outcome<Metrics> {
        Ok(Metrics::parse(&self.client.text(self.address, "/metrics").await?))
    }

    /// Whether it says it is ready.
    pub async fn is_ready(&self) -> bool {
        self.client.text(self.address, "/readyz").await.is_ok()
    }

    /// Waits until each of `nodes` is connected and has accepted all types there are for it.
    pub async fn settled(&self, nodes: &[&str], limit: Duration) -> Outcome<Vec<Proxy>> {
        let complete = |proxy: &&Proxy| {
            let core = ["cds", "lds"].iter().all(|kind| proxy.settled(kind));
            core && proxy.types.iter().all(|(kind, progress)| progress.desired.is_none() || proxy.settled(kind))
        };
        let wait = deadline::until("every proxy has accepted everything", limit, async || {
            let proxies = self.proxies().await.ok()?;
            let all = nodes.iter().all(|node| proxies.iter().filter(complete).any(|proxy| proxy.node == *node));
            all.then_some(proxies)
        });
        match wait.await {
            Ok(proxies) => Ok(proxies),
            Err(failure) => Err(failure.with(&format!("{:#?}", self.proxies().await))),
        }
    }

    /// The versions of a type that each proxy has accepted, by node.
    pub async fn accepted(&self, kind: &str) -> Outcome<BTreeMap<String, String>> {
        let proxies = self.proxies().await?;
        Ok(proxies.iter().filter_map(|p| Some((p.node.clone(), p.acked(kind)?.version.clone()))).collect())
    }

    /// Waits until every proxy of `before` has accepted another version of a type than then, and nothing newer is
    /// meant; returns when the last of them did.
    pub async fn moved(&self, kind: &str, before: &BTreeMap<String, String>, limit: Duration) -> Outcome<SystemTime> {
        if before.is_empty() {
            return Err(Failure::new("no proxy is connected"));
        }
        let what = format!("every proxy accepts the new {kind}");
        deadline::until(&what, limit, async || {
            let proxies = self.proxies().await.ok()?;
            let mut last = 0;
            for (node, version) in before {
                let proxy = proxies.iter().find(|proxy| proxy.node == *node && proxy.settled(kind))?;
                let mark = proxy.acked(kind).filter(|mark| mark.version != *version)?;
                last = last.max(mark.at_unix_micros);
            }
            Some(UNIX_EPOCH + Duration::from_micros(last))
        })
        .await
    }
}
