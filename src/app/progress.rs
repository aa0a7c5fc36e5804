//! How proxies take their configuration, kept up to date: looked at after something was published or a proxy has said something.
//! What they reject is told at once, whatever a look at everything takes.

use crate::model::provenance::{ObjectKind, ObjectRef};
use crate::model::reach::Standing;
use crate::model::world::{Key, World};
use crate::publish::run::Published;
use crate::snapshot::board::Board;
use crate::xds::registry::Registry;
use crate::xds::registry::reach::Surveyor;
use crate::xds::registry::rejections::Rejections;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

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
    let (mut surveyor, mut told) = (Surveyor::default(), Arc::<Rejections>::default());
    let (mut rests, mut owed) = (Instant::now(), false);
    loop {
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return },
            () = registry.stirred() => {}
            () = tokio::time::sleep_until(rests), if owed => {}
        }
        let Some(Published { state, kept_back }) = published.borrow_and_update().clone() else { continue };
        let rejections = tokio::task::block_in_place(|| registry.rejections());
        if !Arc::ptr_eq(&told, &rejections) {
            tell(&standings, |standing| Standing { rejections: rejections.problems.clone(), ..standing.clone() });
            told = rejections;
        }
        let began = Instant::now();
        owed = began < rests;
        if !owed {
            let (reaches, proxies) = tokio::task::block_in_place(|| {
                let proxies = registry.proxies();
                let mut reaches = surveyor.survey(&policies(&state.world), &board, &proxies);
                reaches.hold_back(&kept_back);
                let nodes: BTreeSet<_> = proxies.iter().map(|proxy| &proxy.node_id).collect();
                (reaches, nodes.len())
            });
            tell(&standings, |standing| Standing { reaches, proxies, ..standing.clone() });
            rests = Instant::now() + began.elapsed() * REST;
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// Says what is known now, if that is anything else than before.
fn tell(standings: &watch::Sender<Arc<Standing>>, found: impl FnOnce(&Standing) -> Standing) {
    standings.send_if_modified(|standing| {
        let found = found(standing);
        let news = **standing != found;
        if news {
            *standing = Arc::new(Standing { revision: found.revision + 1, ..found });
        }
        news
    });
}

fn policies(world: &World) -> Vec<ObjectRef> {
    let kinds: Vec<_> = ObjectKind::ALL.into_iter().filter(|kind| kind.is_policy()).map(Key::Names).collect();
    let keys = kinds.iter().flat_map(|kind| world.found(kind));
    keys.filter_map(|key| Some(world.object(key)?.meta().reference.clone())).collect()
}
