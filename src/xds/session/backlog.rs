//! The names of one type about which a client's state may differ from the snapshot, and what it holds of each.
//!
//! For a name that is wanted and not in the backlog, the client has been told what the snapshot says: a stream that has
//! caught up has an empty backlog and holds nothing but the snapshot, which all streams share.

use super::Counters;
use super::view::View;
use crate::snapshot::digest::Digest;
use crate::snapshot::kind::Kind;
use crate::snapshot::names::NameSet;
use crate::snapshot::resource::{Resource, Version};
use crate::snapshot::roll::Roll;
use crate::xds::absent::Absence;
use crate::xds::quarantine::{Before, Returned};
use crate::xds::request::Wire;
use crate::xds::subscription::Subscription;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the client holds of a name.
#[derive(Clone, Debug)]
enum Held {
    /// Nothing, as far as is known.
    Nothing,
    /// What it states to hold from an earlier stream; none if the version is not one of ours.
    Claimed(Option<Version>),
    /// What was sent.
    Sent(Arc<Resource>),
}

impl Held {
    fn version(&self) -> Option<Version> {
        match self {
            Held::Nothing => None,
            Held::Claimed(version) => *version,
            Held::Sent(resource) => Some(resource.version()),
        }
    }

    fn of(resource: Option<&Arc<Resource>>) -> Held {
        resource.map_or(Held::Nothing, |resource| Held::Sent(resource.clone()))
    }
}

/// A name whose state may have to be sent.
#[derive(Clone, Debug)]
struct Pending {
    held: Held,
    /// Whether it goes even if the client holds the same version.
    force: bool,
    /// Whether its owner was sent, and may wait for it.
    awaited: bool,
}

impl Pending {
    fn new(held: Held, force: bool) -> Self {
        Self { held, force, awaited: false }
    }
}

/// What has to be said about a pending name.
enum Due {
    Nothing,
    /// It stays as it is for now.
    Later,
    Add(Arc<Resource>),
    /// It was asked for and does not exist.
    Absent(Absence),
    /// The client holds it and it is gone.
    Gone(Absence),
}

/// The pending names by what has to be said about them.
#[derive(Default)]
pub(super) struct Work {
    /// Resources that are new, changed or asked for.
    pub(super) added: Vec<Arc<Resource>>,
    /// Names asked for that do not exist.
    pub(super) absent: Vec<(Arc<str>, Absence)>,
    /// Names the client holds that are gone.
    pub(super) gone: Vec<(Arc<str>, Absence)>,
}

/// The names of one type about which the client's state may differ from the snapshot.
#[derive(Debug)]
pub(super) struct Backlog {
    kind: Kind,
    wire: Wire,
    pending: BTreeMap<Arc<str>, Pending>,
    /// Names that an owner may wait for, of which nothing was said because they do not exist.
    missed: BTreeSet<Arc<str>>,
    /// Resources of which the client holds none and is told all, instead of a pending entry for each.
    roll: Option<Arc<Roll>>,
    /// Over what the client was told.
    told: Digest,
}

