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
use tokio::time::sleep;

/// What the names of the Leases begin with.
const PREFIX: &str = "chancery-peer-";
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

/// What a Lease said last, and since when.
struct Seen {
    member: Member,
    renewed: String,
    since: Instant,
}

/// Keeps our Lease and looks for those of others, until nobody wants to know.
pub async fn run(
    client: Client,
    options: Options,
    certificate: String,
    members: watch::Sender<BTreeMap<String, Member>>,
) {
    let namespace = options.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let (mut seen, mut trouble) = (BTreeMap::new(), String::new());
    while !members.is_closed() {
        let result = renew(&leases, &options, &certificate).await;
        let result = match result {
            Ok(()) => look(&leases, &options.replica, &mut seen).await,
            Err(error) => Err(error),
        };
        let words = result.err().map(|error| chain(&error)).unwrap_or_default();
        if words != trouble {
            match words.as_str() {
                "" => tracing::info!("the Leases of the replicas can be read and written again"),
                words => tracing::warn!("other replicas can't be found: {words}"),
            }
            trouble = words;
        }
        // Those that were found stay while nothing can be read: they may answer all the same.
        let known = believed(&seen, Instant::now());
        members.send_if_modified(|members| {
            let news = *members != known;
            *members = known;
            news
        });
        sleep(RENEWED).await;
    }
}

async fn renew(leases: &Api<Lease>, options: &Options, certificate: &str) -> Result<(), kube::Error> {
    let name = format!("{PREFIX}{}", options.replica);
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
    leases.patch(&name, &PatchParams::apply("chancery-peer").force(), &Patch::Apply(lease)).await?;
    Ok(())
}

async fn look(leases: &Api<Lease>, own: &str, seen: &mut BTreeMap<String, Seen>) -> Result<(), kube::Error> {
    let found = leases.list(&ListParams::default()).await?;
    let (now, mut there) = (Instant::now(), BTreeMap::new());
    for lease in found {
        let Some(name) = lease.metadata.name.as_deref().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let (name, renewed) = (name.to_owned(), lease.resource_version().unwrap_or_default());
        let before = seen.remove(&name).filter(|before| before.renewed == renewed);
        let since = before.map_or(now, |before| before.since);
        if now.duration_since(since) > LEFT {
            remove(leases, &lease).await?;
        } else if let Some(member) = member(&lease).filter(|_| name != own) {
            there.insert(name, Seen { member, renewed, since });
        }
    }
    *seen = there;
    Ok(())
}

/// Removes a Lease that nobody renews, unless it is another by now.
async fn remove(leases: &Api<Lease>, lease: &Lease) -> Result<(), kube::Error> {
    let preconditions = Preconditions { resource_version: lease.resource_version(), uid: lease.uid() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match leases.delete(&lease.name_any(), &params).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        result => result.map(|_| ()),
    }
}

fn member(lease: &Lease) -> Option<Member> {
    let said = |key: &str| lease.annotations().get(key).map(String::as_str);
    let certificate = said(CERTIFICATE).filter(|pem| identity::is_certificate(pem))?.to_owned();
    Some(Member { address: said(ADDRESS)?.parse().ok()?, certificate })
}

fn believed(seen: &BTreeMap<String, Seen>, now: Instant) -> BTreeMap<String, Member> {
    let fresh = seen.iter().filter(|(_, seen)| now.duration_since(seen.since) <= BELIEVED);
    fresh.map(|(name, seen)| (name.clone(), seen.member.clone())).collect()
}
