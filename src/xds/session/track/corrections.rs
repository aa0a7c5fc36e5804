//! What a stream learns of what its client holds, other than by sending it something.

use super::super::view::View;
use super::Track;
use crate::snapshot::resource::{Resource, Version};
use crate::xds::quarantine::Returned;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Track {
    /// What the client states of these in its first request does not count: it may hold any form of them.
    pub(in crate::xds::session) fn distrust(&mut self, names: BTreeSet<Arc<str>>) {
        self.distrusted = names;
    }

    /// Takes what its first request states of them for nothing.
    pub(super) fn disbelieve(&mut self) {
        for name in std::mem::take(&mut self.distrusted).into_iter().filter(|name| self.subscription.covers(name)) {
            if !self.backlog.distrust(name.clone()) {
                self.doubtful.insert(name);
            }
        }
    }

    /// The client may hold the name in a form that isn't known.
    pub(in crate::xds::session) fn doubt(&mut self, name: &Arc<str>) {
        self.backlog.doubt(name);
    }

    /// The name goes again, if it is wanted.
    pub(in crate::xds::session) fn repeat(&mut self, name: &Arc<str>, snapshot: &View) {
        if self.subscription.covers(name) {
            self.backlog.force(name, true, snapshot);
        }
    }

    /// The client has rejected what it was told of these last: they go again, or it holds what it held before.
    pub(in crate::xds::session) fn take_back(&mut self, returned: &[Returned], snapshot: &View) {
        for returned in returned.iter().filter(|returned| self.subscription.covers(returned.sent.name())) {
            let name = returned.sent.name();
            let last = self.backlog.last_told(name, snapshot).map(|told| told.version());
            // What was said meanwhile is answered for itself.
            if last != Some(returned.sent.version()) {
                continue;
            }
            self.backlog.take_back(returned, snapshot);
            if returned.owed {
                self.backlog.await_again(name, snapshot);
            }
        }
        if let Some((version, _)) = &mut self.sent {
            *version = self.backlog.told();
        }
    }

    /// What the client says to have accepted last is less than it was sent: what it holds.
    pub(in crate::xds::session) fn has_not_accepted(&mut self) {
        if let Some((version, _)) = &mut self.acked {
            *version = self.backlog.told();
        }
    }

    /// The client turns out to hold these, which it had rejected.
    pub(in crate::xds::session) fn hold(&mut self, found: &[Arc<Resource>], snapshot: &View) {
        let wanted = found.iter().filter(|form| self.subscription.covers(form.name()));
        wanted.for_each(|form| self.backlog.found(form, snapshot));
    }

    /// What the client holds has another version although nothing was sent: it wants less, or stated what it holds.
    pub(super) fn restate(&mut self, before: Version) {
        let after = self.backlog.told();
        let sent = self.sent.as_mut().map(|(version, _)| version);
        let acked = self.acked.as_mut().map(|(version, _)| version);
        let nacked = self.nacked.as_mut().map(|rejection| &mut rejection.version);
        let outstanding = self.outstanding.as_mut().map(|outstanding| &mut outstanding.version);
        let stated = [sent, acked, nacked, outstanding].into_iter().flatten();
        stated.filter(|version| **version == before).for_each(|version| *version = after);
    }
}
