//! What a stream is to be told: the newest snapshot, but for what a rejection bars and what the gate keeps back or alive.
//!
//! A view answers as a snapshot does, so that nothing that compares or sends needs to know of either. It costs what is in
//! transition; with nothing in transition it is the snapshot.

use crate::snapshot::kind::Kind;
use crate::snapshot::names::NameSet;
use crate::snapshot::resource::{Ref, Resource, Version};
use crate::snapshot::roll::Roll;
use crate::snapshot::set::{Layer, Names, Snapshot};
use crate::xds::quarantine::barrier::{Barrier, Barriers};
use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is said in place of what the snapshot says, by kind and name; none: there is no such resource.
pub(in crate::xds) type Kept = [OrdMap<Arc<str>, Option<Arc<Resource>>>; Kind::ALL.len()];

/// A snapshot with exceptions. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub(in crate::xds) struct View {
    snapshot: Snapshot,
    barriers: Option<Arc<Barriers>>,
    kept: Kept,
    gated: bool,
}

impl View {
    /// The snapshot but for what is barred. `gated`: the client learns of what goes away in the order the gate decides.
    pub(in crate::xds) fn new(snapshot: Snapshot, barriers: Option<Arc<Barriers>>, gated: bool) -> Self {
        Self { snapshot, barriers, gated, ..Self::default() }
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

    /// The snapshot that a kind is taken from: the newest, unless the kind stands still.
    pub(in crate::xds) fn source(&self, kind: Kind) -> &Snapshot {
        self.barriers.as_ref().and_then(|barriers| barriers.still(kind)).unwrap_or(&self.snapshot)
    }

    fn barrier(&self, kind: Kind, name: &str) -> Option<&Barrier> {
        self.barriers.as_ref()?.get(kind, name)
    }

    /// What the client would be told of a name if there were no gate.
    pub(in crate::xds) fn goal(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        match self.barrier(kind, name) {
            Some(barrier) => barrier.form(),
            None => self.source(kind).get(kind, name),
        }
    }

    /// Whether nothing is to be said of a name although there is such a resource: no form of it is known that the client
    /// accepts.
    pub(in crate::xds) fn is_barred(&self, kind: Kind, name: &str) -> bool {
        self.barrier(kind, name).is_some_and(|barrier| barrier.form().is_none())
    }

    /// Whether a name is to be told of as soon as its kind does not stand still any more.
    pub(in crate::xds) fn is_awaited(&self, kind: Kind, name: &str) -> bool {
        let still = self.barriers.as_ref().and_then(|barriers| barriers.still(kind));
        still.is_some_and(|still| still.get(kind, name).is_none() && self.snapshot.get(kind, name).is_some())
    }

    /// Whether it may be that the client holds a name in a form that isn't known.
    pub(in crate::xds) fn is_untouched(&self, kind: Kind, name: &str) -> bool {
        matches!(self.barrier(kind, name), Some(Barrier::Untouched))
    }

    /// Whether there is such a resource, and the client neither holds it nor is to be told of it now.
    pub(in crate::xds) fn is_withheld(&self, kind: Kind, name: &str) -> bool {
        let exists = || self.snapshot.get(kind, name).is_some() && !self.is_untouched(kind, name);
        self.barriers.is_some() && self.get(kind, name).is_none() && exists()
    }

    /// Says something else of a name than the snapshot does; none: there is no such resource.
    pub(in crate::xds) fn keep(&mut self, kind: Kind, name: &Arc<str>, form: Option<Arc<Resource>>) {
        self.kept[kind as usize].insert(name.clone(), form);
    }

    /// Says all of this and nothing else.
    pub(in crate::xds) fn keep_all(&mut self, kept: &Kept) {
        self.kept.clone_from(kept);
    }

    /// What is said in place of what the snapshot says.
    pub(in crate::xds) fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Whether a name is kept, in the form of that version.
    pub(in crate::xds) fn is_kept_as(&self, kind: Kind, name: &str, version: Version) -> bool {
        let form = self.kept[kind as usize].get(name).and_then(Option::as_ref);
        form.is_some_and(|form| form.version() == version)
    }

    /// What stays with something that is kept, in the form it had in `old`: only what is gone by itself, for what is barred
    /// is not to come back.
    pub(in crate::xds) fn keep_named(&mut self, old: &View, to: &Ref) {
        let gone = self.get(to.kind, &to.name).is_none() && self.source(to.kind).get(to.kind, &to.name).is_none();
        if let (true, Some(form)) = (gone, old.get(to.kind, &to.name)) {
            self.keep(to.kind, &to.name, Some(form.clone()));
        }
    }

    /// The names of a kind that something else is said of than the newest snapshot does, or may be.
    pub(in crate::xds) fn excepted(&self, kind: Kind) -> BTreeSet<Arc<str>> {
        let mut names: BTreeSet<_> = self.kept[kind as usize].keys().cloned().collect();
        if let Some(barriers) = &self.barriers {
            names.extend(barriers.of(kind).keys().cloned());
            let still = barriers.still(kind).map(|still| self.snapshot.changed_since(still, kind));
            still.into_iter().for_each(|changed| names.extend(changed.iter().cloned()));
        }
        names
    }

    /// The forms in which resources of a kind stay that are others in the newest snapshot, or are gone from it.
    pub(in crate::xds) fn stays(&self, kind: Kind) -> Vec<&Arc<Resource>> {
        self.excepted(kind).iter().filter_map(|name| self.get(kind, name)).collect()
    }

    /// The resource of that kind and name.
    pub(in crate::xds) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        match self.kept[kind as usize].get(name) {
            Some(form) => form.as_ref(),
            None => self.goal(kind, name),
        }
    }

