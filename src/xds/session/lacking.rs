//! What a client has yet to accept of what the newest snapshot says, told by the objects that shaped it: what is in effect
//! where. A listener is in effect when the routes and secrets it names are accepted too.
//!
//! Asked from outside, now and then. It costs what is in transition, and nothing while nothing has happened on the stream
//! since it was asked last.

use super::Session;
use crate::model::provenance::{ObjectKey, ObjectRef};
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Resource};
use crate::snapshot::set::{Layer, Snapshot};
use crate::snapshot::sources::differences;
use crate::xds::quarantine::Before;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

/// What a client lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lacking {
    /// All of it, as far as is known.
    Everything,
    /// What these policies say, or a part of it.
    These(Arc<BTreeSet<ObjectKey>>),
}

/// What was found last, and of what.
#[derive(Debug, Default)]
pub(super) struct Memo {
    found: Option<([Weak<Layer>; 2], Lacking)>,
    /// Whether no listener lacks what it names, and none was sent since that was found.
    listeners_live: bool,
}

impl Memo {
    /// Something happened on the stream.
    pub(super) fn forget(&mut self) {
        self.found = None;
    }

    /// Something of a kind was sent.
    pub(super) fn on_sent(&mut self, kind: Kind) {
        self.found = None;
        self.listeners_live &= kind != Kind::Listener;
    }

    fn get(&self, newest: &Snapshot) -> Option<&Lacking> {
        let (layers, lacking) = self.found.as_ref()?;
        let same =
            layers.iter().zip([&newest.outbound, &newest.inbound]).all(|(old, new)| old.as_ptr() == Arc::as_ptr(new));
        same.then_some(lacking)
    }
}

/// Names of one kind about which the client may hold something else than the newest snapshot says.
struct Open {
    names: BTreeSet<Arc<str>>,
    unanswered: BTreeSet<Arc<str>>,
}

impl Session {
    /// What the client has yet to accept of a snapshot, which is the one it was last told of or a newer one.
    pub fn lacking(&mut self, newest: &Snapshot) -> Lacking {
        if let Some(lacking) = self.lacking.get(newest) {
            return lacking.clone();
        }
        let mut objects = BTreeSet::new();
        let lacking = match self.find_lacking(newest, &mut objects) {
            Some(()) => Lacking::These(Arc::new(objects)),
            None => Lacking::Everything,
        };
        let layers = [Arc::downgrade(&newest.outbound), Arc::downgrade(&newest.inbound)];
        self.lacking.found = Some((layers, lacking.clone()));
        lacking
    }

    /// Finds it; none: everything.
    fn find_lacking(&mut self, newest: &Snapshot, objects: &mut BTreeSet<ObjectKey>) -> Option<()> {
        let asked = [Kind::Cluster, Kind::Listener].into_iter().all(|kind| self.track(kind).is_asked());
        (self.ready && asked).then_some(())?;
        let mut listeners = BTreeSet::new();
        for kind in Kind::ALL {
            let open = self.open(kind, newest)?;
            for name in &open.names {
                self.add_differences(kind, name, &open, newest, objects);
            }
            if kind == Kind::Listener {
                listeners = open.names;
            }
        }
        if !listeners.is_empty() || !self.lacking.listeners_live {
            listeners.extend(self.warming(Kind::Listener));
            self.lacking.listeners_live = listeners.is_empty();
        }
        for listener in listeners.iter().filter_map(|name| newest.get(Kind::Listener, name)) {
            self.add_named(listener, newest, objects);
        }
        Some(())
    }

    /// The names of a kind that may differ; none: all may.
    fn open(&self, kind: Kind, newest: &Snapshot) -> Option<Open> {
        let track = self.track(kind);
        let unanswered = self.quarantine.unanswered(kind)?;
        let mut names: BTreeSet<_> = track.pending()?.cloned().collect();
        names.extend(self.view.excepted(kind));
        names.extend(newest.changed_since(self.view.newest(), kind).iter().cloned());
        names.extend(unanswered.iter().cloned());
        names.retain(|name| track.subscription.covers(name));
        Some(Open { names, unanswered })
    }

    fn add_differences(
        &self,
        kind: Kind,
        name: &str,
        open: &Open,
        newest: &Snapshot,
        objects: &mut BTreeSet<ObjectKey>,
    ) {
        let wanted = newest.get(kind, name);
        let track = self.track(kind);
        let held = match (open.unanswered.contains(name), self.quarantine.ground(kind, name)) {
            (true, Some(Before::Form(form))) => Some(form),
            (true, _) => None,
            (false, _) if wanted.is_some_and(|wanted| track.is_claimed(name, wanted.version())) => wanted,
            (false, _) => track.last_told(name, &self.view),
        };
        let parts = differences(held.map(|held| &**held), wanted.map(|wanted| &**wanted));
        let open = || parts.iter().filter(|part| !part.is_same);
        add(objects, open().flat_map(|part| part.after()));
        // What a policy says no more is in effect until it is gone. A cluster that lingers is used by nobody new.
        if matches!(kind, Kind::Listener | Kind::Route) {
            add(objects, open().flat_map(|part| part.before()));
        }
    }

    /// A listener is not in effect before what it names is, and neither is that.
    fn add_named(&self, listener: &Resource, newest: &Snapshot, objects: &mut BTreeSet<ObjectKey>) {
        let awaited = |to: &&Ref| matches!(to.kind, Kind::Route | Kind::Secret) && !self.is_accepted(to);
        for to in listener.refs().filter(awaited) {
            add(objects, listener.sources());
            add(objects, newest.get(to.kind, &to.name).into_iter().flat_map(|named| named.sources()));
        }
    }
}

fn add<'a>(objects: &mut BTreeSet<ObjectKey>, sources: impl Iterator<Item = &'a ObjectRef>) {
    objects.extend(sources.map(|source| &source.key).filter(|key| key.kind.is_policy()).cloned());
}
