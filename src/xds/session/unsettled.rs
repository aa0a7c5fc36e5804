//! Names of which a client may hold something else than it will state on its next stream.
//!
//! A client states what it acknowledged last. Of a response that it rejected it may have applied a part, which it does not
//! state; what it was sent and has not answered, it may have rejected. Such a name is settled by an ACK of a response that
//! carries it.

use super::Session;
use crate::snapshot::kind::Kind;
use crate::xds::request::Wire;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The unsettled names of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    names: BTreeSet<Arc<str>>,
    /// Whether those that the client states are, too.
    all: bool,
}

/// The unsettled names of every kind.
pub type Unsettled = [Names; Kind::ALL.len()];

impl Names {
    /// Whether everything is settled.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && !self.all
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Keeps that there are some, and not which: all that the client states are.
    pub fn give_up(&mut self) {
        self.all |= !self.names.is_empty();
        self.names.clear();
    }

    /// These are unsettled too.
    pub(in crate::xds) fn extend<'a>(&mut self, names: impl Iterator<Item = &'a Arc<str>>) {
        self.names.extend(names.cloned());
    }

    /// The client has accepted something of these.
    pub(in crate::xds) fn settle<'a>(&mut self, mut names: impl Iterator<Item = &'a Arc<str>>) {
        while !self.names.is_empty()
            && let Some(name) = names.next()
        {
            self.names.remove(name);
        }
    }

    /// Only these may be.
    pub(in crate::xds) fn keep(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.names.retain(|name| is_wanted(name));
    }

    /// The names, those that the client states included if all are.
    pub(in crate::xds) fn found<'s>(&mut self, stated: impl Iterator<Item = &'s str>) -> BTreeSet<Arc<str>> {
        if std::mem::take(&mut self.all) {
            self.names.extend(stated.map(Arc::from));
        }
        self.names.clone()
    }
}

impl Session {
    /// What the client may hold that it will not state on its next stream. In SotW it is sent everything again there.
    pub fn unsettled(&self) -> Unsettled {
        Kind::ALL.map(|kind| {
            let (mut names, track) = (self.quarantine.unsettled_yet(kind), self.track(kind));
            if track.is_asked() {
                names.keep(|name| track.subscription.covers(name));
            }
            names
        })
    }

    /// What it may hold and not state on this one. Called before a snapshot has arrived, or before its first request.
    pub fn recall(&mut self, unsettled: Unsettled) {
        if self.wire == Wire::Delta {
            let kinds = Kind::ALL.into_iter().zip(unsettled);
            kinds.for_each(|(kind, names)| *self.quarantine.unsettled(kind) = names);
        }
    }
}
