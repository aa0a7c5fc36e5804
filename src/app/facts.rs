//! Puts together what statuses are made of, whenever any of it changes. Nothing is told before the World was loaded: what is
//! not known yet must not be said of objects.

use crate::model::problem::Problem;
use crate::model::reach::Standing;
use crate::model::world::State;
use crate::source::kubernetes::inventory::Inventory;
use crate::source::report::Report;
use crate::status::clerk::Facts;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long after the World was loaded proxies may take to come back before anything is said of them.
const COMING: Duration = Duration::from_secs(2);
/// How far two compositions are apart.
const APART: Duration = Duration::from_millis(100);

/// Where it all comes from.
pub struct Sources {
    /// The objects.
    pub inventory: watch::Receiver<Inventory>,
    /// What the source says of them.
    pub reports: watch::Receiver<Arc<Report>>,
    /// What translation says of them.
    pub problems: watch::Receiver<Arc<BTreeSet<Problem>>>,
    /// How proxies take them.
    pub standing: watch::Receiver<Arc<Standing>>,
    /// The World.
    pub states: watch::Receiver<Option<State>>,
}

/// Tells until nobody listens or the sources are gone.
pub async fn run(mut sources: Sources, facts: watch::Sender<Facts>) {
    if sources.states.wait_for(Option::is_some).await.is_err() {
        return;
    }
    sleep(COMING).await;
    loop {
        facts.send_replace(sources.compose());
        sleep(APART).await;
        tokio::select! {
            Ok(()) = sources.inventory.changed() => {}
            Ok(()) = sources.reports.changed() => {}
            Ok(()) = sources.problems.changed() => {}
            Ok(()) = sources.standing.changed() => {}
            () = facts.closed() => return,
        }
    }
}

impl Sources {
    fn compose(&mut self) -> Facts {
        let inventory = self.inventory.borrow_and_update().clone();
        let findings = self.reports.borrow_and_update().findings();
        let problems = self.problems.borrow_and_update().clone();
        let standing = self.standing.borrow_and_update().clone();
        let told = Facts::gather(&findings, &[&*problems, &standing.rejections]);
        Facts { inventory, told, standing, coming: false }
    }
}
