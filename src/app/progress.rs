//! How far every policy has come, kept up to date: looked at after something was published or a proxy has said something.

use crate::model::provenance::{ObjectKind, ObjectRef};
use crate::model::reach::Reaches;
use crate::model::world::{Key, State, World};
use crate::snapshot::board::Board;
use crate::xds::registry::Registry;
use crate::xds::registry::reach::Surveyor;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long news are gathered at least.
const GATHER: Duration = Duration::from_millis(50);
/// How many times as long as a look takes nobody looks again.
const REST: u32 = 30;

/// Looks again and again until the publisher is gone.
pub async fn run(
    mut published: watch::Receiver<Option<State>>,
    board: Arc<Board>,
    registry: Registry,
    reaches: watch::Sender<Arc<Reaches>>,
) {
    let mut surveyor = Surveyor::default();
    loop {
        tokio::select! {
            changed = published.changed() => if changed.is_err() { return },
            () = registry.stirred() => {}
        }
        let Some(state) = published.borrow_and_update().clone() else { continue };
        let began = Instant::now();
        let look = || surveyor.survey(&policies(&state.world), &board, &registry);
        let found = tokio::task::block_in_place(look);
        reaches.send_if_modified(|reaches| {
            let news = **reaches != found;
            if news {
                *reaches = Arc::new(found);
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