impl Backlog {
    pub(super) fn new(kind: Kind, wire: Wire) -> Self {
        Self { kind, wire, pending: BTreeMap::new(), missed: BTreeSet::new(), roll: None, told: Digest::default() }
    }

    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.pending.len() + self.roll.as_ref().map_or(0, |roll| roll.names().len())
    }

    /// Whether there is something to say of a name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.pending.contains_key(name) || self.is_on_roll(name)
    }

    /// Whether the client has been told everything.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.roll.is_none()
    }

    /// Whether nothing can be said now.
    pub(super) fn is_idle(&self, snapshot: &View) -> bool {
        self.roll.is_none() && self.pending.keys().all(|name| snapshot.is_awaited(self.kind, name))
    }

    /// The version of everything the client was told.
    pub(super) fn told(&self) -> Version {
        self.told.version()
    }

    /// The version of everything the client should be told, what is held back included.
    pub(super) fn desired(&self, snapshot: &View, wanted: &Subscription) -> Version {
        let mut digest = self.told;
        self.roll.iter().for_each(|roll| digest += roll.digest());
        for (name, pending) in &self.pending {
            if let Held::Sent(resource) = &pending.held {
                digest.take(resource);
            }
            if let Some(resource) = snapshot.get(self.kind, name) {
                digest.add(resource);
            }
        }
        for name in snapshot.excepted(self.kind).into_iter().filter(|name| wanted.covers(name)) {
            let Some(newest) = snapshot.newest().get(self.kind, &name) else { continue };
            snapshot.get(self.kind, &name).into_iter().for_each(|form| digest.take(form));
            digest.add(newest);
        }
        digest.version()
    }

    /// The client holds nothing yet, and is to be told everything on the roll.
    pub(super) fn await_roll(&mut self, roll: Arc<Roll>) {
        // Nothing was told of them yet, and each is told once.
        self.pending.retain(|name, _| !roll.names().contains(name));
        self.roll = Some(roll);
    }

    /// What the client is to be told as a whole.
    pub(super) fn roll(&self) -> Option<&Arc<Roll>> {
        self.roll.as_ref()
    }

    /// The client has been told everything on the roll.
    pub(super) fn tell_roll(&mut self) -> Option<Arc<Roll>> {
        let roll = self.roll.take()?;
        self.told += roll.digest();
        Some(roll)
    }

    /// Looks at each name on the roll by itself from now on. `asked`: the client named them.
    pub(super) fn unroll(&mut self, asked: bool) {
        let Some(roll) = self.roll.take() else { return };
        for name in roll.names().iter() {
            self.pending.insert(name.clone(), Pending::new(Held::Nothing, asked));
        }
    }

    /// Whether the name is on a roll that the client is to be told.
    fn is_on_roll(&self, name: &str) -> bool {
        self.roll.as_ref().is_some_and(|roll| roll.names().contains(name))
    }

    /// The client holds all of these from an earlier stream, as they are.
    pub(super) fn hold(&mut self, all: Digest) {
        self.told += all;
    }

    /// The client wants a name it did not want before.
    pub(super) fn want(&mut self, name: &Arc<str>) {
        self.pending.entry(name.clone()).or_insert(Pending::new(Held::Nothing, false));
    }

    /// The name goes even if the client holds the same version. `wanted`: it was wanted before.
    pub(super) fn force(&mut self, name: &Arc<str>, wanted: bool, snapshot: &View) {
        if self.is_on_roll(name) {
            return;
        }
        let held = || match wanted {
            true if snapshot.is_untouched(self.kind, name) => Held::Claimed(None),
            true => Held::of(snapshot.get(self.kind, name)),
            false => Held::Nothing,
        };
        self.pending.entry(name.clone()).or_insert_with(|| Pending::new(held(), true)).force = true;
    }

    /// The same because its owner was sent, and may wait for it.
    pub(super) fn await_again(&mut self, name: &Arc<str>, snapshot: &View) {
        self.force(name, true, snapshot);
        self.pending.get_mut(name).into_iter().for_each(|pending| pending.awaited = true);
    }

    /// Whether an owner may wait for the name.
    pub(super) fn is_awaited(&self, name: &str) -> bool {
        self.missed.contains(name) || self.pending.get(name).is_some_and(|pending| pending.awaited)
    }

    /// The client states to hold a version of the name. `force`: it goes all the same.
    pub(super) fn claim(&mut self, name: &str, version: &str, force: bool) {
        let held = Held::Claimed(Version::parse(version));
        self.pending.insert(name.into(), Pending::new(held, force));
    }

    /// The client may hold the name in any form, whatever it states. Returns whether it states anything.
    pub(super) fn distrust(&mut self, name: Arc<str>) -> bool {
        let before = self.pending.insert(name, Pending::new(Held::Claimed(None), false));
        matches!(before, Some(Pending { held: Held::Claimed(_), .. }))
    }

    /// The client may hold the name in a form that isn't known.
    pub(super) fn doubt(&mut self, name: &Arc<str>) {
        let unknown = || Pending::new(Held::Claimed(None), false);
        let pending = self.pending.entry(name.clone()).or_insert_with(unknown);
        if matches!(pending.held, Held::Nothing) {
            pending.held = Held::Claimed(None);
        }
    }

    /// The snapshot says something else of the name than `old` did.
    pub(super) fn differs(&mut self, name: &Arc<str>, old: &View) {
        if self.is_on_roll(name) {
            return;
        }
        let held = || match old.is_untouched(self.kind, name) {
            true => Pending::new(Held::Claimed(None), false),
            false => Pending::new(Held::of(old.get(self.kind, name)), false),
        };
        self.pending.entry(name.clone()).or_insert_with(held);
    }

    /// The client does not want the name any more.
    pub(super) fn forget(&mut self, name: &str, snapshot: &View) {
        self.missed.remove(name);
        let held = match self.pending.remove(name) {
            Some(pending) => pending.held,
            None => Held::of(snapshot.get(self.kind, name)),
        };
        if let Held::Sent(resource) = held {
            self.told.take(&resource);
        }
    }

    /// The client wants only these names from now on.
    pub(super) fn keep(&mut self, names: &NameSet, snapshot: &View) {
        self.pending.retain(|name, _| names.contains(name));
        self.missed.retain(|name| names.contains(name));
        self.told = Digest::default();
        for name in names.iter() {
            let held = match self.pending.get(name) {
                Some(pending) => pending.held.clone(),
                None => Held::of(snapshot.get(self.kind, name)),
            };
            if let Held::Sent(resource) = held {
                self.told.add(&resource);
            }
        }
    }

    /// The client has been told what the snapshot says of the name. Returns what it had been told before.
    pub(super) fn settle(&mut self, name: &str, snapshot: &View) -> Option<Arc<Resource>> {
        let before = match self.pending.remove(name) {
            Some(Pending { held: Held::Sent(resource), .. }) => Some(resource),
            _ => None,
        };
        before.iter().for_each(|resource| self.told.take(resource));
        if let Some(resource) = snapshot.get(self.kind, name) {
            self.told.add(resource);
            self.missed.remove(name);
        }
        before
    }

    /// The client has rejected what it was told of a name last: it goes again, or the client holds what it held before.
    pub(super) fn take_back(&mut self, returned: &Returned, snapshot: &View) {
        let name = returned.sent.name();
        if returned.again {
            if snapshot.get(self.kind, name).is_none() && !returned.is_applied() {
                self.mistrust(name);
            }
            return self.force(name, true, snapshot);
        }
        let held = match &returned.before {
            Before::Form(form) => Held::Sent(form.clone()),
            Before::Nothing => Held::Nothing,
            Before::Unknown => Held::Claimed(None),
        };
        self.told.take(&returned.sent);
        if let Held::Sent(form) = &held {
            self.told.add(form);
        }
        self.replace(name, held);
    }

    /// Nobody knows whether the client holds what it was told of a name: should that come back, it is not what it has accepted.
    fn mistrust(&mut self, name: &Arc<str>) {
        if let Some(Pending { held: Held::Sent(told), .. }) = self.pending.get(name) {
            self.told.take(told);
        }
        self.replace(name, Held::Claimed(None));
    }

    /// The client turns out to hold something else of a name than it was taken to: whether that goes is as it was.
    fn replace(&mut self, name: &Arc<str>, held: Held) {
        let pending = self.pending.entry(name.clone()).or_insert(Pending::new(Held::Nothing, false));
        pending.held = held;
    }

    /// The client holds this, of which it was taken to hold nothing.
    pub(super) fn found(&mut self, form: &Arc<Resource>, snapshot: &View) {
        if self.last_told(form.name(), snapshot).is_some() {
            return;
        }
        self.told.add(form);
        self.replace(form.name(), Held::Sent(form.clone()));
    }

    /// What the client held of a name before it is settled.
    pub(super) fn before(&self, name: &str) -> Option<Before> {
        match &self.pending.get(name)?.held {
            Held::Nothing => None,
            Held::Claimed(_) => Some(Before::Unknown),
            Held::Sent(form) => Some(Before::Form(form.clone())),
        }
    }

    /// The names about which there may be something to say; none where that is a whole roll.
    pub(super) fn names(&self) -> Option<impl Iterator<Item = &Arc<str>>> {
        self.roll.is_none().then(|| self.pending.keys())
    }

    /// Whether the client states to hold that version of a name from an earlier stream.
    pub(super) fn is_claimed(&self, name: &str, version: Version) -> bool {
        matches!(self.pending.get(name), Some(Pending { held: Held::Claimed(Some(held)), .. }) if *held == version)
    }

    /// What the client was last told of a name; none if nothing was said of it on this stream.
    pub(super) fn last_told<'a>(&'a self, name: &str, snapshot: &'a View) -> Option<&'a Arc<Resource>> {
        match self.pending.get(name).map(|pending| &pending.held) {
            Some(Held::Sent(resource)) => Some(resource),
            Some(Held::Nothing | Held::Claimed(_)) => None,
            None if self.is_on_roll(name) => None,
            None => snapshot.get(self.kind, name),
        }
    }

    /// What the client was told of a name that goes only because it says something else now.
    pub(super) fn told_before(&self, name: &str) -> Option<&Arc<Resource>> {
        match self.pending.get(name) {
            Some(Pending { held: Held::Sent(resource), force: false, .. }) => Some(resource),
            _ => None,
        }
    }

    /// Whether the client neither was told of a name nor states to hold what the snapshot says of it.
    pub(super) fn is_unknown(&self, name: &str, snapshot: &View) -> bool {
        let current = || snapshot.get(self.kind, name).map(|resource| resource.version());
        match self.pending.get(name).map(|pending| &pending.held) {
            Some(Held::Nothing) => true,
            Some(Held::Claimed(version)) => *version != current(),
            Some(Held::Sent(_)) => false,
            None => self.is_on_roll(name),
        }
    }

    /// What the client was told of names about which there is something new to say.
    pub(super) fn outdated(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.pending.values().filter_map(|pending| match &pending.held {
            Held::Sent(resource) => Some(resource),
            Held::Nothing | Held::Claimed(_) => None,
        })
    }

    /// Sorts the names by what has to be said about them, and settles those about which there is nothing to say.
    pub(super) fn sort(&mut self, snapshot: &View, counters: &mut Counters) -> Work {
        let mut work = Work::default();
        let mut settled = Vec::new();
        for (name, pending) in &self.pending {
            match self.due(name, pending, snapshot) {
                Due::Later => {}
                Due::Nothing => settled.push(name.clone()),
                Due::Gone(Absence::Silence) if self.kind == Kind::Secret => settled.push(name.clone()),
                Due::Absent(Absence::Silence) => {
                    counters.missing_secrets += 1;
                    settled.push(name.clone());
                }
                Due::Add(resource) => work.added.push(resource),
                Due::Absent(absence) => work.absent.push((name.clone(), absence)),
                Due::Gone(absence) => work.gone.push((name.clone(), absence)),
            }
        }
        for name in settled {
            let missed = snapshot.get(self.kind, &name).is_none() && self.is_awaited(&name);
            self.settle(&name, snapshot);
            self.missed.extend(missed.then_some(name));
        }
        work
    }

    fn due(&self, name: &str, pending: &Pending, snapshot: &View) -> Due {
        let absence = || Absence::of(self.kind, self.wire, name);
        match (snapshot.get(self.kind, name), &pending.held) {
            (Some(resource), held) if pending.force || held.version() != Some(resource.version()) => {
                Due::Add(resource.clone())
            }
            (Some(_), _) => Due::Nothing,
            (None, _) if snapshot.is_awaited(self.kind, name) => Due::Later,
            (None, _) if snapshot.is_barred(self.kind, name) => Due::Nothing,
            (None, Held::Nothing) if pending.force => Due::Absent(absence()),
            (None, Held::Nothing) => Due::Nothing,
            (None, _) if snapshot.goes_with_its_owner(self.kind, name) => Due::Gone(Absence::Silence),
            (None, _) => Due::Gone(absence()),
        }
    }

    /// What lingers was sent with a whole set, and needs not be sent again should it come back.
    pub(super) fn calm(&mut self, snapshot: &View) {
        let gone = self
            .pending
            .iter_mut()
            .filter(|(name, pending)| matches!(pending.held, Held::Sent(_)) && snapshot.get(self.kind, name).is_none());
        gone.for_each(|(_, pending)| pending.force = false);
    }

    /// What the client holds, is gone, and has not been taken away yet.
    pub(super) fn lingering(&self, snapshot: &View) -> impl Iterator<Item = &Arc<Resource>> {
        self.pending.iter().filter_map(|(name, pending)| match &pending.held {
            Held::Sent(resource) if snapshot.get(self.kind, name).is_none() => Some(resource),
            _ => None,
        })
    }
}
