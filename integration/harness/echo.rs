//! The application: a small echo service that says which version it is, over HTTP/1.1 and over plain TCP.

use super::Outcome;
use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

/// The header that names the version that answered.
pub const VERSION: &str = "x-echo-version";

/// A running echo service; refuses connections once dropped.
pub struct Echo {
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    /// Where it speaks TCP.
    pub tcp: SocketAddr,
    state: Arc<Service>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
    lines: JoinHandle<()>,
}

struct Service {
    version: String,
    failing: AtomicBool,
    held: watch::Sender<bool>,
    requests: AtomicU64,
}

impl Echo {
    /// Starts a version of the service on `ip`; port 0 picks a free one.
    pub async fn start(version: &str, ip: IpAddr, http: u16, tcp: u16) -> Outcome<Self> {
        let state = Arc::new(Service {
            version: version.into(),
            failing: false.into(),
            held: watch::Sender::new(false),
            requests: 0.into(),
        });
        let listener = TcpListener::bind((ip, http)).await?;
        let http = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new().fallback(answer).with_state(state.clone());
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) });
        let serving = tokio::spawn(async { drop(server.await) });
        let listener = TcpListener::bind((ip, tcp)).await?;
        let tcp = listener.local_addr()?;
        let lines = tokio::spawn(accept(listener, state.clone()));
        Ok(Self { http, tcp, state, stop: Some(stop), serving, lines })
    }

    /// How many HTTP requests have reached it.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// From now on answers 503, or no longer does.
    pub fn fail(&self, failing: bool) {
        self.state.failing.store(failing, Ordering::Relaxed);
    }

    /// From now on answers no request until it no longer holds them.
    pub fn hold(&self, held: bool) {
        self.state.held.send_replace(held);
    }

    /// Goes away as a good pod does: takes no new connection, finishes requests, closes.
    pub async fn close(mut self) -> Outcome<()> {
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        (&mut self.serving).await?;
        Ok(())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
        self.lines.abort();
    }
}

async fn answer(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
) -> impl IntoResponse {
    service.requests.fetch_add(1, Ordering::Relaxed);
    service.held.subscribe().wait_for(|held| !held).await.ok();
    let status = if service.failing.load(Ordering::Relaxed) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let host = headers.get("host").map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let body =
        json!({ "version": service.version, "path": uri.path(), "host": host, "peer": peer.ip().to_canonical() });
    (status, [(VERSION, service.version.clone())], format!("{body}\n"))
}

async fn accept(listener: TcpListener, service: Arc<Service>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(lines(stream, service.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Answers every line with the version and the line.
async fn lines(stream: TcpStream, service: Arc<Service>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if write.write_all(format!("{}: {line}\n", service.version).as_bytes()).await.is_err() {
            return;
        }
    }
}
