//! Takes connections and ends them: the accept loop of the xDS server.
//!
//! What a connection carries is the business of [`connection`](super::connection). When the process runs out of
//! descriptors the loop pauses; connections wait in the system's queue meanwhile.

use super::connection::{self, Arrival, Door, Guarded};
use super::porch::Porch;
use super::rarely::Rarely;
use super::stream::XdsContext;
use super::trust::Security;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long connections may take to close after a shutdown has begun.
const DRAIN: Duration = Duration::from_secs(10);
/// How far apart proxies are told to go elsewhere when the server ends, so that they don't all come there at once, and how
/// long that may take for all of them.
const APART: Duration = Duration::from_millis(10);
const SPREAD: Duration = Duration::from_secs(5);
/// In how many groups they are told: each connection is in one of them, whichever.
const GROUPS: u32 = 50;
/// How long the loop pauses when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(200);

/// Why the server stopped although nobody asked it to.
#[derive(Debug, Error)]
#[error("the xDS server failed: {0}")]
pub struct ServeError(#[from] io::Error);

/// Serves xDS in plain text on `listener`, to whoever comes, until `shutdown`; then every stream is ended with Unavailable
/// and its connection with GOAWAY, one after the other. Returns within ten seconds of a shutdown.
pub async fn serve(
    listener: TcpListener,
    context: Arc<XdsContext>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    serve_through(Door::Open, listener, context, shutdown).await
}

/// As [`serve`], over TLS, and only to who has proven to be somebody.
pub async fn serve_securely(
    security: Security,
    listener: TcpListener,
    context: Arc<XdsContext>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let door = Guarded::new(security, context.options.handshakes);
    serve_through(Door::Guarded(Arc::new(door)), listener, context, shutdown).await
}

async fn serve_through(
    door: Door,
    listener: TcpListener,
    context: Arc<XdsContext>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    // When this future is dropped, or the time to drain is over, connections are dropped with the token.
    let cut = CancellationToken::new();
    let _cut = cut.clone().drop_guard();
    let (connections, groups) = (TaskTracker::new(), Groups::default());
    let hall = Porch::new(context.options.unadmitted);
    let accepting = async {
        loop {
            let waits = hall.place().await;
            let greeted = match &door {
                Door::Open => None,
                Door::Guarded(guarded) => Some(guarded.porch.place().await),
            };
            match accept(&listener, &context).await {
                Ok(Some(socket)) => {
                    // A token of its own: each stream asks it again and again, and would wait for all others.
                    let arrival = Arrival { socket, hall: hall.clone(), waits, greeted };
                    let served = connection::run(arrival, door.clone(), context.clone(), groups.join());
                    connections.spawn(until(cut.clone(), served));
                }
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        }
    };
    tokio::select! {
        failed = accepting => return Ok(failed?),
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    connections.close();
    let ending = async {
        groups.end(connections.len()).await;
        connections.wait().await;
    };
    _ = tokio::time::timeout(DRAIN, ending).await;
    Ok(())
}

/// Connections that are told together to end.
struct Groups([CancellationToken; GROUPS as usize]);

impl Default for Groups {
    fn default() -> Self {
        Self(std::array::from_fn(|_| CancellationToken::new()))
    }
}

impl Groups {
    /// A connection's place in one of them.
    fn join(&self) -> CancellationToken {
        self.0[fastrand::usize(..self.0.len())].child_token()
    }

    /// Ends one after the other, so slowly as so many connections need.
    async fn end(&self, connections: usize) {
        let whole = APART.saturating_mul(u32::try_from(connections).unwrap_or(u32::MAX)).min(SPREAD);
        let mut next = Instant::now();
        for group in &self.0 {
            group.cancel();
            next += whole / GROUPS;
            tokio::time::sleep_until(next).await;
        }
    }
}

/// Serves until it is over, or cut.
async fn until(cut: CancellationToken, served: impl Future<Output = ()>) {
    let cut = pin!(cut.cancelled());
    tokio::select! {
        () = Rarely::new(cut) => {}
        () = served => {}
    }
}

/// The next connection; none when this one came to nothing. An error ends the server.
async fn accept(listener: &TcpListener, context: &XdsContext) -> io::Result<Option<TcpStream>> {
    let error = match listener.accept().await {
        Ok((socket, _)) => return Ok(Some(socket)),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => Ok(None),
        ErrorKind::InvalidInput => Err(error),
        // Out of descriptors or memory: neither comes back by asking again at once.
        _ => {
            if context.metrics.xds.accepting_paused() {
                tracing::warn!(%error, "no connection can be taken; proxies that connect wait");
            }
            tokio::time::sleep(PAUSE).await;
            Ok(None)
        }
    }
}
