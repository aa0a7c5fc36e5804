//! The cluster that tests share: it is there while any of them uses it. A test with a cluster of its own holds it
//! meanwhile, or it would be started anew for each test that runs beside that one.

use crate::harness::Outcome;
use crate::harness::cluster::{Cluster, Definitions, Options};
use std::sync::{Arc, Weak};
use tokio::sync::Mutex;

/// It must not be held in a value that is never dropped: its folder would stay.
static SHARED: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// The cluster, started if nobody uses it now. It has every kind, those of our manifests among them, and the controllers.
pub async fn cluster() -> Outcome<Arc<Cluster>> {
    let mut shared = SHARED.lock().await;
    if let Some(cluster) = shared.upgrade() {
        return Ok(cluster);
    }
    let definitions = [&Definitions::ALL[..], &[Definitions::Operator, Definitions::CertManager]].concat();
    let options = Options { definitions, controllers: true, ..Options::default() };
    let cluster = Arc::new(Cluster::start(options).await?);
    *shared = Arc::downgrade(&cluster);
    Ok(cluster)
}

/// A cluster of a test's own, with the shared one if that runs, for the test to hold.
pub async fn own(options: Options) -> Outcome<(Cluster, Option<Arc<Cluster>>)> {
    let held = SHARED.lock().await.upgrade();
    Ok((Cluster::start(options).await?, held))
}
