//! What a client wants of one type: a value, changed by requests, that knows the protocol's rules about names.
//!
//! It knows nothing of resources: it says which names a request asks for and which it drops. Equal subscriptions of many
//! clients are stored once.

use super::request::Names;
use super::texts::Texts;
use crate::snapshot::kind::Kind;
use crate::snapshot::names::NameSet;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name that stands for every resource of a type (xDS protocol, "Wildcard subscriptions").
pub const WILDCARD: &str = "*";

/// What a client wants of one type.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    wildcard: bool,
    names: NameSet,
    /// Whether the client has ever named a resource of the type on this stream.
    named: bool,
}

/// What one request changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// Names to be answered whatever the client holds, and whether they were wanted before.
    pub asked: BTreeMap<Arc<str>, bool>,
    /// Names wanted before and no longer.
    pub dropped: Vec<Arc<str>>,
    /// Whether every resource is asked for.
    pub opened: bool,
    /// Whether every resource was wanted and now only the explicit names are.
    pub closed: bool,
}

impl Change {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.dropped.is_empty() && !self.opened && !self.closed
    }
}

impl Subscription {
    /// Every resource is wanted.
    pub fn everything() -> Self {
        Self { wildcard: true, ..Self::default() }
    }

    /// These are wanted, and no others.
    pub fn to(names: NameSet) -> Self {
        Self { wildcard: false, named: !names.is_empty(), names }
    }

    /// Whether the client wants the resource of that name.
    pub fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Whether the client wants every resource.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The names wanted explicitly.
    pub fn names(&self) -> &NameSet {
        &self.names
    }

    /// Whether the client wants nothing.
    pub fn is_empty(&self) -> bool {
        !self.wildcard && self.names.is_empty()
    }

    /// Stores the names once, if they are these.
    pub fn share(&mut self, names: &NameSet) {
        if self.names.sum() == names.sum() {
            self.names = names.clone();
        }
    }

    /// Applies the names of a request. `first`: it is the type's first on this stream. `intern` returns the shared form
    /// of a name.
    pub fn apply(&mut self, kind: Kind, first: bool, names: &Names, intern: impl Fn(&str) -> Arc<str>) -> Change {
        let before = self.wildcard;
        let mut change = match names {
            Names::All(names) => self.replace(kind, names, intern),
            Names::Change { subscribe, unsubscribe, .. } => {
                let mut change = self.subscribe(kind, first, subscribe, intern);
                self.unsubscribe(unsubscribe, &mut change);
                change
            }
        };
        change.opened &= self.wildcard;
        change.closed = before && !self.wildcard;
        change
    }

    /// SotW: the request lists everything wanted from now on.
    fn replace(&mut self, kind: Kind, names: &Texts, intern: impl Fn(&str) -> Arc<str>) -> Change {
        let before = self.wildcard;
        // Most requests only repeat what is wanted, to answer a response.
        if !before && !names.is_empty() && self.names.sum() == names.sum() {
            return Change::default();
        }
        // Without names, clusters and listeners are wanted all, but only until the client has named one on this stream:
        // after that an empty list means nothing ("unsubscribing from the last resource is not a wildcard").
        let legacy = names.is_empty() && !self.named && kind.is_whole_set();
        self.named |= !names.is_empty();
        let mut change = Change::default();
        let mut wanted = NameSet::default();
        for name in names.iter().filter(|name| *name != WILDCARD) {
            match self.names.take(name) {
                Some(known) => _ = wanted.insert(known),
                None if wanted.contains(name) => {}
                None => {
                    let name = intern(name);
                    wanted.insert(name.clone());
                    change.asked.insert(name, before);
                }
            }
        }
        self.wildcard = legacy || names.iter().any(|name| name == WILDCARD);
        change.opened = self.wildcard && !before;
        let left = std::mem::replace(&mut self.names, wanted);
        if !self.wildcard {
            change.dropped.extend(left.iter().cloned());
        }
        change
    }

    /// Delta: names are added. Each is answered, even if subscribed already: the client may have lost it.
    fn subscribe(&mut self, kind: Kind, first: bool, names: &Texts, intern: impl Fn(&str) -> Arc<str>) -> Change {
        let mut change = Change::default();
        let before = self.wildcard;
        // A first request without names wants all clusters or listeners; a later one changes nothing.
        if first && names.is_empty() && kind.is_whole_set() {
            self.wildcard = true;
            change.opened = true;
        }
        for name in names.iter() {
            if name == WILDCARD {
                self.wildcard = true;
                change.opened = true;
                continue;
            }
            let held = before || self.names.contains(name);
            let name = intern(name);
            self.names.insert(name.clone());
            change.asked.entry(name).or_insert(held);
        }
        change
    }

    /// Delta: names are dropped; a name never subscribed to is ignored. One that the wildcard still covers is answered,
    /// because the client forgets it when it unsubscribes (xDS protocol, "Wildcard subscriptions").
    fn unsubscribe(&mut self, names: &Texts, change: &mut Change) {
        if names.iter().any(|name| name == WILDCARD) {
            self.wildcard = false;
        }
        for name in names.iter() {
            let Some(name) = self.names.take(name) else { continue };
            let held = change.asked.remove(&name).unwrap_or(true);
            if self.wildcard {
                change.asked.insert(name, held);
            } else if held {
                change.dropped.push(name);
            }
        }
    }
}
