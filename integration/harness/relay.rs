//! A relay between Envoys and chancery that can hold back what is sent of a type: the control of tests about waiting.
//!
//! Every message passes unchanged, both ways and in both variants of the protocol. Between [`Relay::withhold`] and
//! [`Relay::pass`] responses of a type are swallowed. So the product needs no switch that breaks it.

use super::Outcome;
use bytes::Bytes;
use chancery::snapshot::kind::Kind;
use chancery::xds::decode::BadRequest;
use chancery::xds::request::{Request as Asked, Wire};
use chancery::xds::{delta, sotw};
use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Upstream;
use discovery::aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer};
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use prost::Message;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Sees everything that passes, what is swallowed included.
pub trait Witness: Send + Sync {
    /// A stream opens; returns its number.
    fn opened(&self, wire: Wire) -> usize;
    /// An Envoy asks.
    fn asked(&self, stream: usize, request: Asked);
    /// chancery answers, in one form of the protocol or the other.
    fn sotw(&self, stream: usize, response: &discovery::DiscoveryResponse);
    /// The same, incrementally.
    fn delta(&self, stream: usize, response: &discovery::DeltaDiscoveryResponse);
}

/// Nobody looks.
impl Witness for () {
    fn opened(&self, _: Wire) -> usize {
        0
    }
    fn asked(&self, _: usize, _: Asked) {}
    fn sotw(&self, _: usize, _: &discovery::DiscoveryResponse) {}
    fn delta(&self, _: usize, _: &discovery::DeltaDiscoveryResponse) {}
}

/// A running relay; it ends when dropped.
pub struct Relay {
    /// Where Envoys connect.
    pub address: SocketAddr,
    switch: Arc<Switch>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct Switch {
    withheld: [AtomicBool; Kind::ALL.len()],
    swallowed: AtomicU64,
    first_asked: Mutex<Vec<String>>,
}

impl Relay {
    /// Starts one that listens at `address` and connects to `upstream` for each stream.
    pub async fn start(address: SocketAddr, upstream: SocketAddr) -> Outcome<Self> {
        Self::watched(address, upstream, Arc::new(())).await
    }

    /// The same, with somebody who sees what passes.
    pub async fn watched(address: SocketAddr, upstream: SocketAddr, witness: Arc<dyn Witness>) -> Outcome<Self> {
        Self::entered(TcpListener::bind(address).await?, upstream, witness)
    }

    /// The same, entered wherever that listens.
    pub fn entered(listener: TcpListener, upstream: SocketAddr, witness: Arc<dyn Witness>) -> Outcome<Self> {
        let address = listener.local_addr()?;
        let switch = Arc::new(Switch::default());
        let service = AggregatedDiscoveryServiceServer::new(Forward { upstream, switch: switch.clone(), witness });
        let server = tonic::transport::Server::builder().add_service(service);
        let serving = tokio::spawn(async { drop(server.serve_with_incoming(TcpListenerStream::new(listener)).await) });
        Ok(Self { address, switch, serving })
    }

    /// From now on Envoys get nothing of that kind.
    pub fn withhold(&self, kind: Kind) {
        self.switch.withheld[kind as usize].store(true, Ordering::SeqCst);
    }

    /// Envoys get it again. What was swallowed stays so.
    pub fn pass(&self, kind: Kind) {
        self.switch.withheld[kind as usize].store(false, Ordering::SeqCst);
    }

    /// What each stream asked for first, as type URLs, in the order in which the streams opened.
    pub fn first_asked(&self) -> Vec<String> {
        self.switch.first_asked.lock().expect("nobody panics with the lock").clone()
    }

    /// How many responses were swallowed.
    pub fn swallowed(&self) -> u64 {
        self.switch.swallowed.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Switch {
    fn passes(&self, type_url: &str) -> bool {
        let withheld = |kind: Kind| self.withheld[kind as usize].load(Ordering::SeqCst);
        let swallow = Kind::from_type_url(type_url).is_some_and(withheld);
        self.swallowed.fetch_add(u64::from(swallow), Ordering::SeqCst);
        !swallow
    }
}

struct Forward {
    upstream: SocketAddr,
    switch: Arc<Switch>,
    witness: Arc<dyn Witness>,
}

impl Forward {
    async fn client(&self) -> Result<Upstream<tonic::transport::Channel>, Status> {
        let connected = Upstream::connect(format!("http://{}", self.upstream)).await;
        connected.map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// Reads an encoded request as the server does.
type Read = fn(&Bytes) -> Result<Asked, BadRequest>;

/// The requests of a stream, up to its end or its first error; the type of the first is noted.
fn requests<T: Message + 'static>(
    request: Request<Streaming<T>>,
    read: Read,
    forward: &Forward,
    stream: usize,
) -> impl Stream<Item = T> + Send + 'static {
    let (switch, witness) = (forward.switch.clone(), forward.witness.clone());
    let mut first = true;
    request.into_inner().map_while(Result::ok).map(move |request| {
        let asked = read(&request.encode_to_vec().into()).expect("it was a request before");
        if std::mem::take(&mut first) {
            switch.first_asked.lock().expect("nobody panics with the lock").push(asked.type_url.clone());
        }
        witness.asked(stream, asked);
        request
    })
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Forward {
    type StreamAggregatedResourcesStream = Messages<discovery::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Messages<discovery::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let mut client = self.client().await?;
        let stream = self.witness.opened(Wire::Sotw);
        let answers =
            client.stream_aggregated_resources(requests(request, sotw::read, self, stream)).await?.into_inner();
        let (switch, witness) = (self.switch.clone(), self.witness.clone());
        let passing = answers.filter(move |answer| {
            answer.as_ref().map_or(true, |answer| {
                witness.sotw(stream, answer);
                switch.passes(&answer.type_url)
            })
        });
        Ok(Response::new(Box::pin(passing)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let mut client = self.client().await?;
        let stream = self.witness.opened(Wire::Delta);
        let answers =
            client.delta_aggregated_resources(requests(request, delta::read, self, stream)).await?.into_inner();
        let (switch, witness) = (self.switch.clone(), self.witness.clone());
        let passing = answers.filter(move |answer| {
            answer.as_ref().map_or(true, |answer| {
                witness.delta(stream, answer);
                switch.passes(&answer.type_url)
            })
        });
        Ok(Response::new(Box::pin(passing)))
    }
}
