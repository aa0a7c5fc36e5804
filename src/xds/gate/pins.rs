//! Units that keep their last form until the client has accepted the clusters their new form names.
//!
//! A unit that waits is pinned to the form it first waited with, so that one that changes faster than clusters are
//! accepted is not starved; once that is told, or the time is over, it jumps to the newest.

use super::Options;
use super::lingering::NAMERS;
use crate::snapshot::fragments::Fragments;
use crate::snapshot::kind::Kind;
use crate::snapshot::lint::{duplicate_domain, has_other_domains};
use crate::snapshot::resource::{Fragment, Ref, Resource, Version};
use crate::xds::session::track::Track;
use crate::xds::session::view::View;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Whether nothing has to be waited for before these are named.
type Ready<'a> = dyn Fn(&[&Ref]) -> bool + 'a;

/// What a look at everything that waits goes by.
struct Look<'a> {
    old: &'a View,
    ready: &'a Ready<'a>,
    now: Instant,
}

/// What changes as one: a fragment, or a resource that has none.
#[derive(Clone, Debug)]
enum Unit {
    Fragment(Arc<Fragment>),
    Whole(Arc<Resource>),
}

impl Unit {
    fn version(&self) -> Version {
        match self {
            Unit::Fragment(fragment) => fragment.version(),
            Unit::Whole(resource) => resource.version(),
        }
    }

    fn refs(&self) -> Vec<&Ref> {
        match self {
            Unit::Fragment(fragment) => fragment.refs().iter().collect(),
            Unit::Whole(resource) => resource.refs().collect(),
        }
    }
}

/// A unit that waits.
#[derive(Clone, Debug)]
struct Pin {
    target: Unit,
    since: Instant,
    /// Whether its time is over: it goes as it is.
    overdue: bool,
    /// Whether the client has rejected the target: the newest form takes its place.
    refused: bool,
}

/// Why something is not sent yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// The resource.
    pub name: Arc<str>,
    /// The part of it that waits; none for all of it.
    pub part: Option<Arc<str>>,
    /// The clusters that the client has not accepted yet.
    pub clusters: Vec<Arc<str>>,
    /// Since when it waits.
    pub since: Instant,
}

/// The units of one resource that wait, by name; the name of a whole resource is empty.
type Waiting = BTreeMap<Arc<str>, Pin>;

/// The units that wait.
#[derive(Debug)]
pub(super) struct Pins {
    pub(super) options: Options,
    waiting: BTreeMap<(Kind, Arc<str>), Waiting>,
    pub(super) overdue: u64,
}

impl Pins {
    pub(super) fn new(options: Options) -> Self {
        Self { options, waiting: BTreeMap::new(), overdue: 0 }
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn pins(&self) -> impl Iterator<Item = &Pin> {
        self.waiting.values().flat_map(|waiting| waiting.values())
    }

    /// The clusters that waiting units name.
    pub(super) fn clusters(&self) -> BTreeSet<Arc<str>> {
        let refs = self.pins().flat_map(|pin| pin.target.refs());
        refs.filter(|to| to.kind == Kind::Cluster).map(|to| to.name.clone()).collect()
    }

    /// When the next unit goes whatever it waits for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pins().filter(|pin| !pin.overdue).map(|pin| pin.since + self.options.hold).min()
    }

    /// What waits, and for which of the clusters.
    pub(super) fn waits(&self, kind: Kind, awaited: &dyn Fn(&Ref) -> bool) -> Vec<Wait> {
        let ours = self.waiting.iter().filter(|((of, _), _)| *of == kind);
        let pins = ours.flat_map(|((_, name), waiting)| waiting.iter().map(move |(part, pin)| (name, part, pin)));
        pins.map(|(name, part, pin)| {
            let clusters = pin.target.refs().into_iter().filter(|to| awaited(to)).map(|to| to.name.clone());
            let part = (!part.is_empty()).then(|| part.clone());
            Wait { name: name.clone(), part, clusters: clusters.collect(), since: pin.since }
        })
        .collect()
    }

    /// The client has rejected this form of a resource: what waited and went in it waits for its newest form.
    pub(super) fn on_refused(&mut self, refused: &Resource) {
        let pins = self.waiting.get_mut(&(refused.kind(), refused.name().clone()));
        for (part, pin) in pins.into_iter().flatten() {
            let fragment = || Some(refused.fragments()?.get(part)?.version());
            let sent = if part.is_empty() { Some(refused.version()) } else { fragment() };
            pin.refused |= sent == Some(pin.target.version());
        }
    }

