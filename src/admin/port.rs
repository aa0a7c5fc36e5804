//! Takes the connections of the admin port and ends them: so many at once, each for so long.
//!
//! Whoever reaches the port can connect, and a probe has to be answered while others keep connections: who comes when there is
//! no room takes the place of who has been there longest.

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

/// How many connections there may be.
pub const PLACES: usize = 256;
/// How long a connection may take until the headers of its next request are there.
pub const HEADERS: Duration = Duration::from_secs(10);
/// How old a connection may become; one on which something is being answered has a little more.
const AGE: Duration = Duration::from_secs(60);
/// How much more, also when the process ends.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long nothing is taken when there are no descriptors left.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves pages until `shutdown`.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    let (connections, mut places) = (TaskTracker::new(), VecDeque::new());
    let accepting = async {
        loop {
            let (socket, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted => continue,
                    ErrorKind::InvalidInput => break error,
                    // Out of descriptors or memory: neither comes back by asking again at once.
                    _ => {
                        tracing::warn!(%error, "no connection can be taken at the admin port");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let over = place(&mut places);
            let served = run(socket, peer, router.clone(), shutdown.clone());
            connections.spawn(async move {
                // What is over makes room.
                let _over = over.clone().drop_guard();
                tokio::select! {
                    () = over.cancelled() => {}
                    () = served => {}
                }
            });
        }
    };
    tokio::select! {
        error = accepting => return Err(error),
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    connections.close();
    _ = tokio::time::timeout(FAREWELL, connections.wait()).await;
    Ok(())
}

/// A place, which is over when its token is cancelled: by who has it, or for somebody else.
fn place(places: &mut VecDeque<CancellationToken>) -> CancellationToken {
    places.retain(|place| !place.is_cancelled());
    while places.len() >= PLACES {
        places.pop_front().iter().for_each(CancellationToken::cancel);
    }
    let place = CancellationToken::new();
    places.push_back(place.clone());
    place
}

/// Speaks HTTP on one connection until it is over.
async fn run(socket: TcpStream, peer: SocketAddr, router: Router, shutdown: CancellationToken) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let mut connection = pin!(http.serve_connection(TokioIo::new(socket), service));
    tokio::select! {
        // Who leaves, or says nothing that is HTTP, has been told so.
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(AGE) => {}
        () = shutdown.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    _ = tokio::time::timeout(FAREWELL, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_takes_the_place_of_who_was_there_longest() {
        let mut places = VecDeque::new();
        let first: Vec<_> = (0..PLACES).map(|_| place(&mut places)).collect();
        assert!(first.iter().all(|place| !place.is_cancelled()), "there is room");
        first[7].cancel();
        let another = place(&mut places);
        assert!(!first[0].is_cancelled(), "the control: somebody has left");
        let more = place(&mut places);
        assert!(first[0].is_cancelled() && !first[1].is_cancelled());
        assert!(!another.is_cancelled() && !more.is_cancelled());
        assert_eq!(places.len(), PLACES);
    }
}
