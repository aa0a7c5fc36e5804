//! What is posted for one subject, and who follows it: an index from resources to the streams that want them.
//!
//! Streams that want the same are one group. A post wakes the groups that want any of what differs; the others stay as
//! they are, with what they have, which is all the same to them. Nobody looks at the names of a stream.

use super::Posted;
use crate::snapshot::interest::{Interest, Key};
use crate::snapshot::set::Layer;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The newest post for a subject, and its followers.
#[derive(Debug, Default)]
pub(super) struct Post(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    newest: Option<Posted>,
    groups: BTreeMap<Key, Group>,
}

/// Followers that want the same.
#[derive(Debug)]
struct Group {
    interest: Interest,
    /// Marked when there is something new for them.
    bell: watch::Sender<()>,
}

impl Post {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is posted, and wakes whom it concerns.
    pub(super) fn replace(&self, posted: Posted) {
        let mut state = self.state();
        let before = state.newest.replace(posted);
        let State { newest, groups } = &mut *state;
        let new = newest.as_ref().map(|posted| &posted.layer);
        groups.retain(|_, group| group.bell.receiver_count() > 0);
        for group in groups.values() {
            let concerned = match (new, &before) {
                (Some(new), Some(before)) => group.interest.meets(new, &before.layer),
                _ => true,
            };
            if concerned {
                group.bell.send_replace(());
            }
        }
    }

    /// What is posted, if anything.
    pub(super) fn newest(&self) -> Option<Posted> {
        self.state().newest.clone()
    }

    /// Joins those who want the same. The bell has rung if something else is posted than was `seen`.
    pub(super) fn follow(&self, interest: &Interest, seen: Option<&Arc<Layer>>) -> watch::Receiver<()> {
        let mut state = self.state();
        let empty = || Group { interest: interest.clone(), bell: watch::Sender::new(()) };
        let mut bell = state.groups.entry(interest.key()).or_insert_with(empty).bell.subscribe();
        if state.newest.as_ref().is_some_and(|posted| posted.is_new_to(seen)) {
            bell.mark_changed();
        }
        bell
    }
}
