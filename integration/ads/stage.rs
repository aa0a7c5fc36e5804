//! A server on a free loopback port, a board posted to by hand, and clients that speak gRPC.

use bytes::Bytes;
use chancery::model::audience::{Audience, Interception, Placement, ProxyFacts, Subject, Workload};
use chancery::model::name::{Name, Namespace};
use chancery::snapshot::board::{Board, Posted};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::Resource;
use chancery::snapshot::set::Layer;
use chancery::telemetry::Metrics;
use chancery::telemetry::readiness::Readiness;
use chancery::xds::admission::Admission;
use chancery::xds::limits::Options;
use chancery::xds::registry::Registry;
use chancery::xds::server::{ServeError, serve};
use chancery::xds::shares::Shares;
use chancery::xds::shelf::Shelf;
use chancery::xds::stream::XdsContext;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc::Status as GrpcStatus;
use http_body_util::{BodyExt, Full};
use rustix::process::{Resource as Limit, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tower_service::Service;

/// Nothing here takes longer, unless it hangs.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a client takes before it is read, in bytes.
const WINDOW: u32 = 64 * 1024;

/// A running server.
pub struct Stage {
    pub context: Arc<XdsContext>,
    pub shutdown: CancellationToken,
    pub address: SocketAddr,
    pub server: JoinHandle<Result<(), ServeError>>,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        Self::serving(context(options)).await
    }

    /// A server on what its streams share.
    pub async fn serving(context: Arc<XdsContext>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, context.clone(), shutdown.clone()));
        Self { context, shutdown, address, server }
    }

    pub fn board(&self) -> &Arc<Board> {
        &self.context.board
    }

    /// Posts an outbound layer of clusters of these names and contents.
    pub fn post(&self, clusters: &[(&str, &[u8])], since: Option<Instant>) {
        let mut layer = Layer::default();
        for (name, content) in clusters {
            layer.insert(Arc::new(Resource::opaque(Kind::Cluster, name, content, Vec::new())));
        }
        let Placement { audience, workload } = placement();
        self.board().post(&Subject::Audience(audience), Posted { layer: Arc::new(layer), since });
        self.board().post(&Subject::Workload(workload), Posted::default());
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        // Envoy's own window is large; a small one shows soonest who does not read.
        let channel = Channel::from_shared(format!("http://{}", self.address)).expect("an address");
        let channel = channel.initial_stream_window_size(Some(WINDOW)).initial_connection_window_size(Some(WINDOW));
        channel.connect().await.expect("a server that listens")
    }

    /// Waits until a proxy has joined the board, and says where it belongs.
    pub async fn place(&self) {
        until("a proxy joins", || self.board().seated() > 0).await;
        self.board().place(&facts(), Some(placement()));
    }

    /// Says of every proxy that joins where it belongs, from now on.
    pub fn place_all(&self) {
        let board = self.board().clone();
        tokio::spawn(async move {
            loop {
                board.joined().await;
                board.news(Instant::now()).joined.iter().for_each(|facts| board.place(facts, Some(placement())));
            }
        });
    }

    pub fn metrics(&self) -> String {
        self.context.metrics.render()
    }
}

/// What every stream shares, with nothing in it.
pub fn context(options: Options) -> Arc<XdsContext> {
    context_with(options, Shelf::default())
}

/// The same with that shelf.
pub fn context_with(options: Options, shelf: Shelf) -> Arc<XdsContext> {
    let metrics = Metrics::new();
    Arc::new(XdsContext {
        board: Arc::default(),
        registry: Registry::default(),
        admission: Admission::new(options.admission, options.turn, metrics.admission.clone()),
        shares: Shares::new(options.max_request),
        metrics,
        readiness: Readiness::default(),
        shelf,
        options,
    })
}

/// The value of a metric without labels, or with those given.
pub fn value(stage: &Stage, name: &str) -> u64 {
    let metrics = stage.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// As many descriptors as this process may have.
pub fn raise_limit() {
    let limit = getrlimit(Limit::Nofile);
    setrlimit(Limit::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("the limit may be raised");
}

/// Waits for something that is seen by looking again.
pub async fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, holds).await;
}

