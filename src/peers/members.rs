//! Which replicas there are: each keeps a Lease of its own in chancery's namespace, with its address and its certificate.
//!
//! Whoever may write Leases there is a replica; nobody else has that right. A Lease that is not renewed is not believed
//! after a while, by our own clock, and removed after a longer one.

use super::{Options, identity};
use crate::telemetry::logging::chain;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const ADDRESS: &str = "chancery/peer-address";
const CERTIFICATE: &str = "chancery/peer-certificate";
/// How often a Lease is renewed, and the others are looked for.
const RENEWED: Duration = Duration::from_secs(3);
/// How long a Lease is believed that is not renewed.
const BELIEVED: Duration = Duration::from_secs(12);
/// How long it is left where it is.
const LEFT: Duration = Duration::from_secs(120);

/// Another replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Where it is reached.
    pub address: SocketAddr,
    /// How it is known.
    pub certificate: String,
}

/// The other replicas, as far as they are known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Members {
    /// Whether those that there are have been looked for with success, and not too long ago.
    pub known: bool,
    /// By name.
    pub by_name: BTreeMap<String, Member>,
}

/// What a Lease said last, and since when.
struct Seen {
    /// None for one that can't be believed.
    member: Option<Member>,
    renewed: String,
    since: Instant,
}

/// What was found when the Leases could be read last.
#[derive(Default)]
struct Found {
    at: Option<Instant>,
    seen: BTreeMap<String, Seen>,
}

/// Keeps our Lease and looks for those of others, until nobody wants to know.
pub async fn run(client: Client, options: Options, certificate: String, members: watch::Sender<Members>) {
    let namespace = options.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let leases = Leases { api: Api::namespaced(client, &namespace), prefix: format!("{}-peer-", options.installation) };
    let (mut found, mut trouble) = (Found::default(), String::new());
    while !members.is_closed() {
        // Whatever becomes of our own, the others are looked for.
        let renewed = in_time(leases.renew(&options, &certificate)).await;
        let looked = in_time(leases.look(&options.replica, &mut found)).await;
        let words = renewed.and(looked).err().unwrap_or_default();
        if words != trouble {
            match words.as_str() {
                "" => tracing::info!("the Leases of the replicas can be read and written again"),
                words => tracing::warn!("other replicas can't be found: {words}"),
            }
            trouble = words;
        }
        let now = found.members(Instant::now());
        members.send_if_modified(|members| {
            let news = *members != now;
            *members = now;
            news
        });
        sleep(RENEWED).await;
    }
}

/// A connection that died without a word must not keep us from renewing.
async fn in_time(question: impl Future<Output = Result<(), kube::Error>>) -> Result<(), String> {
    match timeout(RENEWED, question).await {
        Ok(result) => result.map_err(|error| chain(&error)),
        Err(_) => Err(format!("the API server said nothing for {RENEWED:?}")),
    }
}

impl Found {
    /// Who is believed to be there. A Lease is too old when it was not renewed for long while we could look: those that were
    /// found last stay while nothing can be read, for they may answer all the same.
    fn members(&self, now: Instant) -> Members {
        let Some(at) = self.at else { return Members::default() };
        let fresh = self.seen.iter().filter(|(_, seen)| at.duration_since(seen.since) <= BELIEVED);
        let by_name = fresh.filter_map(|(name, seen)| Some((name.clone(), seen.member.clone()?))).collect();
        Members { known: now.duration_since(at) <= BELIEVED, by_name }
    }
}

/// The Leases of the replicas of this installation.
struct Leases {
    api: Api<Lease>,
    /// What their names begin with.
    prefix: String,
}

impl Leases {
    async fn renew(&self, options: &Options, certificate: &str) -> Result<(), kube::Error> {
        let name = format!("{}{}", self.prefix, options.replica);
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "annotations": {ADDRESS: options.advertised.to_string(), CERTIFICATE: certificate},
            },
            "spec": {
                "holderIdentity": options.replica,
                "leaseDurationSeconds": BELIEVED.as_secs(),
                "renewTime": format!("{:.6}", jiff::Timestamp::now()),
            },
        });
        self.api.patch(&name, &PatchParams::apply("chancery-peer").force(), &Patch::Apply(lease)).await?;
        Ok(())
    }

    async fn look(&self, own: &str, found: &mut Found) -> Result<(), kube::Error> {
        let leases = self.api.list(&ListParams::default()).await?;
        let (now, mut there, mut old) = (Instant::now(), BTreeMap::new(), Vec::new());
        for lease in leases {
            let Some(name) = lease.metadata.name.as_deref().and_then(|name| name.strip_prefix(&self.prefix)) else {
                continue;
            };
            let (name, renewed) = (name.to_owned(), lease.resource_version().unwrap_or_default());
            let before = found.seen.get(&name).filter(|before| before.renewed == renewed);
            let since = before.map_or(now, |before| before.since);
            if name == own {
                continue;
            }
            there.insert(name, Seen { member: member(&lease), renewed, since });
            if now.duration_since(since) > LEFT {
                old.push(lease);
            }
        }
        *found = Found { at: Some(now), seen: there };
        for lease in old {
            self.remove(&lease).await?;
        }
        Ok(())
    }

    /// Removes a Lease that nobody renews, unless it is another by now.
    async fn remove(&self, lease: &Lease) -> Result<(), kube::Error> {
        let preconditions = Preconditions { resource_version: lease.resource_version(), uid: lease.uid() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api.delete(&lease.name_any(), &params).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            result => result.map(|_| ()),
        }
    }
}

fn member(lease: &Lease) -> Option<Member> {
    let said = |key: &str| lease.annotations().get(key).map(String::as_str);
    let certificate = said(CERTIFICATE).filter(|pem| identity::is_certificate(pem))?.to_owned();
    Some(Member { address: said(ADDRESS)?.parse().ok()?, certificate })
}