    /// The resources of a kind: those of the snapshot in its order, then those it no longer has.
    pub(in crate::xds) fn iter(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        let (kept, source) = (&self.kept[kind as usize], self.source(kind));
        let excepted = move |name: &str| kept.contains_key(name) || self.barrier(kind, name).is_some();
        let current = source.iter(kind).filter_map(move |resource| match excepted(resource.name()) {
            true => self.get(kind, resource.name()),
            false => Some(resource),
        });
        let gone = kept.iter().filter(move |(name, _)| source.get(kind, name).is_none());
        current.chain(gone.filter_map(|(_, form)| form.as_ref()))
    }

    /// Names of a kind under which something may differ from `old`, but for what either keeps. Costs what differs.
    fn touched_since(&self, old: &View, kind: Kind) -> Names<'_> {
        let mut names = self.source(kind).changed_since(old.source(kind), kind);
        match [old, self].map(|view| view.barred(kind)) {
            [None, None] => {}
            [Some(before), Some(after)] if before.ptr_eq(after) => {}
            [Some(only), None] | [None, Some(only)] => names.to_mut().extend(only.keys().cloned()),
            [Some(before), Some(after)] => names.to_mut().extend(differences(before, after)),
        }
        names
    }

    /// What is barred of a kind; none if nothing is.
    fn barred(&self, kind: Kind) -> Option<&OrdMap<Arc<str>, Barrier>> {
        self.barriers.as_ref().map(|barriers| barriers.of(kind)).filter(|barred| !barred.is_empty())
    }

    /// Whether a kind is what it was in `old`, and neither has anything of it barred. Costs next to nothing.
    pub(in crate::xds) fn is_as_in(&self, old: &View, kind: Kind) -> bool {
        let stands = |view: &View| view.barriers.as_ref().is_some_and(|barriers| barriers.still(kind).is_some());
        let plain = [old, self].into_iter().all(|view| view.barred(kind).is_none() && !stands(view));
        plain && self.source(kind).changed_since(old.source(kind), kind).is_empty()
    }

    /// The outbound half, if all streams of the audience are told the same of a kind; none where there are exceptions, or
    /// no resources.
    pub(in crate::xds) fn plain(&self, kind: Kind) -> Option<&Layer> {
        let Snapshot { outbound, inbound, .. } = &self.snapshot;
        let plain = self.barriers.is_none() && self.kept[kind as usize].is_empty();
        // Endpoints of its own come before those of the audience.
        let plain = plain && (kind != Kind::Endpoint || inbound.len(kind) == 0);
        (plain && outbound.len(kind) > 0).then_some(outbound)
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
    pub(in crate::xds) fn changed_since(&self, old: &View, kind: Kind) -> Names<'_> {
        let mut names = self.touched_since(old, kind);
        let [before, after] = [old, self].map(|view| &view.kept[kind as usize]);
        if !(before.ptr_eq(after) || (before.is_empty() && after.is_empty())) {
            names.to_mut().extend(differences(before, after));
        }
        let version = |view: &View, name: &str| view.get(kind, name).map(|resource| resource.version());
        self.retain_different(old, names, version)
    }

    /// The same without what the gates of both keep.
    pub(in crate::xds) fn goals_changed_since(&self, old: &View, kind: Kind) -> Names<'_> {
        let version = |view: &View, name: &str| view.goal(kind, name).map(|resource| resource.version());
        self.retain_different(old, self.touched_since(old, kind), version)
    }

    fn retain_different<'a>(
        &self,
        old: &View,
        mut names: Names<'a>,
        version: impl Fn(&View, &str) -> Option<Version>,
    ) -> Names<'a> {
        let plain = |view: &View| view.barriers.is_none() && view.kept.iter().all(OrdMap::is_empty);
        let same = |name: &Arc<str>| version(self, name) == version(old, name);
        if !(plain(self) && plain(old)) && names.iter().any(same) {
            names.to_mut().retain(|name| !same(name));
        }
        names
    }

    /// Whether a resource that is gone may go without a word, because Envoy drops it with the listener that named it: an
    /// empty route configuration would answer 404 on connections that are still being drained.
    pub(in crate::xds) fn goes_with_its_owner(&self, kind: Kind, name: &str) -> bool {
        let names = |listener: &Arc<Resource>| listener.refs().any(|to| to.kind == kind && *to.name == *name);
        self.gated && kind == Kind::Route && !self.iter(Kind::Listener).any(names)
    }
}

/// The names under which two maps differ.
fn differences<V: PartialEq>(
    before: &OrdMap<Arc<str>, V>,
    after: &OrdMap<Arc<str>, V>,
) -> impl Iterator<Item = Arc<str>> {
    before.diff(after).map(|item| match item {
        DiffItem::Add(name, _) | DiffItem::Remove(name, _) | DiffItem::Update { new: (name, _), .. } => name.clone(),
    })
}
