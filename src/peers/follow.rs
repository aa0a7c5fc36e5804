//! Asks one other replica again and again what it knows.

use super::identity::{Identity, server_name};
use super::members::Member;
use super::server::HELD;
use super::wire;
use crate::model::reach::Standing;
use crate::telemetry::logging::chain;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

/// What a replica knows; none when it stops answering.
pub type Heard = (String, Option<Standing>);

/// Why there is no answer.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How long an answer may take longer than it is held back.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long until it is tried again, at first and at most.
const AGAIN: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(3)];
/// How long an answer may be, in bytes.
const LIMIT: usize = 64 << 20;

/// Follows a replica until nobody listens.
pub async fn run(name: String, member: Member, identity: Arc<Identity>, answers: mpsc::Sender<Heard>) {
    let (mut pause, mut trouble) = (AGAIN[0], String::new());
    while !answers.is_closed() {
        let mut heard = false;
        let failure = converse(&name, &member, &identity, &answers, &mut heard).await;
        if heard {
            (pause, trouble) = (AGAIN[0], String::new());
        }
        if answers.send((name.clone(), None)).await.is_err() {
            return;
        }
        if let Err(failure) = failure {
            let words = chain(&*failure);
            if words != trouble {
                tracing::warn!(replica = name, "another replica does not answer: {words}");
                trouble = words;
            }
        }
        sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(AGAIN[1]);
    }
}

async fn converse(
    name: &str,
    member: &Member,
    identity: &Identity,
    answers: &mpsc::Sender<Heard>,
    heard: &mut bool,
) -> Result<(), Failure> {
    let mut connection = JoinSet::new();
    let mut sender = timeout(PATIENCE, connect(member, identity, &mut connection)).await??;
    let mut revision = None;
    loop {
        let after = revision.map_or_else(String::new, |revision| format!("?after={revision}"));
        let path = format!("{}{after}", wire::PATH);
        let standing: Standing = timeout(HELD + PATIENCE, ask::<wire::Standing>(&mut sender, &path)).await??.into();
        revision = Some(standing.revision);
        *heard = true;
        if answers.send((name.to_owned(), Some(standing))).await.is_err() {
            return Ok(());
        }
    }
}

async fn connect(
    member: &Member,
    identity: &Identity,
    connection: &mut JoinSet<()>,
) -> Result<SendRequest<Empty<Bytes>>, Failure> {
    let config = identity.client(&member.certificate)?;
    let stream = TcpStream::connect(member.address).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(server_name(), stream).await?;
    let (sender, served) = http1::handshake(TokioIo::new(stream)).await?;
    connection.spawn(async move { drop(served.await) });
    Ok(sender)
}

/// Asks a replica one question, on a connection for it alone.
///
/// # Errors
/// If it can't be reached, isn't who it should be, or doesn't answer in time.
pub async fn once<T: DeserializeOwned>(member: &Member, identity: &Identity, path: &str) -> Result<T, Failure> {
    let mut connection = JoinSet::new();
    let asked = async { ask(&mut connect(member, identity, &mut connection).await?, path).await };
    timeout(PATIENCE, asked).await?
}

async fn ask<T: DeserializeOwned>(sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> Result<T, Failure> {
    let request = Request::get(path).header("host", "peer").body(Empty::new())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("it answers {}", head.status).into());
    }
    let body = Limited::new(body, LIMIT).collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}
