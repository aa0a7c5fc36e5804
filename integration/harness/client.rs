//! An HTTP client with connections kept alive, the caller's choice of Host, and a time limit on everything.

use super::{Failure, Outcome};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// The limit on one request.
const LIMIT: Duration = Duration::from_secs(5);

/// A client; clones share connections. A request that could not be sent on a connection just closed is sent again, as
/// every HTTP client does; one that was sent is not.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    runtime: Option<Handle>,
}

/// What came back.
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

impl Default for Client {
    fn default() -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http(), runtime: None }
    }
}

impl Client {
    /// A client whose connections belong to where that runtime lives, whoever asks.
    pub fn on(runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..Self::default() }
    }

    /// A client whose connections come from `address`.
    pub fn from(address: IpAddr) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_local_address(Some(address));
        Self { pool: Pool::builder(TokioExecutor::new()).build(connector), runtime: None }
    }

    /// Sends a GET; `headers` may name a `host` other than the address.
    pub async fn get(&self, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Outcome<Answer> {
        let request = Request::get(format!("http://{address}{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Full::default())?).await
    }

    /// Sends a POST without a body that must succeed.
    pub async fn post(&self, address: SocketAddr, path: &str) -> Outcome<()> {
        let request = Request::post(format!("http://{address}{path}")).body(Full::default())?;
        let status = self.send(request).await?.status;
        if status.is_success() { Ok(()) } else { Err(Failure::new(format!("{address}{path}: {status}"))) }
    }

    /// Sends a POST of JSON that must succeed.
    pub async fn post_json(&self, address: SocketAddr, path: &str, body: &serde_json::Value) -> Outcome<Answer> {
        let request = Request::post(format!("http://{address}{path}")).header("content-type", "application/json");
        let answer = self.send(request.body(Full::from(body.to_string()))?).await?;
        let told = || String::from_utf8_lossy(&answer.body).into_owned();
        let refused = || Failure::new(format!("{address}{path}: {}", answer.status)).with(&told());
        if answer.status.is_success() { Ok(answer) } else { Err(refused()) }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Outcome<Answer> {
        let target = request.uri().to_string();
        let pool = self.pool.clone();
        let exchange = async move {
            let (head, body) = pool.request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        let late = |_| Failure::new(format!("no answer of {target} within {LIMIT:?}"));
        match &self.runtime {
            Some(runtime) => runtime.spawn(timeout(LIMIT, exchange)).await?.map_err(late)?,
            None => timeout(LIMIT, exchange).await.map_err(late)?,
        }
    }

    /// Sends a GET that must succeed and returns the body as text.
    pub async fn text(&self, address: SocketAddr, path: &str) -> Outcome<String> {
        let answer = self.get(address, path, &[]).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status.is_success() {
            Ok(text)
        } else {
            Err(Failure::new(format!("{address}{path}: {}", answer.status)).with(&text))
        }
    }

    /// Sends a GET that must succeed and parses the body.
    pub async fn json<T: DeserializeOwned>(&self, address: SocketAddr, path: &str) -> Outcome<T> {
        let text = self.text(address, path).await?;
        serde_json::from_str(&text).map_err(|error| Failure::new(format!("{address}{path}: {error}")).with(&text))
    }
}

/// Sends one line over a TCP connection of its own and returns the line that comes back.
pub async fn line(address: SocketAddr, text: &str) -> Outcome<String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("{text}\n").as_bytes()).await?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).await?;
        Ok(answer.trim_end().to_owned())
    };
    timeout(LIMIT, exchange).await.map_err(|_| Failure::new(format!("no line from {address} within {LIMIT:?}")))?
}
