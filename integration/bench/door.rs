//! The secure door of the server under test, as `serve` opens it for a folder of manifests.
//!
//! The authority and the key for tokens are made in a directory; tokens and certificates are verified, secrets are signed.

use super::papers::{AUDIENCE, LASTS};
use chancery::app::security::{Office, Options, Told};
use chancery::clock::Clock;
use chancery::model::world::State;
use chancery::xds::server::serve_securely;
use chancery::xds::stream::XdsContext;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Opens it; returns when somebody may come in.
pub async fn open(
    folder: PathBuf,
    states: watch::Receiver<Option<State>>,
    listener: TcpListener,
    context: Arc<XdsContext>,
) {
    let options = Options {
        folder: Some(folder),
        secret: String::new(),
        names: vec!["chancery".into()],
        served: None,
        audience: AUDIENCE.into(),
        reviewed: false,
        bundle: None,
        lasts: LASTS,
        clock: Clock::system(),
    };
    let office = Office::open(options, None, context.metrics.security.clone()).await.expect("an authority");
    let (told, mut tasks) = (Told { states, leadership: watch::channel(Default::default()).1 }, JoinSet::new());
    let (security, _) = office.start(told, &context.readiness, &mut tasks);
    while !context.readiness.is_ready() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::spawn(async move {
        let serving = serve_securely(security, listener, context, CancellationToken::new());
        tokio::select! {
            _ = serving => {}
            _ = tasks.join_next() => {}
        }
    });
}
