//! Clusters that are gone from the snapshot and stay on the stream for as long as the client may use them.
//!
//! A cluster goes when no unit that is told, on its way or waiting names it, and some time after the client accepted the
//! last one without it: requests under way, and connections of a listener that is drained, still use the old form.
//!
//! After much has gone at once each change would cost everything that stays. So it is looked at again only if something has
//! happened to some of it.

use super::{Options, Sent};
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Fragment, Ref, Resource};
use crate::xds::session::track::Track;
use crate::xds::session::view::{Kept, View};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// The kinds whose resources name clusters.
pub(super) const NAMERS: [Kind; 2] = [Kind::Listener, Kind::Route];

/// The kinds that clusters refer to.
const CHILDREN: [Kind; 2] = [Kind::Endpoint, Kind::Secret];

/// A cluster that was named until a while ago.
#[derive(Debug)]
struct Shadow {
    /// The responses without it that are not accepted yet, and when each was sent.
    unanswered: BTreeMap<Kind, (u64, Instant)>,
    /// Until when what was accepted may still use it.
    until: Instant,
}

/// What stays, and why.
#[derive(Debug)]
pub(super) struct Lingering {
    options: Options,
    clusters: BTreeMap<Arc<str>, Arc<Resource>>,
    shadows: BTreeMap<Arc<str>, Shadow>,
    /// What was found last, unless something has happened since.
    last: Option<Found>,
    /// How many clusters were looked at.
    pub(super) looks: u64,
}

/// What a look at everything that stays has found.
#[derive(Debug)]
struct Found {
    /// What stays, with what it refers to.
    kept: Kept,
    /// Everything that clusters which stay refer to.
    children: BTreeSet<Ref>,
    /// The clusters among what stays that something names which waits or is on its way.
    used: BTreeSet<Arc<str>>,
    /// When the first shadow ends.
    until: Option<Instant>,
    /// When the first cluster may go by itself.
    deadline: Option<Instant>,
}

impl Found {
    /// Whether a look would find the same.
    fn holds(&self, lingering: &Lingering, used: &BTreeSet<Arc<str>>, view: &View, old: &View, now: Instant) -> bool {
        let (newest, before) = (view.source(Kind::Cluster), old.source(Kind::Cluster));
        let concerns =
            |name: &Arc<str>| lingering.clusters.contains_key(name) || newest.get(Kind::Cluster, name).is_none();
        let is_child = |kind: Kind, name: &Arc<str>| self.children.contains(&Ref { kind, name: name.clone() });
        let touches = |kind: Kind| view.goals_changed_since(old, kind).iter().any(|name| is_child(kind, name));
        self.until.is_none_or(|until| now < until)
            && self.used == *used
            && !newest.changed_since(before, Kind::Cluster).iter().any(concerns)
            && !CHILDREN.into_iter().any(touches)
    }
}

impl Lingering {
    pub(super) fn new(options: Options) -> Self {
        Self { options, clusters: BTreeMap::new(), shadows: BTreeMap::new(), last: None, looks: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.clusters.clear();
        self.shadows.clear();
        self.last = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.clusters.keys().cloned().collect()
    }

    /// Keeps in `view` the clusters that stay, and what they name. Whether some are only just gone, and have to be looked
    /// at again once the units that changed with them are known.
    pub(super) fn keep(
        &mut self,
        view: &mut View,
        old: &View,
        tracks: &[Track],
        pinned: &BTreeSet<Arc<str>>,
        now: Instant,
    ) -> bool {
        let named = if self.clusters.is_empty() { BTreeSet::new() } else { named(old, tracks) };
        let used = self.used(&named, pinned);
        if let Some(found) = self.last.as_ref().filter(|found| found.holds(self, &used, view, old, now)) {
            view.keep_all(&found.kept);
            return false;
        }
        self.shadows.retain(|_, shadow| shadow.ends(self.options).is_none_or(|end| end > now));
        let stays = |name: &Arc<str>| used.contains(name);
        let shadows = &self.shadows;
        self.clusters.retain(|name, _| {
            view.source(Kind::Cluster).get(Kind::Cluster, name).is_none() && (stays(name) || shadows.contains_key(name))
        });
        let (kept, clusters) = (self.clusters.len(), &tracks[Kind::Cluster as usize]);
        for name in view.source(Kind::Cluster).changed_since(old.source(Kind::Cluster), Kind::Cluster).iter() {
            // What the client never heard of can't be in use; only a unit that waits may still want it. A client that has
            // yet to ask for clusters may hold any.
            let known = clusters.last_told(name, old).is_some() || !clusters.is_asked();
            let wanted = known || pinned.contains(name);
            let gone = view.source(Kind::Cluster).get(Kind::Cluster, name).is_none();
            if let (true, Some(form)) = (wanted && gone, old.get(Kind::Cluster, name)) {
                self.clusters.entry(name.clone()).or_insert_with(|| form.clone());
            }
        }
        for (name, form) in &self.clusters {
            view.keep(Kind::Cluster, name, Some(form.clone()));
            keep_children(view, old, form);
        }
        self.looks += self.clusters.len() as u64;
        let is_news = self.clusters.len() > kept;
        self.last = (!is_news).then(|| self.found(view, used));
        is_news
    }

    /// What stays and is named by something in transition, or waited for.
    fn used(&self, named: &BTreeSet<&str>, pinned: &BTreeSet<Arc<str>>) -> BTreeSet<Arc<str>> {
        let named = named.iter().filter_map(|name| Some(self.clusters.get_key_value(*name)?.0.clone()));
        named.chain(pinned.iter().filter(|name| self.clusters.contains_key(*name)).cloned()).collect()
    }

    fn found(&self, view: &View, mut used: BTreeSet<Arc<str>>) -> Found {
        used.retain(|name| self.clusters.contains_key(name));
        Found {
            kept: view.kept().clone(),
            children: self.clusters.values().flat_map(|cluster| cluster.refs()).cloned().collect(),
            used,
            until: self.shadows.values().filter_map(|shadow| shadow.ends(self.options)).min(),
            deadline: self.first_end(),
        }
    }

    fn first_end(&self) -> Option<Instant> {
        let ends = self.clusters.keys().filter_map(|name| self.shadows.get(name)?.ends(self.options));
        ends.min()
    }

    /// Notes which clusters a listener or route configuration named before and does not name any more.
    pub(super) fn on_sent(&mut self, sent: &Sent<'_>, view: &View, tracks: &[Track], now: Instant) {
        if !view.is_gated() || !NAMERS.contains(&sent.kind) {
            return;
        }
        for before in sent.outdated {
            for name in let_go(before, view.get(sent.kind, before.name()), view, tracks) {
                let shadow = || Shadow { unanswered: BTreeMap::new(), until: now };
                let shadow = self.shadows.entry(name).or_insert_with(shadow);
                shadow.unanswered.insert(sent.kind, (sent.nonce, now));
                self.last = None;
            }
        }
    }

    /// The client has rejected a form that stays: what it was told before stays in its place.
    pub(super) fn on_refused(&mut self, refused: &Resource, told: Option<&Arc<Resource>>) {
        self.last = None;
        let name = refused.name();
        let is_kept = |form: &Arc<Resource>| form.version() == refused.version();
        if refused.kind() != Kind::Cluster || !self.clusters.get(name).is_some_and(is_kept) {
            return;
        }
        match told {
            Some(told) => _ = self.clusters.insert(name.clone(), told.clone()),
            None => _ = self.clusters.remove(name),
        }
    }

    /// The client has accepted a response: what it no longer names is used for a while at most.
    pub(super) fn on_accepted(&mut self, kind: Kind, nonce: u64, now: Instant) {
        if !NAMERS.contains(&kind) {
            return;
        }
        for shadow in self.shadows.values_mut() {
            if shadow.unanswered.get(&kind).is_some_and(|(sent, _)| *sent <= nonce) {
                shadow.unanswered.remove(&kind);
                self.last = None;
                shadow.until = shadow.until.max(now + linger(kind, self.options));
            }
        }
    }

    /// When a cluster may go that stays only because it was named until a while ago.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.last.as_ref().map_or_else(|| self.first_end(), |found| found.deadline)
    }
}

