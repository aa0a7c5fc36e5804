//! What is posted for one subject, and who follows it.
//!
//! Streams that want the same are one group. A post wakes the groups that want any of what differs; the others stay as
//! they are, with what they have, which is all the same to them. Each name that differs is looked up in the set of each
//! group, and nobody goes through the names of a stream: sidecars of one subject want the same, so that there is a handful
//! of groups. An index by name would save look-ups where all want something else, and hold every name of every group once
//! more.

use super::Posted;
use crate::snapshot::bell::Bell;
use crate::snapshot::interest::{Interest, Key};
use crate::snapshot::set::Layer;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// What is rung when there is something new for them, by address.
    bells: BTreeMap<usize, Arc<Bell>>,
}

/// A follower's place in its group; given up when dropped.
#[derive(Debug)]
pub(super) struct Followed {
    post: Arc<Post>,
    key: Key,
    bell: Arc<Bell>,
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
        let concerned = |group: &&Group| match (new, &before) {
            (Some(new), Some(before)) => group.interest.meets(new, &before.layer),
            _ => true,
        };
        let bells: Vec<_> = groups.values().filter(concerned).flat_map(|group| group.bells.values()).cloned().collect();
        // Whoever wakes looks here at once.
        drop(state);
        bells.iter().for_each(|bell| bell.ring());
    }

    /// What is posted, if anything.
    pub(super) fn newest(&self) -> Option<Posted> {
        self.state().newest.clone()
    }

    /// Joins those who want the same. The bell rings when there is something new for them, and at once if something else is
    /// posted than was `seen`.
    pub(super) fn follow(
        self: &Arc<Self>,
        interest: &Interest,
        seen: Option<&Arc<Layer>>,
        bell: Arc<Bell>,
    ) -> Followed {
        let key = interest.key();
        let mut state = self.state();
        let empty = || Group { interest: interest.clone(), bells: BTreeMap::new() };
        state.groups.entry(key).or_insert_with(empty).bells.insert(address(&bell), bell.clone());
        if state.newest.as_ref().is_some_and(|posted| posted.is_new_to(seen)) {
            bell.ring();
        }
        drop(state);
        Followed { post: self.clone(), key, bell }
    }
}

fn address(bell: &Arc<Bell>) -> usize {
    Arc::as_ptr(bell).addr()
}

impl Followed {
    /// What is posted, if anything.
    pub(super) fn newest(&self) -> Option<Posted> {
        self.post.newest()
    }

    /// Goes to those who want that. Who is among them stays where it is: a place taken anew there would be given up with the
    /// one before.
    pub(super) fn want(&mut self, interest: &Interest, seen: Option<&Arc<Layer>>) {
        if interest.key() != self.key {
            *self = self.post.follow(interest, seen, self.bell.clone());
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut state = self.post.state();
        let Some(group) = state.groups.get_mut(&self.key) else { return };
        group.bells.remove(&address(&self.bell));
        if group.bells.is_empty() {
            state.groups.remove(&self.key);
        }
    }
}
