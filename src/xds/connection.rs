//! One connection: TLS where the door asks for it, HTTP/2 with small buffers, a stream for each call of the aggregated discovery
//! service, an answer for each call for a certificate, an age.
//!
//! hyper carries the connection; requests and responses are raw bodies. Nothing is compressed. When a connection is old
//! enough, or nobody was let in on it in time, the client is told with GOAWAY, and each stream ends as soon as nothing is in
//! flight on it.

use super::certificate::{self, CREATE};
use super::channel::{Incoming, ResponseBody};
use super::chorus::Others;
use super::identity::Credential;
use super::limits::Options;
use super::mistrust::{Origin, Place, Suspect};
use super::porch::{BRIEF, HANDSHAKE, Place as Held, Porch};
use super::rarely::Rarely;
use super::refusal::Refusal;
use super::request::Wire;
use super::socket::Socket;
use super::stream::{Ends, Guest, Stream, XdsContext};
use super::trust::{Answer, Distrusted, Presented, Security, THROTTLED, Token, Unproven};
use super::waiting::Waiting;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::server::conn::http2;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::sleep_until;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// The SotW method of `envoy.service.discovery.v3.AggregatedDiscoveryService`.
const SOTW: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
/// The Delta method.
const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// Calls on one connection: Envoy makes one, and Istio's agent asks for a certificate on it besides.
const MAX_CALLS: u32 = 8;
/// The headers of one call, in bytes.
const MAX_HEADERS: u32 = 16 * 1024;
/// What a client may send before it is read, in bytes: HTTP/2's own default, and the least a connection can have.
const WINDOW: u32 = 64 * 1024 - 1;
/// What is taken from a stream before the socket has taken it, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// How long the streams of a connection that is too old may take to end.
const FAREWELL: Duration = Duration::from_secs(15);

/// Who is let in.
#[derive(Clone, Debug)]
pub(super) enum Door {
    /// Whoever comes; they prove nothing.
    Open,
    /// Who has proven to be somebody.
    Guarded(Arc<Guarded>),
}

/// A door that lets in who has proven to be somebody.
#[derive(Debug)]
pub(super) struct Guarded {
    security: Security,
    /// Where one is until it has shaken hands.
    pub(super) porch: Porch,
}

impl Guarded {
    /// One with so many places for who has not shaken hands yet.
    pub(super) fn new(security: Security, places: usize) -> Self {
        Self { security, porch: Porch::new(places) }
    }
}

/// A connection that was accepted.
pub(super) struct Arrival {
    pub(super) socket: TcpStream,
    /// Where it is until somebody is let in on it.
    pub(super) hall: Porch,
    /// Its place there.
    pub(super) waits: Held,
    /// Its place on the porch of a guarded door.
    pub(super) greeted: Option<Held>,
}

/// Serves one connection until it ends.
pub(super) async fn run(arrival: Arrival, door: Door, context: Arc<XdsContext>, shutdown: CancellationToken) {
    let Arrival { socket, hall, waits, greeted } = arrival;
    let (_open, accepted) = (context.metrics.xds.connection_opened(), tokio::time::Instant::now());
    let peer = socket.peer_addr().ok();
    let Ok(socket) = Socket::new(socket) else { return };
    let service = |certificate, waiting| AdsService {
        peer,
        door: door.clone(),
        certificate,
        ends: Ends { shutdown: shutdown.clone(), aged: CancellationToken::new() },
        waiting: Arc::new(waiting),
        context: context.clone(),
    };
    match &door {
        Door::Open => serve(socket, service(None, Waiting::new(waits, None)), (accepted, hall)).await,
        Door::Guarded(guarded) => match greet((socket, peer), guarded, &context, &shutdown).await {
            Ok((stream, share)) => {
                drop(greeted);
                let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let certificate = certificate.map(|certificate| certificate.clone().into_owned());
                serve(stream, service(certificate, Waiting::new(waits, share)), (accepted, hall)).await;
            }
            Err(Unfriendly { reason, failure }) => {
                context.metrics.xds.refused(reason);
                let from = peer.map(|peer| peer.ip());
                let heard = context.registry.complaints().handshakes.hear(&failure, from, Instant::now());
                if let Some(Others { times, peers, among, left_out }) = heard {
                    let peer = peer.map(tracing::field::display);
                    tracing::info!(peer, others = times, peers, ?among, left_out, "a TLS handshake failed: {failure}");
                }
            }
        },
    }
}

/// Why TLS is not spoken with somebody: in a word, of those for metrics, and in words.
struct Unfriendly {
    reason: &'static str,
    failure: String,
}

impl From<String> for Unfriendly {
    fn from(failure: String) -> Self {
        Self { reason: "handshake", failure }
    }
}

