//! The gRPC service: takes connections, starts a stream for each call of the aggregated discovery service.
//!
//! tonic carries the connections; responses are raw bodies, because its encoder keeps a buffer as large as the largest
//! message for every stream. Nothing is compressed.

use super::channel::{Incoming, ResponseBody};
use super::refusal::Refusal;
use super::request::Wire;
use super::stream::{Stream, XdsContext};
use http::{HeaderValue, Request, Response, header};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::transport::Server;
use tonic::transport::server::{TcpConnectInfo, TcpIncoming};
use tonic::{Code, Status};
use tower_service::Service;
use tracing::Instrument;

/// The SotW method of `envoy.service.discovery.v3.AggregatedDiscoveryService`.
const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// The Delta method.
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// How often a silent connection is asked whether it is alive, and how long it has to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Calls on one connection: Envoy makes one.
const MAX_CALLS: u32 = 100;
/// The headers of one call, in bytes.
const MAX_HEADERS: u32 = 16 * 1024;
/// How long connections may take to close after a shutdown has begun.
const DRAIN: Duration = Duration::from_secs(10);

/// Why the server stopped although nobody asked it to.
#[derive(Debug, Error)]
#[error("the xDS server failed: {0}")]
pub struct ServeError(#[from] tonic::transport::Error);

/// Serves xDS on `listener` until `shutdown`; then every stream is ended with Unavailable and its connection with GOAWAY.
/// Returns within ten seconds of a shutdown.
pub async fn serve(
    listener: TcpListener,
    context: Arc<XdsContext>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let service = AdsService { context, shutdown: shutdown.clone() };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(MAX_CALLS)
        .http2_max_header_list_size(MAX_HEADERS)
        .serve_with_incoming_shutdown(service, incoming, shutdown.clone().cancelled_owned());
    let too_late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = server => Ok(result?),
        () = too_late => Ok(()),
    }
}

/// The service; one clone a connection.
#[derive(Clone, Debug)]
struct AdsService {
    context: Arc<XdsContext>,
    shutdown: CancellationToken,
}

impl Service<Request<Body>> for AdsService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        ready(Ok(match request.uri().path() {
            SOTW => self.open(Wire::Sotw, request),
            DELTA => self.open(Wire::Delta, request),
            _ => Status::new(Code::Unimplemented, "only the aggregated discovery service is served").into_http(),
        }))
    }
}

impl AdsService {
    fn open(&self, wire: Wire, request: Request<Body>) -> Response<Body> {
        if let Some(refusal) = self.refusal() {
            self.context.metrics.xds.refused(refusal.reason());
            return Status::new(refusal.code(), refusal.to_string()).into_http();
        }
        let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
        let (sender, body) = ResponseBody::channel();
        let incoming = Incoming::new(wire, request.into_body());
        let span = tracing::info_span!("stream", wire = wire.short(), peer = peer.map(tracing::field::display));
        let stream = Stream::new(self.context.clone(), wire, peer);
        tokio::spawn(stream.run(incoming, sender, self.shutdown.clone()).instrument(span));
        let mut response = Response::new(Body::new(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.shutdown.is_cancelled() {
            return Some(Refusal::ShuttingDown);
        }
        let pending = self.context.readiness.pending();
        (!pending.is_empty()).then(|| Refusal::NotReady(pending.join(", ")))
    }
}
