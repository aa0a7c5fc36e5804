//! What a stream does with a whole roll, where it would otherwise look at each name.

use super::super::first::{First, recognise};
use super::super::view::View;
use super::Track;
use crate::snapshot::resource::Resource;
use crate::snapshot::roll::Roll;
use crate::xds::request::{Names, Wire};
use std::sync::Arc;

impl Track {
    /// Applies a first request that asks for everything on the roll; whether it is one.
    pub(super) fn begin(&mut self, names: &Names, warming: bool, snapshot: &View) -> bool {
        if !self.early.is_empty() || !self.distrusted.is_empty() {
            return false;
        }
        let Some(First { subscription, layer, held }) = recognise(self.kind, names, snapshot) else { return false };
        if held.is_some() && (warming || self.all_early) {
            return false;
        }
        match held {
            Some(all) => self.backlog.hold(all),
            None => {
                self.backlog.await_roll(layer.roll(self.kind));
                snapshot.inbound(self.kind).filter(|_| subscription.is_wildcard()).for_each(|resource| {
                    self.backlog.want(resource.name());
                });
            }
        }
        self.subscription = subscription;
        (self.asked, self.owed) = (true, self.may_be_empty());
        true
    }

    /// The same for every name on a roll of owners.
    pub(in crate::xds::session) fn renew_named_by(&mut self, owners: &Roll, snapshot: &View) {
        if !owners.refers_to(self.kind) {
            return;
        }
        if !self.asked {
            self.all_early = self.wire == Wire::Delta;
            return;
        }
        let (kind, named) = (self.kind, owners.resources().iter().flat_map(|owner| owner.refs()));
        named.filter(|to| to.kind == kind).for_each(|to| self.renew(&to.name, snapshot));
    }

    /// The client that is to be told everything is told it as it is now. Returns what it would have been told.
    pub(super) fn call_again(&mut self, new: &View) -> Option<Arc<Roll>> {
        let last = self.backlog.roll()?.clone();
        let fits = |roll: &Arc<Roll>| self.subscription.is_wildcard() || roll.names().sum() == last.names().sum();
        match new.roll(self.kind).filter(fits) {
            Some(roll) => self.backlog.await_roll(roll),
            None => self.backlog.unroll(!self.subscription.is_wildcard()),
        }
        Some(last)
    }

    /// Everything wanted, and what is gone but not yet taken away: absence from a whole set is a removal. On a roll what
    /// all streams of the audience are told.
    pub(super) fn whole(&self, snapshot: &View) -> (Option<Arc<Roll>>, Vec<Arc<Resource>>) {
        let wildcard = self.subscription.is_wildcard();
        let fits = |roll: &Arc<Roll>| wildcard || roll.names().sum() == self.subscription.names().sum();
        let roll = snapshot.roll(self.kind).filter(fits);
        let mut rest: Vec<_> = match (&roll, wildcard) {
            (Some(_), true) => snapshot.inbound(self.kind).cloned().collect(),
            (Some(_), false) => Vec::new(),
            (None, true) => snapshot.iter(self.kind).cloned().collect(),
            (None, false) => {
                self.subscription.names().iter().filter_map(|name| snapshot.get(self.kind, name)).cloned().collect()
            }
        };
        rest.extend(self.backlog.lingering(snapshot).cloned());
        (roll, rest)
    }
}
