//! A crowd of proxies with nothing behind them: each asks as Envoy does, accepts what it is told, comes back when its connection ends, and
//! says then what it holds.

use crate::harness::{Failure, Outcome, deadline};
use chancery::snapshot::kind::Kind;
use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Ads;
use discovery::{DeltaDiscoveryRequest as Asks, DeltaDiscoveryResponse as Told};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// How long a proxy waits until it comes back, at most.
const BACK_OFF: Duration = Duration::from_millis(500);
/// What everybody asks for.
const ASKED: [Kind; 3] = [Kind::Cluster, Kind::Endpoint, Kind::Listener];

/// The crowd; it leaves when dropped.
pub struct Crowd {
    members: Vec<Arc<Mutex<Held>>>,
    _tasks: JoinSet<()>,
}

/// What one of them holds.
#[derive(Default)]
struct Held {
    /// Of which kinds it was told something since it came.
    heard: BTreeSet<Kind>,
    versions: BTreeMap<(Kind, String), String>,
    removed: BTreeSet<String>,
    /// How often it came.
    came: usize,
}

impl Crowd {
    /// So many, who all say that they are that node, and connect there.
    pub fn gather(count: usize, node: &str, address: SocketAddr) -> Self {
        let members: Vec<Arc<Mutex<Held>>> = (0..count).map(|_| Arc::default()).collect();
        let mut tasks = JoinSet::new();
        for held in &members {
            tasks.spawn(comes_back(address, node.to_owned(), held.clone()));
        }
        Self { members, _tasks: tasks }
    }

    /// Waits until each of them has come so often, and heard of everything since.
    pub async fn settled(&self, came: usize, limit: Duration) -> Outcome<()> {
        let is = |held: &Held| held.came >= came && ASKED.iter().all(|kind| held.heard.contains(kind));
        self.all("the crowd has everything", limit, is).await
    }

    /// Waits until each of them holds another version of a cluster than that.
    pub async fn moved(&self, cluster: &str, from: &str, limit: Duration) -> Outcome<()> {
        let key = (Kind::Cluster, cluster.to_owned());
        let is = |held: &Held| held.versions.get(&key).is_some_and(|version| version != from);
        self.all("the crowd has the change", limit, is).await
    }

    /// The version of a cluster that all hold.
    pub fn version(&self, cluster: &str) -> Outcome<String> {
        let key = (Kind::Cluster, cluster.to_owned());
        let versions: BTreeSet<Option<String>> =
            self.members.iter().map(|member| seen(member).versions.get(&key).cloned()).collect();
        match versions.into_iter().collect::<Vec<_>>().as_slice() {
            [Some(version)] => Ok(version.clone()),
            other => Err(Failure::new(format!("{cluster}: {other:?}"))),
        }
    }

    /// What was taken from any of them.
    pub fn removed(&self) -> BTreeSet<String> {
        self.members.iter().flat_map(|member| seen(member).removed.clone()).collect()
    }

    /// Waits until that was taken from each of them.
    pub async fn has_lost(&self, name: &str, limit: Duration) -> Outcome<()> {
        self.all("it is taken from everybody", limit, |held| held.removed.contains(name)).await
    }

    async fn all(&self, what: &str, limit: Duration, is: impl Fn(&Held) -> bool) -> Outcome<()> {
        let left = || self.members.iter().filter(|member| !is(&seen(member))).count();
        let done = deadline::until(what, limit, async || (left() == 0).then_some(())).await;
        done.map_err(|failure| failure.with(&format!("{} of {} have not", left(), self.members.len())))
    }
}

fn seen(member: &Mutex<Held>) -> MutexGuard<'_, Held> {
    member.lock().expect("nobody panics with it")
}

async fn comes_back(address: SocketAddr, node: String, held: Arc<Mutex<Held>>) {
    loop {
        _ = visit(address, &node, &held).await;
        tokio::time::sleep(BACK_OFF.mul_f64(fastrand::f64())).await;
    }
}

/// One stream, until it ends.
async fn visit(address: SocketAddr, node: &str, held: &Mutex<Held>) -> Result<(), Status> {
    let unreachable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let client = Ads::connect(format!("http://{address}")).await.map_err(unreachable)?;
    let (requests, receiver) = mpsc::channel(16);
    let ask = async |asks: Asks| requests.send(asks).await.map_err(|_| Status::cancelled("it is over"));
    ask(Asks { node: Some(stated(node)), ..first(held, Kind::Cluster) }).await?;
    let mut client = client.max_decoding_message_size(64 << 20);
    let mut answers = client.delta_aggregated_resources(ReceiverStream::new(receiver)).await?.into_inner();
    {
        let mut held = seen(held);
        (held.came, held.heard) = (held.came + 1, BTreeSet::new());
    }
    ask(first(held, Kind::Listener)).await?;
    // What is named after clusters that are held is asked for at once, as Envoy does.
    let mut named: BTreeSet<String> = seen(held).names(Kind::Endpoint).collect();
    if !named.is_empty() {
        let resource_names_subscribe = named.iter().cloned().collect();
        ask(Asks { resource_names_subscribe, ..first(held, Kind::Endpoint) }).await?;
    }
    while let Some(told) = answers.message().await? {
        let type_url = told.type_url.clone();
        ask(Asks { type_url, response_nonce: told.nonce.clone(), ..Asks::default() }).await?;
        let new: Vec<String> = seen(held).takes(&told).into_iter().filter(|name| named.insert(name.clone())).collect();
        if !new.is_empty() {
            let type_url = Kind::Endpoint.type_url().to_owned();
            ask(Asks { type_url, resource_names_subscribe: new, ..Asks::default() }).await?;
        }
    }
    Ok(())
}

/// The first question about a kind, with what is held of it.
fn first(held: &Mutex<Held>, kind: Kind) -> Asks {
    let versions = &seen(held).versions;
    let of_kind = versions.iter().filter(|((of, _), _)| *of == kind);
    let initial_resource_versions = of_kind.map(|((_, name), version)| (name.clone(), version.clone())).collect();
    Asks { type_url: kind.type_url().to_owned(), initial_resource_versions, ..Asks::default() }
}

impl Held {
    fn names(&self, kind: Kind) -> impl Iterator<Item = String> {
        self.versions.keys().filter(move |(of, _)| *of == kind).map(|(_, name)| name.clone())
    }

    /// Takes what is told; the clusters among it whose endpoints are to be asked for.
    fn takes(&mut self, told: &Told) -> Vec<String> {
        let Some(kind) = Kind::from_type_url(&told.type_url) else { return Vec::new() };
        self.heard.insert(kind);
        for name in &told.removed_resources {
            self.versions.remove(&(kind, name.clone()));
            self.removed.insert(name.clone());
        }
        for resource in &told.resources {
            self.versions.insert((kind, resource.name.clone()), resource.version.clone());
        }
        let clusters = told.resources.iter().filter(|_| kind == Kind::Cluster);
        let asked = clusters.filter(|resource| {
            let content = resource.resource.as_ref().map(|any| &*any.value).unwrap_or_default();
            let found = Cluster::decode(content).unwrap_or_default().cluster_discovery_type;
            found == Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into()))
        });
        asked.map(|resource| resource.name.clone()).collect()
    }
}

fn stated(id: &str) -> Node {
    let mode = Value { kind: Some(ValueKind::StringValue("NONE".to_owned())) };
    let metadata = Struct { fields: [("INTERCEPTION_MODE".to_owned(), mode)].into() };
    Node { id: id.to_owned(), metadata: Some(metadata), user_agent_name: "envoy".into(), ..Node::default() }
}