/// Speaks TLS with who has connected; who comes from where much led nowhere has a place of those that are for such. What goes wrong is held against where it comes from, unless nothing was said: so those
/// look who want to know whether somebody listens.
async fn greet(
    (socket, peer): (Socket, Option<SocketAddr>),
    Guarded { security, porch, .. }: &Guarded,
    context: &XdsContext,
    shutdown: &CancellationToken,
) -> Result<(TlsStream<Socket>, Option<Held>), Unfriendly> {
    let _begun = context.metrics.xds.handshake_begun();
    let tls = security.tls.borrow().clone().ok_or_else(|| "the server has no certificate yet".to_owned())?;
    let origin = strangers(security, peer);
    let mistrusted = origin.is_some_and(Origin::is_mistrusted);
    let place = mistrusted.then(|| porch.suspect());
    if let Some(None) = place {
        let failure = "too many that come from there have not got further".to_owned();
        return Err(Unfriendly { reason: THROTTLED, failure });
    }
    let (failure, said) = tokio::select! {
        greeted = TlsAcceptor::from(tls).accept(socket) => match greeted {
            Ok(stream) => return Ok((stream, place.flatten())),
            Err(error) => (error.to_string(), error.kind() == ErrorKind::InvalidData),
        },
        had = porch.patience(tokio::time::Instant::now(), HANDSHAKE, || mistrusted) => {
            (format!("it took longer than {} s", had.as_secs()), true)
        }
        () = shutdown.cancelled() => ("the server is shutting down".to_owned(), false),
    };
    origin.filter(|_| said).into_iter().for_each(Origin::note);
    Err(failure.into())
}

/// Those who shake hands where a connection comes from.
fn strangers(security: &Security, peer: Option<SocketAddr>) -> Option<Origin<'_>> {
    let suspect = Suspect::Stranger(Place::of(peer?.ip()));
    Some(Origin { mistrust: &security.examiner.mistrust, suspect })
}

/// Speaks HTTP/2 until the connection ends, which was accepted then, and has a place in that hall.
async fn serve<S>(socket: S, service: AdsService, (accepted, hall): (tokio::time::Instant, Porch))
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (options, ends, waiting) = (service.context.options, service.ends.clone(), service.waiting.clone());
    let (context, door, peer) = (service.context.clone(), service.door.clone(), service.peer);
    let connection = http(&options).serve_connection(TokioIo::new(socket), service);
    // A connection lives long and there are thousands: what it needs only once in its life is put elsewhere.
    let mut connection = Box::pin(connection);
    let over = pin!(async {
        tokio::select! {
            () = ends.shutdown.cancelled() => {}
            () = lifetime(accepted, &options, &hall, &waiting) => ends.aged.cancel(),
        }
        if waiting.is_over() || ends.shutdown.is_cancelled() {
            return FAREWELL;
        }
        context.metrics.xds.refused("idle");
        if let (Door::Guarded(guarded), false) = (&door, waiting.was_called()) {
            strangers(&guarded.security, peer).into_iter().for_each(Origin::note);
        }
        if !waiting.was_called() {
            return Duration::ZERO;
        }
        options.admitted_within / 2
    });
    let farewell = tokio::select! {
        ended = connection.as_mut() => {
            if ended.is_err_and(|error| is_forbidden(&error)) {
                context.metrics.xds.refused("protocol");
            }
            return;
        }
        farewell = Rarely::new(over) => farewell,
    };
    connection.as_mut().graceful_shutdown();
    _ = tokio::time::timeout(farewell, connection).await;
}

/// Whether a connection has ended because of what the client sent and HTTP/2 forbids: a flood, headers without end, nonsense.
fn is_forbidden(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| cause.is_library() && cause.reason().is_some_and(|reason| reason != h2::Reason::NO_ERROR))
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

/// Waits until a connection that was accepted then, and has shaken hands now, is too old, or until it is time for somebody to be let
/// in on it and nobody was.
async fn lifetime(accepted: tokio::time::Instant, options: &Options, hall: &Porch, waiting: &Waiting) {
    let age = age(options.max_age);
    let within = age.map_or(options.admitted_within, |age| age.min(options.admitted_within));
    // However long the handshake took, there has to be time to say something.
    let left = within.saturating_sub(accepted.elapsed()).max(BRIEF.min(within));
    hall.patience(tokio::time::Instant::now(), left, || waiting.is_over() || waiting.is_suspect()).await;
    if !waiting.is_over() {
        return;
    }
    match age {
        Some(age) => sleep_until(accepted + age).await,
        None => std::future::pending().await,
    }
}

/// An age between 90 and 110 % of the given one, so that proxies that came together don't leave together; none for zero.
fn age(age: Duration) -> Option<Duration> {
    (!age.is_zero()).then(|| age.mul_f64(0.9 + 0.2 * fastrand::f64()))
}

/// The service of one connection.
#[derive(Clone)]
struct AdsService {
    context: Arc<XdsContext>,
    peer: Option<SocketAddr>,
    door: Door,
    /// What the client has shown when it connected.
    certificate: Option<CertificateDer<'static>>,
    ends: Ends,
    /// Until somebody is let in on the connection.
    waiting: Arc<Waiting>,
}

