//! How proxies take their configuration, kept up to date: looked at after something was published or a proxy has said something.

use crate::model::provenance::{ObjectKind, ObjectRef};
use crate::model::reach::Standing;
use crate::model::world::{Key, World};
use crate::publish::run::Published;
use crate::snapshot::board::Board;
use crate::xds::registry::Registry;
use crate::xds::registry::reach::Surveyor;
use crate::xds::registry::rejections;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long news are gathered at least.
const GATHER: Duration = Duration::from_millis(50);
/// How many times as long as a look takes nobody looks again.
const REST: u32 = 30;

/// Looks again and again until the publisher is gone.
pub async fn run(
    mut published: watch::Receiver<Option<Published>>,
    board: Arc<Board>,
    registry: Registry,
    standings: watch::Sender<Arc<Standing>>,
) {
    let mut surveyor = Surveyor::default();
    loop {
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return },
            () = registry.stirred() => {}
        }
        let Some(Published { state, kept_back }) = published.borrow_and_update().clone() else { continue };
        let began = Instant::now();
        let found = tokio::task::block_in_place(|| {
            let proxies = registry.proxies();
            let mut reaches = surveyor.survey(&policies(&state.world), &board, &proxies);
            reaches.hold_back(&kept_back);
            let nodes: BTreeSet<_> = proxies.iter().map(|proxy| &proxy.node_id).collect();
            Standing { revision: 0, reaches, rejections: rejections::problems(&proxies), proxies: nodes.len() }
        });
        standings.send_if_modified(|standing| {
            let found = Standing { revision: standing.revision, ..found };
            let news = **standing != found;
            if news {
                *standing = Arc::new(Standing { revision: found.revision + 1, ..found });
            }
            news
        });
        tokio::time::sleep(GATHER.max(began.elapsed() * REST)).await;
    }
}

fn policies(world: &World) -> Vec<ObjectRef> {
    let kinds: Vec<_> = ObjectKind::ALL.into_iter().filter(|kind| kind.is_policy()).map(Key::Names).collect();
    let keys = kinds.iter().flat_map(|kind| world.found(kind));
    keys.filter_map(|key| Some(world.object(key)?.meta().reference.clone())).collect()
}
