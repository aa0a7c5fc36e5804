//! Sets of resources: persistent, one per kind, compared by difference; and the snapshot, two layers of them.

use super::kind::Kind;
use super::resource::Resource;
use super::roll::Finds;
use imbl::ordmap::DiffItem;
use imbl::{OrdMap, OrdSet, ordset};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// Resources of one kind by name.
pub type Set = OrdMap<Arc<str>, Arc<Resource>>;

/// Resources of every kind: the outbound or the inbound half of a proxy's configuration. It may lie over a layer that it
/// has in common with others: what it holds itself, and what it hides, comes before what is found there. Cloning is cheap.
#[derive(Clone, Default, Debug)]
pub struct Layer {
    common: Option<Arc<Layer>>,
    sets: [Set; Kind::ALL.len()],
    hidden: [OrdSet<Arc<str>>; Kind::ALL.len()],
    news: Option<Arc<News>>,
    finds: Finds,
}

/// How a layer differs from the one that was posted before it: found once, for all who go from one to the other.
#[derive(Debug)]
struct News {
    before: Weak<Layer>,
    names: [BTreeSet<Arc<str>>; Kind::ALL.len()],
}

impl Layer {
    /// The layer as it is posted, after `before`. Costs O(changes log n).
    pub fn posted_after(&self, before: &Arc<Layer>) -> Arc<Layer> {
        let names = Kind::ALL.map(|kind| self.changed_since(before, kind).into_owned());
        let news = Arc::new(News { before: Arc::downgrade(before), names });
        let posted = Self { news: Some(news.clone()), ..self.clone() };
        Kind::ALL.into_iter().for_each(|kind| posted.inherit(before, kind, news.names[kind as usize].iter()));
        Arc::new(posted)
    }

    /// The names that differ from the layer posted before, by kind; none if that is another one.
    pub(super) fn news_since(&self, before: &Arc<Layer>) -> Option<&[BTreeSet<Arc<str>>; Kind::ALL.len()]> {
        let news = self.news.as_ref().filter(|news| std::ptr::eq(news.before.as_ptr(), Arc::as_ptr(before)))?;
        Some(&news.names)
    }