impl Service<Request<hyper::body::Incoming>> for AdsService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Answer<'static, Result<Response<ResponseBody>, Infallible>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let service = self.clone();
        let path = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
        if [SOTW, DELTA, CREATE].contains(&path) {
            service.waiting.calls();
        }
        Box::pin(async move {
            // The whole of it, as it was sent: nothing is decoded or left out to find a method in it.
            Ok(match request.uri().path_and_query().map_or("", PathAndQuery::as_str) {
                SOTW => service.open(Wire::Sotw, request).await,
                DELTA => service.open(Wire::Delta, request).await,
                CREATE => service.sign(request).await,
                _ => Status::new(
                    Code::Unimplemented,
                    "only the aggregated discovery service and certificates are served",
                )
                .into_http(),
            })
        })
    }
}

impl AdsService {
    async fn open(&self, wire: Wire, request: Request<hyper::body::Incoming>) -> Response<ResponseBody> {
        let welcome = self.welcome(request.headers()).await;
        let shared = welcome.and_then(|guest| Ok((self.context.shares.part(guest.client())?, guest)));
        let (part, guest) = match shared {
            Ok(shared) => shared,
            Err(refusal) => return self.turn_away(&refusal),
        };
        let (sender, body) = ResponseBody::channel();
        let incoming = Incoming::new(wire, request.into_body(), self.context.options.max_request, part.arrival());
        let stream = Stream::new(self.context.clone(), wire, guest, part);
        tokio::spawn(stream.run(incoming, sender, self.ends.clone()));
        answering(body)
    }

    /// Signs a key for who calls.
    async fn sign(&self, request: Request<hyper::body::Incoming>) -> Response<ResponseBody> {
        let Door::Guarded(guarded) = &self.door else {
            return Status::new(Code::Unimplemented, "certificates are signed at the secure address only").into_http();
        };
        let guest = match self.welcome(request.headers()).await {
            Ok(guest) => guest,
            Err(refusal) => return self.turn_away(&refusal),
        };
        let (sender, body) = ResponseBody::channel();
        let (context, signer) = (self.context.clone(), guarded.security.signer.clone());
        tokio::spawn(certificate::answer(context, guest, signer, request.into_body(), sender));
        answering(body)
    }

    /// Who calls, if it may be answered at all. Who has proven nothing is told nothing else.
    async fn welcome(&self, headers: &HeaderMap) -> Result<Guest, Refusal> {
        let guest = self.admit(headers).await?;
        self.waiting.is_done();
        self.refusal().map_or(Ok(guest), Err)
    }

    fn turn_away(&self, refusal: &Refusal) -> Response<ResponseBody> {
        self.context.metrics.xds.refused(refusal.reason());
        Status::new(refusal.code(), refusal.to_string()).into_http()
    }

    /// Who calls.
    async fn admit(&self, headers: &HeaderMap) -> Result<Guest, Refusal> {
        let Door::Guarded(guarded) = &self.door else { return Ok(Guest::stranger(self.peer)) };
        let (security, token) = (&guarded.security, Token::carried(headers));
        let presented =
            Presented { certificate: self.certificate.as_ref(), token: token.as_ref(), ..Presented::default() };
        let proven = security.examiner.examine(presented, self.peer.map(|peer| peer.ip())).await;
        let proven = proven.map_err(|unproven| match unproven {
            Unproven::Throttled => Refusal::Throttled,
            Unproven::Distrusted(distrusted) => self.distrust(distrusted),
        })?;
        let (credential, keyring) = (Credential::Workload(proven.identity), Some(security.keyring.clone()));
        // What comes after is to have begun while this is still good.
        let now = tokio::time::Instant::now();
        let leaves = Some(now + proven.lasts.mul_f64(0.8 + 0.15 * fastrand::f64()));
        let (means, binds, ends) = (Some(proven.means), proven.binds, Some(now + proven.lasts));
        Ok(Guest { peer: self.peer, credential, means, keyring, binds, leaves, ends })
    }

    /// Says who was not believed, and why; where others come with the same, only how many.
    fn distrust(&self, distrusted: Distrusted) -> Refusal {
        let said = distrusted.logged();
        let (from, complaints) = (self.peer.map(|peer| peer.ip()), self.context.registry.complaints());
        let heard = complaints.credentials.hear(&said, from, Instant::now());
        if let Some(Others { times, peers, among, left_out }) = heard {
            let (peer, reason) = (self.peer.map(tracing::field::display), distrusted.reason);
            tracing::warn!(peer, reason, others = times, peers, ?among, left_out, "refused a proxy: {said}");
        }
        Refusal::Distrusted(distrusted)
    }

    fn refusal(&self) -> Option<Refusal> {
        if self.ends.shutdown.is_cancelled() {
            return Some(Refusal::ShuttingDown);
        }
        if self.context.admission.is_shut() {
            return Some(Refusal::Short);
        }
        let pending = self.context.readiness.pending();
        (!pending.is_empty()).then(|| Refusal::NotReady(pending.join(", ")))
    }
}

/// A response that says what the body does.
fn answering(body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
