//! One connection: HTTP/2 with small buffers, a stream for each call of the aggregated discovery service, an age.
//!
//! hyper carries the connection; requests and responses are raw bodies. Nothing is compressed. When a connection is old
//! enough the client is told with GOAWAY, and each stream ends as soon as nothing is in flight on it.

use super::channel::{Incoming, ResponseBody};
use super::limits::Options;
use super::rarely::Rarely;
use super::refusal::Refusal;
use super::request::Wire;
use super::stream::{Ends, Stream, XdsContext};
use http::{HeaderValue, Request, Response, header};
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// The SotW method of `envoy.service.discovery.v3.AggregatedDiscoveryService`.
const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// The Delta method.
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Calls on one connection: Envoy makes one.
const MAX_CALLS: u32 = 100;
/// The headers of one call, in bytes.
const MAX_HEADERS: u32 = 16 * 1024;
/// What a client may send before it is read, in bytes: HTTP/2's own default, and the least a connection can have.
const WINDOW: u32 = 64 * 1024 - 1;
/// What is taken from a stream before the socket has taken it, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// How long the streams of a connection that is too old may take to end.
const FAREWELL: Duration = Duration::from_secs(15);

/// Serves one connection until it ends.
pub(super) async fn run(socket: TcpStream, context: Arc<XdsContext>, shutdown: CancellationToken) {
    let _open = context.metrics.xds.connection_opened();
    // Small writes are whole messages: waiting for more to come would only be late.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let age = lifetime(context.options.max_age);
    let aged = CancellationToken::new();
    let service = AdsService {
        peer: socket.peer_addr().ok(),
        ends: Ends { shutdown: shutdown.clone(), aged: aged.clone() },
        context: context.clone(),
    };
    let connection = http(&context.options).serve_connection(TokioIo::new(socket), service);
    // A connection lives long and there are thousands: what it needs only once in its life is put elsewhere.
    let mut connection = Box::pin(connection);
    let over = pin!(async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = sleep(age) => aged.cancel(),
        }
    });
    tokio::select! {
        _ = connection.as_mut() => return,
        () = Rarely::new(over) => {}
    }
    connection.as_mut().graceful_shutdown();
    _ = tokio::time::timeout(FAREWELL, connection).await;
}

fn http(options: &Options) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_timeout)
        .max_concurrent_streams(MAX_CALLS)
        .max_header_list_size(MAX_HEADERS)
        .initial_connection_window_size(WINDOW)
        .initial_stream_window_size(WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// An age between 90 and 110 % of the given one, so that proxies that came together don't leave together; none for zero.
fn lifetime(age: Duration) -> Option<Duration> {
    // Each new state has keys of its own.
    let chance = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    (!age.is_zero()).then(|| age.mul_f64(0.9 + 0.2 * chance))
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The service of one connection.
struct AdsService {
    context: Arc<XdsContext>,
    peer: Option<SocketAddr>,
    ends: Ends,
}

impl Service<Request<hyper::body::Incoming>> for AdsService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<ResponseBody>, Infallible>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        ready(Ok(match request.uri().path() {
            SOTW => self.open(Wire::Sotw, request),
            DELTA => self.open(Wire::Delta, request),
            _ => Status::new(Code::Unimplemented, "only the aggregated discovery service is served").into_http(),
        }))
    }
}

impl AdsService {
    fn open(&self, wire: Wire, request: Request<hyper::body::Incoming>) -> Response<ResponseBody> {
        if let Some(refusal) = self.refusal() {
            self.context.metrics.xds.refused(refusal.reason());
            return Status::new(refusal.code(), refusal.to_string()).into_http();
        }
        let (sender, body) = ResponseBody::channel();
        let incoming = Incoming::new(wire, request.into_body(), self.context.options.max_request);
        let stream = Stream::new(self.context.clone(), wire, self.peer);
        tokio::spawn(stream.run(incoming, sender, self.ends.clone()));
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.ends.shutdown.is_cancelled() {
            return Some(Refusal::ShuttingDown);
        }
        let pending = self.context.readiness.pending();
        (!pending.is_empty()).then(|| Refusal::NotReady(pending.join(", ")))
    }
}