    /// Keeps in `view` the last form of every unit that has to wait.
    pub(super) fn hold(&mut self, view: &mut View, old: &View, tracks: &[Track], ready: &Ready<'_>, now: Instant) {
        let look = Look { old, ready, now };
        for kind in NAMERS {
            let mut names = view.goals_changed_since(old, kind).into_owned();
            // What is on its way may name a cluster that has come meanwhile.
            names.extend(tracks[kind as usize].outdated().map(|told| told.name().clone()));
            names.extend(self.waiting.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()));
            for name in names {
                let told = tracks[kind as usize].last_told(&name, old).cloned();
                let before = self.waiting.remove(&(kind, name.clone())).unwrap_or_default();
                let Some(newest) = view.goal(kind, &name).cloned() else { continue };
                if let Some(form) = self.judge(told, &newest, before, &look) {
                    view.keep(kind, &name, Some(form));
                }
            }
            if kind == Kind::Listener {
                keep_routes(view, old);
            }
        }
    }

    /// The form in which a resource has to stay for now, if that isn't the newest. `before`: its units that wait.
    fn judge(
        &mut self,
        told: Option<Arc<Resource>>,
        newest: &Arc<Resource>,
        mut before: Waiting,
        look: &Look<'_>,
    ) -> Option<Arc<Resource>> {
        // A name never told on this stream goes as it is: there is no form in which it could stay.
        let told = told.filter(|told| told.version() != newest.version())?;
        let mut after = Waiting::new();
        let mut choose = |name: Arc<str>, told: Option<Unit>, newest: Unit| {
            let (form, pin) = self.choose(before.remove(&name), told, newest, look);
            after.extend(pin.map(|pin| (name, pin)));
            form
        };
        let form = match (told.fragments(), newest.fragments()) {
            (Some(before), Some(after)) => compose(&told, newest, mix(before, after, &mut choose), look.old),
            _ => match choose("".into(), Some(Unit::Whole(told.clone())), Unit::Whole(newest.clone())) {
                Some(Unit::Whole(form)) => form,
                _ => newest.clone(),
            },
        };
        if after.is_empty() {
            return None;
        }
        self.waiting.insert((newest.kind(), newest.name().clone()), after);
        (form.version() != newest.version()).then_some(form)
    }

    /// The form in which a unit goes, none if not at all yet, and its pin if that isn't the newest.
    fn choose(
        &mut self,
        pin: Option<Pin>,
        told: Option<Unit>,
        newest: Unit,
        look: &Look<'_>,
    ) -> (Option<Unit>, Option<Pin>) {
        let is_told = |unit: &Unit| told.as_ref().is_some_and(|told| told.version() == unit.version());
        let is_ready = |unit: &Unit| (look.ready)(&unit.refs());
        if is_told(&newest) || is_ready(&newest) {
            return (Some(newest), None);
        }
        let fresh = || Pin { target: newest.clone(), since: look.now, overdue: false, refused: false };
        let pin = pin.filter(|pin| !is_told(&pin.target)).unwrap_or_else(fresh);
        let pin = if pin.refused { Pin { target: newest.clone(), refused: false, ..pin } } else { pin };
        if pin.overdue || pin.since + self.options.hold <= look.now {
            self.overdue += u64::from(!pin.overdue);
            return (Some(newest), Some(Pin { overdue: true, ..pin }));
        }
        let form = if is_ready(&pin.target) { Some(pin.target.clone()) } else { told };
        (form, Some(pin))
    }
}

/// Which form of a unit goes: of that name, told in one form and now in another; none if not at all yet.
type Choose<'a> = dyn FnMut(Arc<str>, Option<Unit>, Unit) -> Option<Unit> + 'a;

/// The newest fragments, each in the form it goes in. Looks only at those that differ from what was told.
fn mix(told: &Fragments, newest: &Fragments, choose: &mut Choose<'_>) -> Fragments {
    let mut fragments = newest.clone();
    for (before, after) in told.differences(newest) {
        let Some(after) = after else { continue };
        match choose(after.name().clone(), before.cloned().map(Unit::Fragment), Unit::Fragment(after.clone())) {
            Some(Unit::Fragment(form)) if form.version() == after.version() => {}
            Some(Unit::Fragment(form)) => fragments.insert(form),
            Some(Unit::Whole(_)) | None => fragments.remove(after.name()),
        }
    }
    fragments
}

/// The newest head with the fragments that go.
fn compose(told: &Arc<Resource>, newest: &Arc<Resource>, fragments: Fragments, old: &View) -> Arc<Resource> {
    if newest.fragments() == Some(&fragments) {
        return newest.clone();
    }
    let (kind, name) = (newest.kind(), newest.name());
    let same_newest = old.goal(kind, name).is_some_and(|last| Arc::ptr_eq(last, newest));
    let last = old.get(kind, name).filter(|last| same_newest && last.fragments() == Some(&fragments));
    if let Some(last) = last {
        return last.clone();
    }
    let form = newest.with_fragments(fragments);
    // A domain that moved from one fragment to another would stand in both, and Envoy would reject all of it.
    let may_clash = form.fragments().zip(newest.fragments()).is_none_or(|(form, newest)| may_clash(form, newest));
    if may_clash && duplicate_domain(&form).is_some() { told.clone() } else { Arc::new(form) }
}

/// Whether two fragments may have one domain although the newest do not: only if one stays in a form with other domains.
/// Reading all of them would cost every stream milliseconds.
fn may_clash(form: &Fragments, newest: &Fragments) -> bool {
    newest.differences(form).any(|(newest, form)| match (newest, form) {
        (Some(newest), Some(form)) => has_other_domains(form, newest),
        (None, Some(_)) => true,
        (_, None) => false,
    })
}

/// The routes of a listener that keeps its last form stay with it.
fn keep_routes(view: &mut View, old: &View) {
    let forms: Vec<_> = view.stays(Kind::Listener).into_iter().cloned().collect();
    for to in forms.iter().flat_map(|form| form.refs()).filter(|to| to.kind == Kind::Route) {
        view.keep_named(old, to);
    }
}
