//! What a stream is to be told: the newest snapshot, but for what the gate keeps back or keeps alive.
//!
//! A view answers as a snapshot does, so that nothing that compares or sends needs to know of the gate. It costs what is
//! in transition; with nothing in transition it is the snapshot.

use crate::snapshot::kind::Kind;
use crate::snapshot::names::NameSet;
use crate::snapshot::resource::Resource;
use crate::snapshot::roll::Roll;
use crate::snapshot::set::{Layer, Snapshot};
use imbl::OrdMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A snapshot with exceptions. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(in crate::xds) struct View {
    snapshot: Snapshot,
    kept: [OrdMap<Arc<str>, Option<Arc<Resource>>>; Kind::ALL.len()],
    gated: bool,
}

impl View {
    /// The snapshot as it is. `gated`: the client learns of what goes away in the order the gate decides.
    pub(in crate::xds) fn new(snapshot: Snapshot, gated: bool) -> Self {
        Self { snapshot, gated, ..Self::default() }
    }

    /// The same with or without a gate.
    pub(in crate::xds) fn set_gated(&mut self, gated: bool) {
        self.gated = gated;
    }

    /// Whether there is a gate.
    pub(in crate::xds) fn is_gated(&self) -> bool {
        self.gated
    }

    /// The snapshot without exceptions.
    pub(in crate::xds) fn newest(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Says something else of a name than the snapshot does; none: there is no such resource.
    pub(in crate::xds) fn keep(&mut self, kind: Kind, name: &Arc<str>, form: Option<Arc<Resource>>) {
        self.kept[kind as usize].insert(name.clone(), form);
    }

    /// The exceptions of a kind.
    pub(in crate::xds) fn kept(&self, kind: Kind) -> impl Iterator<Item = (&Arc<str>, Option<&Arc<Resource>>)> {
        self.kept[kind as usize].iter().map(|(name, form)| (name, form.as_ref()))
    }

    /// The resource of that kind and name.
    pub(in crate::xds) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        match self.kept[kind as usize].get(name) {
            Some(form) => form.as_ref(),
            None => self.snapshot.get(kind, name),
        }
    }

    /// The resources of a kind: those of the snapshot in its order, then those it no longer has.
    pub(in crate::xds) fn iter(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        let kept = &self.kept[kind as usize];
        let current = self.snapshot.iter(kind).filter_map(move |resource| match kept.get(resource.name()) {
            Some(form) => form.as_ref(),
            None => Some(resource),
        });
        let gone = kept.iter().filter(move |(name, _)| self.snapshot.get(kind, name).is_none());
        current.chain(gone.filter_map(|(_, form)| form.as_ref()))
    }

    /// The outbound half, if all streams of the audience are told the same of a kind; none where there are exceptions, or
    /// no resources.
    pub(in crate::xds) fn plain(&self, kind: Kind) -> Option<&Layer> {
        let outbound = &self.snapshot.outbound;
        (self.kept[kind as usize].is_empty() && outbound.len(kind) > 0).then_some(outbound)
    }

    /// The outbound resources of a kind as all streams of the audience are told them; none where that is not the same.
    pub(in crate::xds) fn roll(&self, kind: Kind) -> Option<Arc<Roll>> {
        Some(self.plain(kind)?.roll(kind))
    }

    /// The names of the outbound resources of a kind.
    pub(in crate::xds) fn outbound_names(&self, kind: Kind) -> NameSet {
        self.snapshot.outbound.names(kind)
    }

    /// The inbound resources of a kind; none of them is an exception.
    pub(in crate::xds) fn inbound(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.snapshot.inbound.iter(kind)
    }

    /// The names of a kind whose version differs from that in `old`. Costs what changed and what is in transition.
    pub(in crate::xds) fn changed_since(&self, old: &View, kind: Kind) -> BTreeSet<Arc<str>> {
        let mut names = self.snapshot.changed_since(&old.snapshot, kind);
        let (before, after) = (&old.kept[kind as usize], &self.kept[kind as usize]);
        if before.is_empty() && after.is_empty() {
            return names;
        }
        names.extend(before.keys().chain(after.keys()).cloned());
        let version = |view: &View, name: &str| view.get(kind, name).map(|resource| resource.version());
        names.retain(|name| version(self, name) != version(old, name));
        names
    }

    /// Whether a resource that is gone may go without a word, because Envoy drops it with the listener that named it: an
    /// empty route configuration would answer 404 on connections that are still being drained.
    pub(in crate::xds) fn goes_with_its_owner(&self, kind: Kind, name: &str) -> bool {
        let names = |listener: &Arc<Resource>| listener.refs().any(|to| to.kind == kind && *to.name == *name);
        self.gated && kind == Kind::Route && !self.iter(Kind::Listener).any(names)
    }
}