    /// The names of a kind whose version differs from that in `old`.
    fn changed_since(&self, old: &Layer, kind: Kind) -> Names<'_> {
        if std::ptr::eq(self, old) {
            return Cow::default();
        }
        if let Some(news) = self.news.as_ref().filter(|news| std::ptr::eq(news.before.as_ptr(), old)) {
            return Cow::Borrowed(&news.names[kind as usize]);
        }
        if let Some(names) = self.changed_beneath(old, kind) {
            return names;
        }
        let mut names = BTreeSet::new();
        self.touched_since(old, kind, &|old, new| old.version() != new.version(), &mut names);
        let version = |layer: &Layer, name: &str| layer.get(kind, name).map(|resource| resource.version());
        names.retain(|name| version(old, name) != version(self, name));
        Cow::Owned(names)
    }

    /// The same, where nothing differs but the common layer, and nothing of what differs there is hidden: what was found
    /// when that was posted.
    fn changed_beneath(&self, old: &Layer, kind: Kind) -> Option<Names<'_>> {
        let (own, hidden) = (self.own(kind), self.hidden(kind));
        let (before, after) = (old.common.as_ref()?, self.common.as_ref()?);
        if !own.ptr_eq(old.own(kind)) || !hidden.ptr_eq(old.hidden(kind)) {
            return None;
        }
        if Arc::ptr_eq(before, after) {
            return Some(Cow::default());
        }
        let names = &after.news_since(before)?[kind as usize];
        let is_shown = |name: &Arc<str>| !own.contains_key(name) && !hidden.contains(name);
        names.iter().all(is_shown).then_some(Cow::Borrowed(names))
    }

    /// How many resources of a kind there were in `old` that are gone, if they are more than `few`. Costs O(changes log n), or
    /// nothing where there are few.
    pub fn gone_since(&self, old: &Layer, kind: Kind, few: usize) -> Option<usize> {
        let changed = self.changed_since(old, kind);
        if changed.len() <= few {
            return None;
        }
        Some(changed.iter().filter(|name| !self.has(kind, name)).count()).filter(|gone| *gone > few)
    }

    /// The names of a kind under which there is another resource than in `old`, be it one of the same version that other
    /// objects shaped, and perhaps some more. Costs O(changes log n).
    pub fn differs_from(&self, old: &Layer, kind: Kind) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        self.touched_since(old, kind, &|_, _| true, &mut names);
        names
    }

    /// The resource of that kind and name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.own(kind).get(name).or_else(|| self.beneath(kind, name))
    }

    /// Whether there is a resource of that kind and name.
    pub fn has(&self, kind: Kind, name: &str) -> bool {
        self.get(kind, name).is_some()
    }

    /// What is found in the common layer and not hidden.
    fn beneath(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        let common = self.common.as_ref()?;
        if self.hidden[kind as usize].contains(name) { None } else { common.get(kind, name) }
    }

    /// The resources of a kind: those in common, then its own, each sorted by name.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        let common = self.common.iter().flat_map(move |common| common.own(kind).iter());
        let shown = move |name: &str| !self.hidden[kind as usize].contains(name) && !self.own(kind).contains_key(name);
        let common = common.filter(move |(name, _)| shown(name)).map(|(_, resource)| resource);
        common.chain(self.own(kind).values())
    }

    /// How many resources of a kind there are. Costs in proportion to what is its own.
    pub fn len(&self, kind: Kind) -> usize {
        let own = self.own(kind);
        let Some(common) = &self.common else { return own.len() };
        let beneath = common.own(kind);
        let hidden = self.hidden[kind as usize].iter().filter(|name| beneath.contains_key(*name)).count();
        let shadows = |name: &&Arc<str>| !self.hidden[kind as usize].contains(*name) && beneath.contains_key(*name);
        beneath.len() + own.len() - hidden - own.keys().filter(shadows).count()
    }

    /// The resources of a kind that it holds itself.
    pub fn own(&self, kind: Kind) -> &Set {
        &self.sets[kind as usize]
    }

    /// The layer it lies over.
    pub fn common(&self) -> Option<&Arc<Layer>> {
        self.common.as_ref()
    }

    /// What is hidden of a kind.
    pub(super) fn hidden(&self, kind: Kind) -> &OrdSet<Arc<str>> {
        &self.hidden[kind as usize]
    }

    pub(super) fn finds(&self) -> &Finds {
        &self.finds
    }

    /// Lays it over another layer, which lies over none.
    pub fn lie_over(&mut self, common: Arc<Layer>) {
        self.finds = Finds::default();
        self.common = Some(common);
    }

    /// Adds or replaces a resource of its own.
    pub fn insert(&mut self, resource: Arc<Resource>) {
        self.finds.forget(resource.kind());
        self.sets[resource.kind() as usize].insert(resource.name().clone(), resource);
    }

    /// Removes a resource of its own.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.finds.forget(kind);
        self.sets[kind as usize].remove(name);
    }

    /// Hides what the common layer holds under a name.
    pub fn hide(&mut self, kind: Kind, name: Arc<str>) {
        self.finds.forget(kind);
        self.hidden[kind as usize].insert(name);
    }

    /// Shows it again.
    pub fn show(&mut self, kind: Kind, name: &str) {
        self.finds.forget(kind);
        self.hidden[kind as usize].remove(name);
    }

    /// Names of a kind under which something else may be found than in `old`, by what counts as such: no fewer than there
    /// are. Costs O(changes log n).
    fn touched_since(&self, old: &Layer, kind: Kind, counts: &Counts, names: &mut BTreeSet<Arc<str>>) {
        if std::ptr::eq(self, old) {
            return;
        }
        changed(old.own(kind), self.own(kind), counts, names);
        let (before, after) = (&old.hidden[kind as usize], &self.hidden[kind as usize]);
        for item in before.diff(after) {
            match item {
                ordset::DiffItem::Add(name) | ordset::DiffItem::Remove(name) => _ = names.insert(name.clone()),
            }
        }
        match (&old.common, &self.common) {
            (Some(old), Some(new)) => new.touched_since(old, kind, counts, names),
            (Some(only), None) | (None, Some(only)) => names.extend(only.own(kind).keys().cloned()),
            (None, None) => {}
        }
    }
}

