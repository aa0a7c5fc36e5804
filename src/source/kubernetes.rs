//! A cluster as a source: its API server is asked for every kind of a table, and followed.
//!
//! In reading order: [`access`] says how it is reached; [`kinds`] is the table; `api` the requests; `raw` what is kept of the answers; `watch` the one loop, run
//! once for each kind; [`news`] what it tells; `gather` makes batches of that with the help of `store`, which knows
//! what is there; [`inventory`] is what a status is written on. The API server may be away for as long as it likes: what is known stays in effect.

pub mod access;
pub mod api;
mod gather;
pub mod inventory;
pub mod kinds;
pub mod lookup;
pub mod news;
mod objects;
pub mod proxy;
mod raw;
mod settings;
mod store;
mod tally;
mod trouble;
pub mod watch;

pub use gather::{Sinks, unknown};

use access::{Access, KubernetesError};
use api::Only;
use kinds::{Use, Watched};
use kube::Client;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use watch::{Told, Watch};

/// How many news may wait.
const NEWS: usize = 1024;

/// Which API server, and how to treat it.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to reach it.
    pub access: Access,
    /// Our own namespace; none: that of the service account or of the context.
    pub namespace: Option<String>,
    /// The kinds to watch, and where: [`kinds::within`].
    pub kinds: Vec<&'static Watched>,
    /// The ConfigMap in it with the settings of the mesh.
    pub mesh_config_map: String,
    /// How many seconds a watch lasts before it is opened again; nothing is silent for much longer without being noticed.
    pub watch_seconds: u32,
}

/// Makes a client of the API server to be followed. Asks it nothing.
///
/// # Errors
/// If the kubeconfig, or what it refers to, can't be used.
pub async fn client(options: &Options) -> Result<Client, KubernetesError> {
    let mut config = options.access.config().await?;
    // What fails is tried again here, where it is counted and told.
    config.default_retry = false;
    // A connection that was idle has not been silent.
    config.reset_reader_on_write = true;
    config.read_timeout = Some(Duration::from_secs(u64::from(options.watch_seconds) + 10));
    Client::try_from(config).map_err(|error| api::Failure::from(error).into())
}

/// Watches every kind until nobody listens, or until one can't be watched any more because of a mistake of ours.
pub async fn run(client: Client, options: Options, sinks: Sinks) {
    let (news, received) = mpsc::channel(NEWS);
    let mut watches = JoinSet::new();
    let own = options.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    for kind in options.kinds.iter().copied() {
        let (news, metrics, again) = (news.clone(), sinks.metrics.clone(), sinks.again.subscribe());
        let only = only(kind, &own, &options.mesh_config_map);
        let told = Told { news, metrics, again };
        watches.spawn(Watch::new(client.clone(), kind, only, options.watch_seconds, told).run());
    }
    drop(news);
    tokio::select! {
        // A watch that ended would leave its kind as it was for ever.
        _ = watches.join_next() => {}
        () = gather::run(&options.kinds, received, sinks) => {}
    }
}

/// Which objects of a kind are asked for, in our own namespace those of that name.
fn only(kind: &'static Watched, own: &str, settings: &str) -> Only {
    let within = kind.within.map(str::to_owned);
    match kind.used {
        Use::Settings => Only { namespace: Some(own.to_owned()), name: Some(settings.to_owned()) },
        _ if kind.is_namespaces() => Only { namespace: None, name: within },
        _ => Only { namespace: within, name: None },
    }
}