impl Shadow {
    /// When it is over: a response that is never answered is not waited for for ever.
    fn ends(&self, options: Options) -> Option<Instant> {
        let answers = self.unanswered.iter().map(|(kind, (_, at))| *at + options.hold + linger(*kind, options));
        answers.chain([self.until]).max()
    }
}

fn linger(kind: Kind, options: Options) -> std::time::Duration {
    if kind == Kind::Listener { options.listener_linger } else { options.route_linger }
}

/// The endpoints and secrets of a cluster stay with it.
fn keep_children(view: &mut View, old: &View, cluster: &Resource) {
    cluster.refs().for_each(|child| view.keep_named(old, child));
}

/// The clusters that units in transition name: those that keep their last form, and those told and to be replaced.
fn named<'a>(old: &'a View, tracks: &'a [Track]) -> BTreeSet<&'a str> {
    let kept = NAMERS.into_iter().flat_map(|kind| old.stays(kind));
    let outdated = NAMERS.into_iter().flat_map(|kind| tracks[kind as usize].outdated());
    let refs = kept.chain(outdated).flat_map(|unit| unit.refs());
    refs.filter(|to| to.kind == Kind::Cluster).map(|to| &*to.name).collect()
}

/// The clusters that a resource named and in its new form does not name any more. Of fragments only those that differ are
/// looked at, for a route configuration may have thousands; what another fragment still names is not gone anyway.
fn let_go(before: &Resource, after: Option<&Arc<Resource>>, view: &View, tracks: &[Track]) -> BTreeSet<Arc<str>> {
    let parts = (before.fragments(), after.and_then(|after| after.fragments()));
    let (named, names): (BTreeSet<_>, BTreeSet<_>) = if let (Some(old), Some(new)) = parts {
        let different: Vec<_> = old.differences(new).collect();
        let refs = |fragment: &'_ Arc<Fragment>| fragment.refs().to_vec();
        let old = different.iter().filter_map(|(old, _)| *old).flat_map(refs).collect::<Vec<_>>();
        let new = different.iter().filter_map(|(_, new)| *new).flat_map(refs).collect::<Vec<_>>();
        (only_clusters(&old).cloned().collect(), only_clusters(&new).cloned().collect())
    } else {
        (clusters(before, view, tracks), after.map(|after| clusters(after, view, tracks)).unwrap_or_default())
    };
    &named - &names
}

fn only_clusters<'a>(refs: impl IntoIterator<Item = &'a Ref>) -> impl Iterator<Item = &'a Arc<str>> {
    refs.into_iter().filter(|to| to.kind == Kind::Cluster).map(|to| &to.name)
}

/// The clusters a resource names, those of the routes it names included.
fn clusters(unit: &Resource, view: &View, tracks: &[Track]) -> BTreeSet<Arc<str>> {
    let routes = unit.refs().filter(|to| to.kind == Kind::Route);
    let routes = routes.filter_map(|to| tracks[Kind::Route as usize].last_told(&to.name, view));
    only_clusters(unit.refs().chain(routes.flat_map(|routes| routes.refs()))).cloned().collect()
}
