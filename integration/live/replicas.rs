//! Two processes on one folder: whatever a hash map's order or a clock says, they send the same bytes and versions, so a
//! proxy that moves from one to the other is sent nothing.

use crate::harness::chancery::Chancery;
use crate::harness::scene::{NAMESPACE, Scene};
use crate::harness::{Failure, Outcome};
use chancery::snapshot::kind::Kind;
use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Client;
use discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as http;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use prost::Message;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// The last byte of the second chancery's address.
const SECOND: u8 = 5;
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The order in which Envoy asks.
const ORDER: [Kind; 4] = [Kind::Cluster, Kind::Endpoint, Kind::Listener, Kind::Route];

/// Answers of one chancery in the order of [`ORDER`].
type Answers<T> = Vec<T>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_moves_is_sent_nothing() -> Outcome<()> {
    let scene = Scene::prepared().await?;
    let log = scene.files.path().join("second.log");
    let second = Chancery::start(&scene.subnet, SECOND, scene.folder.path(), log).await?;
    let one = delta(&scene, scene.chancery.xds, &[]).await?;
    let other = delta(&scene, second.xds, &[]).await?;
    let empty: Vec<&str> = one.iter().filter(|answer| answer.resources.is_empty()).map(|a| &*a.type_url).collect();
    same(&one, &other)?;
    let sent = |answers: Answers<DeltaDiscoveryResponse>| -> usize {
        answers.iter().map(|answer| answer.resources.len() + answer.removed_resources.len()).sum()
    };
    let moved = sent(delta(&scene, second.xds, &one).await?);
    let mut outdated = one.clone();
    outdated[0].resources[0].version = "0".into();
    let control = sent(delta(&scene, second.xds, &outdated).await?);
    if moved > 0 || control == 0 || !empty.is_empty() {
        let text = format!("sent to the one that moved: {moved}, to one that is behind: {control}, never: {empty:?}");
        return Err(Failure::new(text));
    }
    let one = sotw(&scene, scene.chancery.xds, &one).await?;
    same(&one, &sotw(&scene, second.xds, &other).await?)
}

fn same<T: PartialEq + std::fmt::Debug>(one: &Answers<T>, other: &Answers<T>) -> Outcome<()> {
    if one.len() == ORDER.len() && one == other {
        return Ok(());
    }
    Err(Failure::new("two processes say different things").with(&format!("{one:#?}\n{other:#?}")))
}

/// The node of the client's proxy.
pub fn node(scene: &Scene) -> Node {
    let text = |text: String| Value { kind: Some(ValueKind::StringValue(text)) };
    let bind = scene.http().ip().to_string();
    let fields = [("INTERCEPTION_MODE", "NONE".to_owned()), ("OUTBOUND_BIND", bind)];
    let fields = fields.map(|(key, value)| (key.to_owned(), text(value))).into();
    let id = format!("sidecar~{}~client.{NAMESPACE}~{NAMESPACE}.svc.cluster.local", scene.pod(10).ip());
    Node { id, metadata: Some(Struct { fields }), ..Node::default() }
}

/// What an incremental stream of a proxy that holds `held` is told.
async fn delta(
    scene: &Scene,
    address: SocketAddr,
    held: &[DeltaDiscoveryResponse],
) -> Outcome<Answers<DeltaDiscoveryResponse>> {
    let (requests, sent) = mpsc::channel(8);
    let mut client = Client::connect(format!("http://{address}")).await?;
    let first = |kind: Kind, known: &[DeltaDiscoveryResponse]| DeltaDiscoveryRequest {
        node: (kind == Kind::Cluster).then(|| node(scene)),
        type_url: kind.type_url().into(),
        resource_names_subscribe: names(kind, known),
        initial_resource_versions: versions(kind, held).collect(),
        ..Default::default()
    };
    requests.send(first(Kind::Cluster, held)).await?;
    let mut answers = client.delta_aggregated_resources(ReceiverStream::new(sent)).await?.into_inner();
    let mut found = Vec::new();
    for kind in ORDER {
        if kind != Kind::Cluster {
            let known = if held.is_empty() { &found } else { held };
            requests.send(first(kind, known)).await?;
        }
        let ended = || Failure::new("the stream ended");
        let answer: DeltaDiscoveryResponse = timeout(LIMIT, answers.next()).await?.ok_or_else(ended)??;
        let (type_url, response_nonce) = (answer.type_url.clone(), answer.nonce.clone());
        requests.send(DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }).await?;
        found.push(answer);
    }
    // What it has not heard the answer to it will not believe to be held: it hears all of them before it ends the stream.
    drop(requests);
    while timeout(LIMIT, answers.next()).await?.is_some() {}
    Ok(found)
}

/// What a state-of-the-world stream is told that asks for the same names.
async fn sotw(
    scene: &Scene,
    address: SocketAddr,
    known: &[DeltaDiscoveryResponse],
) -> Outcome<Answers<DiscoveryResponse>> {
    let (requests, sent) = mpsc::channel(8);
    let mut client = Client::connect(format!("http://{address}")).await?;
    let first = |kind: Kind| DiscoveryRequest {
        node: (kind == Kind::Cluster).then(|| node(scene)),
        type_url: kind.type_url().into(),
        resource_names: names(kind, known),
        ..Default::default()
    };
    requests.send(first(Kind::Cluster)).await?;
    let mut answers = client.stream_aggregated_resources(ReceiverStream::new(sent)).await?.into_inner();
    let mut found = Vec::new();
    for kind in ORDER {
        if kind != Kind::Cluster {
            requests.send(first(kind)).await?;
        }
        let ended = || Failure::new("the stream ended");
        found.push(timeout(LIMIT, answers.next()).await?.ok_or_else(ended)??);
    }
    Ok(found)
}

/// What a proxy asks for by name, knowing its clusters and listeners; nothing stands for everything.
fn names(kind: Kind, known: &[DeltaDiscoveryResponse]) -> Vec<String> {
    let of =
        |kind: Kind| known.iter().filter(move |answer| answer.type_url == kind.type_url()).flat_map(|a| &a.resources);
    match kind {
        Kind::Endpoint => of(Kind::Cluster)
            .map(|resource| resource.name.clone())
            .filter(|name| name.starts_with("outbound|"))
            .collect(),
        Kind::Route => of(Kind::Listener).filter_map(|resource| routes(&resource.resource.as_ref()?.value)).collect(),
        _ => Vec::new(),
    }
}

/// The route configuration that a listener names.
fn routes(listener: &[u8]) -> Option<String> {
    let listener = Listener::decode(listener).ok()?;
    let filter = listener.filter_chains.into_iter().flat_map(|chain| chain.filters).next_back()?;
    let ConfigType::TypedConfig(config) = filter.config_type? else { return None };
    let manager = http::HttpConnectionManager::decode(&*config.value).ok()?;
    match manager.route_specifier? {
        http::http_connection_manager::RouteSpecifier::Rds(rds) => Some(rds.route_config_name),
        _ => None,
    }
}

/// The versions of what was sent.
fn versions(kind: Kind, held: &[DeltaDiscoveryResponse]) -> impl Iterator<Item = (String, String)> {
    let of = held.iter().filter(move |answer| answer.type_url == kind.type_url()).flat_map(|answer| &answer.resources);
    of.map(|resource| (resource.name.clone(), resource.version.clone()))
}