/// The same with another deadline.
pub async fn until_within(limit: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn facts() -> ProxyFacts {
    let interception = Interception::default();
    ProxyFacts::new(Namespace::from("shop"), Name::from("cart-1"), interception)
}

pub fn placement() -> Placement {
    let namespace = Namespace::from("shop");
    Placement { audience: Audience::of_everyone_in(namespace.clone()), workload: Workload::plain(namespace) }
}

/// So many seeds, others each time unless `CHANCERY_SEED` says where they begin.
pub fn seeds(count: u64) -> Range<u64> {
    let first = std::env::var("CHANCERY_SEED").ok().and_then(|text| text.parse().ok());
    let first = first.unwrap_or_else(|| fastrand::u64(..u64::MAX - count));
    println!("CHANCERY_SEED={first}");
    first..first + count
}

/// The node id of the proxy that [`facts`] describes.
pub const NODE_ID: &str = "sidecar~10.0.0.1~cart-1.shop~shop.svc.cluster.local";

/// The node id of another proxy of the same namespace.
pub fn node_id(number: usize) -> String {
    format!("sidecar~10.0.{}.{}~cart-{number}.shop~shop.svc.cluster.local", number / 250, number % 250 + 1)
}

pub fn node(id: &str) -> Node {
    stated(id, &[("INTERCEPTION_MODE", "NONE")])
}

/// A node whose listeners are bound there.
pub fn bound(id: &str, bind: &str) -> Node {
    stated(id, &[("INTERCEPTION_MODE", "NONE"), ("OUTBOUND_BIND", bind)])
}

fn stated(id: &str, metadata: &[(&str, &str)]) -> Node {
    let value = |text: &str| Value { kind: Some(ValueKind::StringValue(text.to_owned())) };
    let fields = metadata.iter().map(|(key, text)| ((*key).to_owned(), value(text))).collect();
    let metadata = Struct { fields };
    Node { id: id.to_owned(), metadata: Some(metadata), user_agent_name: "envoy".into(), ..Node::default() }
}

/// Opens a Delta stream whose body is `frame`; returns how the server ends it.
pub async fn raw(mut channel: Channel, frame: &'static [u8]) -> Status {
    const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let body = Body::new(Full::new(Bytes::from_static(frame)));
    let request = http::Request::post(METHOD).header("content-type", "application/grpc").body(body).expect("a request");
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
    let response = channel.call(request).await.expect("an answer");
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect("an end in time");
    let trailers = body.expect("a whole body").trailers().cloned().unwrap_or_default();
    Status::from_header_map(&trailers).expect("a status")
}

/// A Delta stream.
pub struct Delta {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    /// Opens a stream with a first request for all clusters.
    pub async fn open(stage: &Stage) -> Result<Self, Status> {
        Self::open_as(stage, NODE_ID).await
    }

    /// Opens a stream as a node of that id.
    pub async fn open_as(stage: &Stage, id: &str) -> Result<Self, Status> {
        Self::open_on(stage.channel().await, id).await
    }

    /// Opens a stream on a connection that others may share.
    pub async fn open_on(channel: Channel, id: &str) -> Result<Self, Status> {
        Self::again_on(channel, id, BTreeMap::new()).await
    }

    /// Opens a stream of a client that states the versions it holds.
    pub async fn again_on(channel: Channel, id: &str, held: BTreeMap<String, String>) -> Result<Self, Status> {
        let first = DeltaDiscoveryRequest {
            node: Some(node(id)),
            type_url: Kind::Cluster.type_url().into(),
            initial_resource_versions: held.into_iter().collect(),
            ..Default::default()
        };
        Self::begin(channel, None, first).await
    }

    /// Opens a stream with that first request, and perhaps a token.
    pub async fn begin(channel: Channel, token: Option<&str>, first: DeltaDiscoveryRequest) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(8);
        requests.send(first).await.expect("room for one");
        let mut request = Request::new(ReceiverStream::new(receiver));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().expect("a header");
            request.metadata_mut().insert("authorization", value);
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(64 << 20);
        let responses = client.delta_aggregated_resources(request).await?.into_inner();
        Ok(Self { requests, responses })
    }

    /// Waits until the server ends the stream with OK.
    pub async fn ended(&mut self) {
        let end = tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("an end in time");
        assert_eq!(end.expect("OK"), None);
    }

    pub async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.expect("an open stream");
    }

    pub async fn ack(&self, response: &DeltaDiscoveryResponse) {
        let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
        self.send(DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }).await;
    }

    /// Rejects a response.
    pub async fn nack(&self, response: &DeltaDiscoveryResponse) {
        self.nack_as(response, "no storm so loud").await;
    }

    /// Rejects a response in these words.
    pub async fn nack_as(&self, response: &DeltaDiscoveryResponse, message: &str) {
        let (type_url, response_nonce) = (response.type_url.clone(), response.nonce.clone());
        let error_detail = Some(GrpcStatus { code: 3, message: message.to_owned(), ..Default::default() });
        self.send(DeltaDiscoveryRequest { type_url, response_nonce, error_detail, ..Default::default() }).await;
    }

    pub async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        self.next_within(PATIENCE).await
    }

    pub async fn next_within(&mut self, patience: Duration) -> Result<DeltaDiscoveryResponse, Status> {
        let message = tokio::time::timeout(patience, self.responses.message()).await.expect("an answer in time");
        message.map(|message| message.expect("a stream that ends with a status"))
    }
}

/// A SotW stream.
pub struct Sotw {
    requests: mpsc::Sender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Sotw {
    /// Opens a stream with a first request for all clusters.
    pub async fn open(stage: &Stage) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(8);
        let first = DiscoveryRequest {
            node: Some(node(NODE_ID)),
            type_url: Kind::Cluster.type_url().into(),
            ..Default::default()
        };
        requests.send(first).await.expect("room for one");
        let mut client = AggregatedDiscoveryServiceClient::new(stage.channel().await);
        let responses = client.stream_aggregated_resources(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { requests, responses })
    }

    pub async fn ack(&self, response: &DiscoveryResponse) {
        let request = DiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            version_info: response.version_info.clone(),
            ..Default::default()
        };
        self.requests.send(request).await.expect("an open stream");
    }

    pub async fn next(&mut self) -> Result<DiscoveryResponse, Status> {
        let message = tokio::time::timeout(PATIENCE, self.responses.message()).await.expect("an answer in time");
        message.map(|message| message.expect("a stream that ends with a status"))
    }
}
