//! A source that follows an API server, and nothing else around it.

use chancery::model::world::Batch;
use chancery::source::kubernetes::access::Access;
use chancery::source::kubernetes::kinds::Watched;
use chancery::source::kubernetes::{self, Sinks};
use chancery::telemetry::Metrics;
use kube::Client;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A source whose own namespace is that, and what it tells.
pub fn follow(
    client: Client,
    namespace: &str,
    kinds: Vec<&'static Watched>,
) -> (JoinHandle<()>, mpsc::Receiver<Batch>) {
    let (batches, received) = mpsc::channel(64);
    let sinks = Sinks {
        batches,
        reports: watch::Sender::new(Arc::default()),
        inventory: watch::Sender::default(),
        kinds: watch::Sender::default(),
        metrics: Metrics::new().kubernetes,
        again: watch::Sender::new(0),
    };
    let options = kubernetes::Options {
        access: Access::default(),
        namespace: Some(namespace.to_owned()),
        kinds,
        mesh_config_map: "chancery".to_owned(),
        watch_seconds: 60,
    };
    (tokio::spawn(kubernetes::run(client, options, sinks)), received)
}
