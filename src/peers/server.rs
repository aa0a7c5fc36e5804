//! Tells the other replicas what this one knows: one question, answered when there is something new to say.

use super::identity::Identity;
use super::members::Members;
use super::wire::{self, After};
use crate::model::reach::Standing;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

/// Lists the proxies that are connected here, as the API shows them.
pub type Proxies = Arc<dyn Fn() -> Vec<Value> + Send + Sync>;

/// How many connections there may be at once, but for those from where a replica is; anybody may try to open one.
const MOST: usize = 64;
/// How long a connection may take until it has proved who it is, and then to say a question.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a question waits for something new.
pub const HELD: Duration = Duration::from_secs(10);

/// Answers until the process ends.
pub async fn run(
    listener: TcpListener,
    identity: Arc<Identity>,
    members: watch::Receiver<Members>,
    own: watch::Receiver<Arc<Standing>>,
    proxies: Proxies,
) {
    let router = Router::new().route(wire::PATH, get(standing)).with_state(own);
    let router = router.route(wire::PROXIES, get(async move || Json(proxies())));
    let room = Arc::new(Semaphore::new(MOST));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                // Out of descriptors, perhaps: there will be some again.
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Strangers must not keep replicas out.
        let is_member = members.borrow().by_name.values().any(|member| member.address.ip() == from.ip());
        let permit = room.clone().try_acquire_owned().ok();
        if permit.is_none() && !is_member {
            continue;
        }
        let (router, tls) = (router.clone(), config(&identity, &members));
        tokio::spawn(async move {
            if let Some(tls) = tls {
                serve(stream, tls, router).await;
            }
            drop(permit);
        });
    }
}

/// Who may ask changes with the members.
fn config(identity: &Identity, members: &watch::Receiver<Members>) -> Option<Arc<ServerConfig>> {
    let certificates: Vec<_> = members.borrow().by_name.values().map(|member| member.certificate.clone()).collect();
    if certificates.is_empty() {
        // Nobody is known: nobody gets in.
        return None;
    }
    identity.server(&certificates).inspect_err(|error| tracing::error!("{error}")).ok().map(Arc::new)
}

async fn serve(stream: TcpStream, tls: Arc<ServerConfig>, router: Router) {
    // Who can't prove to be a replica hears nothing.
    let Ok(Ok(stream)) = timeout(PATIENCE, TlsAcceptor::from(tls).accept(stream)).await else { return };
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HELD + PATIENCE);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await {
        tracing::debug!("a replica's connection ended: {error}");
    }
}

async fn standing(
    State(mut own): State<watch::Receiver<Arc<Standing>>>,
    Query(after): Query<After>,
) -> impl IntoResponse {
    // When nothing is new for long, what is known is said again: a sign of life.
    let news = own.wait_for(|standing| after.after != Some(standing.revision));
    _ = timeout(HELD, news).await;
    let standing = own.borrow().clone();
    Json(wire::Standing::from(&*standing))
}