/// Everything a proxy is meant to hold: the layer of its audience, the layer of its workload, and its secrets, whose names
/// are disjoint, but for endpoints that are chosen by where the proxy is: those of the workload's layer come before the
/// audience's. Cloning is cheap.
#[derive(Clone, Default, Debug)]
pub struct Snapshot {
    /// Outbound, shared by the audience.
    pub outbound: Arc<Layer>,
    /// Inbound, shared by the workload's replicas.
    pub inbound: Arc<Layer>,
    /// For this workload only: its secrets.
    pub secrets: Arc<Layer>,
    /// When the change that led here was seen; none for what was there at start.
    pub since: Option<Instant>,
}

impl Snapshot {
    /// Whether the inbound layer has its own of what the outbound one has under that name, too.
    fn is_shadowed(&self, kind: Kind, name: &str) -> bool {
        kind == Kind::Endpoint && self.inbound.has(kind, name)
    }

    /// The resource of that kind and name.
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        let outbound = || self.outbound.get(kind, name).filter(|_| !self.is_shadowed(kind, name));
        outbound().or_else(|| self.inbound.get(kind, name)).or_else(|| self.secrets.get(kind, name))
    }

    /// The resources of a kind: outbound, then inbound.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        let outbound = self.outbound.iter(kind).filter(move |resource| !self.is_shadowed(kind, resource.name()));
        outbound.chain(self.inbound.iter(kind)).chain(self.secrets.iter(kind))
    }

    /// How many resources of a kind there are. Costs what is its own of the inbound layer.
    pub fn len(&self, kind: Kind) -> usize {
        let shadows = self.inbound.iter(kind).filter(|resource| self.outbound.has(kind, resource.name())).count();
        self.outbound.len(kind) + self.inbound.len(kind) + self.secrets.len(kind) - shadows
    }

    /// The names of a kind whose version differs from that in `old`. Costs O(changes log n), nothing where a layer is
    /// the same; nothing is copied where one layer alone is another, in the way it was posted.
    pub fn changed_since(&self, old: &Snapshot, kind: Kind) -> Names<'_> {
        let mut names = self.outbound.changed_since(&old.outbound, kind);
        let is_shadowed = |name: &Arc<str>| self.is_shadowed(kind, name) && old.is_shadowed(kind, name);
        if names.iter().any(is_shadowed) {
            names.to_mut().retain(|name| !is_shadowed(name));
        }
        add(&mut names, self.inbound.changed_since(&old.inbound, kind));
        add(&mut names, self.secrets.changed_since(&old.secrets, kind));
        names
    }
}

/// Names, in a set that may be another's.
pub type Names<'a> = Cow<'a, BTreeSet<Arc<str>>>;

fn add<'a>(names: &mut Names<'a>, more: Names<'a>) {
    if names.is_empty() {
        *names = more;
    } else if !more.is_empty() {
        names.to_mut().extend(more.iter().cloned());
    }
}

/// Whether a resource in place of another counts as something else.
type Counts = dyn Fn(&Resource, &Resource) -> bool;

fn changed(old: &Set, new: &Set, counts: &Counts, names: &mut BTreeSet<Arc<str>>) {
    if old.ptr_eq(new) {
        return;
    }
    for item in old.diff(new) {
        match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => {
                names.insert(name.clone());
            }
            DiffItem::Update { old: (name, old), new: (_, new) } => {
                if counts(old, new) {
                    names.insert(name.clone());
                }
            }
        }
    }
}
