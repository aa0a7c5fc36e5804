//! The cluster that tests share: it is there while any of them uses it.

use crate::harness::Outcome;
use crate::harness::cluster::{Cluster, Definitions, Options};
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;

/// The cluster, started if nobody uses it now. It has every kind and the controllers. Nobody may hold it in a value that
/// is never dropped: its folder would stay.
pub async fn cluster() -> Outcome<Arc<Cluster>> {
    static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(cluster) = shared.upgrade() {
        return Ok(cluster);
    }
    let options = Options { definitions: Definitions::ALL.into(), controllers: true, ..Options::default() };
    let cluster = Arc::new(Cluster::start(options).await?);
    *shared = Arc::downgrade(&cluster);
    Ok(cluster)
}
