//! Make before break: when what is new may be named, and when what goes away may go.
//!
//! Clusters, endpoints and secrets go at once. A unit, which is a virtual host or a whole listener, keeps its last form
//! until the client has accepted every cluster its new form names; a cluster stays until nothing the client may still use
//! names it. The gate says so by exceptions in the [`View`]; it keeps what is in transition and nothing else, and every
//! wait has an end. Only streams are gated that want all clusters, or are about to ask for them, since the client was left
//! warming: others learn of a cluster from the route.

mod lingering;
mod pins;

use super::pace;
use super::request::Wire;
use super::session::track::Track;
use super::session::view::View;
use crate::snapshot::kind::Kind;
use crate::snapshot::names::NameSet;
use crate::snapshot::resource::{Ref, Resource};
use crate::snapshot::roll::Roll;
use lingering::{Lingering, NAMERS};
use pins::Pins;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use pins::Wait;

/// The order of removals: a parent before what it names.
pub const REMOVALS: [Kind; 4] = [Kind::Listener, Kind::Route, Kind::Cluster, Kind::Endpoint];

/// How long a removal waits at most, on a stream so busy that something is always in flight.
const PATIENCE: Duration = Duration::from_secs(5);

/// In place of the response that carried a name: it was rejected.
const REJECTED: u64 = u64::MAX;

/// How long things wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How long a unit waits for clusters it names; then it is sent all the same. 15 s by default.
    pub hold: Duration,
    /// How long a cluster stays after the routes without it were accepted. 5 s by default.
    pub route_linger: Duration,
    /// How long a cluster stays after the listeners without it were accepted: Envoy's drain time, in which the old ones
    /// serve their connections, and 5 s. 605 s by default.
    pub listener_linger: Duration,
    /// How long a client may ask for endpoints or secrets without asking for clusters, before all it asked for is sent again. 30 s
    /// by default.
    pub left_warming: Duration,
    /// How updates of what is large wait for each other.
    pub pace: pace::Options,
}

/// Envoy's drain time where `--drain-time-s` does not say another.
const DRAIN: Duration = Duration::from_secs(600);

impl Options {
    /// The defaults for Envoys whose listeners drain that long.
    pub fn draining(time: Duration) -> Self {
        let route_linger = Duration::from_secs(5);
        Self {
            hold: Duration::from_secs(15),
            route_linger,
            listener_linger: time.saturating_add(route_linger),
            left_warming: Duration::from_secs(30),
            pace: pace::Options::default(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::draining(DRAIN)
    }
}

/// One stream's gate.
#[derive(Debug)]
pub(super) struct Gate {
    wire: Wire,
    /// Names sent and in no form accepted yet, and the first response that carried each.
    fresh: [BTreeMap<Arc<str>, u64>; Kind::ALL.len()],
    /// The same for what went as one: the response, and its names.
    fresh_rolls: [Option<(u64, NameSet)>; Kind::ALL.len()],
    pins: Pins,
    lingering: Lingering,
    /// Whether something happened that may end a wait.
    stirred: bool,
}

impl Gate {
    pub(super) fn new(wire: Wire, options: Options) -> Self {
        let (pins, lingering) = (Pins::new(options), Lingering::new(options));
        Self { wire, fresh: Default::default(), fresh_rolls: Default::default(), pins, lingering, stirred: false }
    }

    /// A view without exceptions of the gate's, with the clusters that stay for now, and what they name.
    pub(super) fn clusters(&mut self, mut view: View, old: &View, tracks: &[Track], now: Instant) -> View {
        self.stirred = false;
        if view.is_gated() {
            let named = self.pins.clusters();
            self.stirred = self.lingering.keep(&mut view, old, tracks, &named, now);
        } else {
            self.lingering.clear();
        }
        view
    }

    /// Adds to a view of [`Gate::clusters`] the units that keep their last form; `tracks` know its clusters already.
    pub(super) fn units(&mut self, view: &mut View, old: &View, tracks: &[Track], now: Instant) {
        if !view.is_gated() {
            return self.pins.clear();
        }
        let is_idle = NAMERS.into_iter().all(|kind| tracks[kind as usize].outdated().next().is_none());
        if is_idle && self.pins.is_empty() && NAMERS.into_iter().all(|kind| view.is_as_in(old, kind)) {
            return;
        }
        let idle = Pins::new(self.pins.options);
        let mut pins = std::mem::replace(&mut self.pins, idle);
        let clusters = view.clone();
        let ready = |refs: &[&Ref]| refs.iter().all(|to| self.is_ready(to, &clusters, tracks));
        pins.hold(view, old, tracks, &ready, now);
        self.pins = pins;
        // What stays with a unit may go in another look, once the unit does not stay.
        let stays = |view: &View, kind| view.stays(kind).into_iter().map(|form| form.version()).collect::<Vec<_>>();
        let differs = |kind: Kind| stays(view, kind) != stays(old, kind);
        self.stirred |= !self.lingering.is_empty() && NAMERS.into_iter().any(differs);
    }

    /// Whether nothing has to be waited for before a cluster is named: the client has accepted it in some form, or there is
    /// no such cluster, to be sent now or later.
    fn is_ready(&self, to: &Ref, view: &View, tracks: &[Track]) -> bool {
        if to.kind != Kind::Cluster {
            return true;
        }
        match view.get(to.kind, &to.name) {
            Some(_) => self.is_accepted(to, view, tracks),
            None => {
                let may_lack = tracks[to.kind as usize].is_doubtful(&to.name) && view.is_untouched(to.kind, &to.name);
                !(view.is_withheld(to.kind, &to.name) || may_lack)
            }
        }
    }

    /// Whether the client has accepted a name in some form.
    pub(super) fn is_accepted(&self, to: &Ref, view: &View, tracks: &[Track]) -> bool {
        let of_roll = |(_, names): &(u64, NameSet)| names.contains(&to.name);
        let fresh = self.fresh[to.kind as usize].contains_key(&to.name);
        let fresh = fresh || self.fresh_rolls[to.kind as usize].as_ref().is_some_and(of_roll);
        !fresh && !tracks[to.kind as usize].is_unknown(&to.name, view)
    }

    /// A response was sent: `resources` are all it carries, `outdated` is what the client had been told before of those
    /// it is about.
    pub(super) fn on_sent(&mut self, sent: Sent<'_>, view: &View, tracks: &[Track], now: Instant) {
        let Sent { kind, nonce, roll, is_first, resources, changed, outdated } = sent;
        if let Some(roll) = roll.filter(|_| is_first) {
            self.fresh_rolls[kind as usize] = Some((nonce, roll.names().clone()));
        }
        let known: BTreeSet<_> = outdated.iter().map(|resource| resource.name()).collect();
        let fresh = &mut self.fresh[kind as usize];
        for resource in changed.iter().filter(|resource| !known.contains(resource.name())) {
            fresh.entry(resource.name().clone()).or_insert(nonce);
        }
        for resource in resources {
            fresh.get_mut(resource.name()).filter(|first| **first == REJECTED).into_iter().for_each(|at| *at = nonce);
        }
        for (name, at) in fresh.iter_mut().filter(|(_, first)| **first == REJECTED) {
            if roll.is_some_and(|roll| roll.names().contains(name)) {
                *at = nonce;
            }
        }
        // What is gone and was told may come back before it is answered.
        let is_told = |name: &str| tracks[kind as usize].last_told(name, view).is_some();
        fresh.retain(|name, _| view.get(kind, name).is_some() || is_told(name));
        self.lingering.on_sent(&sent, view, tracks, now);
        self.stirred |= self.is_busy();
    }

    /// A response was accepted or rejected. `later`: the next response that carries a name and is not answered yet.
    pub(super) fn on_answer(
        &mut self,
        kind: Kind,
        nonce: u64,
        accepted: bool,
        now: Instant,
        later: impl Fn(&str) -> Option<u64>,
    ) {
        let whole = self.wire == Wire::Sotw;
        // What was rejected is not accepted with what came after it, unless that carries it too.
        let mark = |(name, first): (&Arc<str>, &mut u64)| *first = later(name).unwrap_or(REJECTED);
        let answered = |first: u64| first == nonce || (whole && first < nonce);
        let fresh = &mut self.fresh[kind as usize];
        let concerned = |first: u64| if accepted { first <= nonce } else { answered(first) };
        let roll = self.fresh_rolls[kind as usize].take_if(|(first, _)| concerned(*first));
        if let Some((_, names)) = roll.filter(|_| !accepted) {
            fresh.extend(names.iter().map(|name| (name.clone(), later(name).unwrap_or(REJECTED))));
        }
        match accepted {
            // What was sent before was answered before, and what was rejected of it is marked.
            true => fresh.retain(|_, first| *first > nonce),
            false => fresh.iter_mut().filter(|(_, first)| answered(**first)).for_each(mark),
        }
        if accepted {
            self.lingering.on_accepted(kind, nonce, now);
        }
        self.stirred |= self.is_busy();
    }

    /// The client has rejected this form of a resource, and was `told` that before, if anything: where the gate keeps the
    /// form, it is not told again.
    pub(super) fn on_refused(&mut self, refused: &Resource, told: Option<&Arc<Resource>>) {
        self.pins.on_refused(refused);
        self.lingering.on_refused(refused, told);
    }

    /// A response was rejected, and the client holds all of it but these.
    pub(super) fn on_accepted_but(&mut self, kind: Kind, nonce: u64, culprits: &BTreeSet<Arc<str>>) {
        let fresh = &mut self.fresh[kind as usize];
        fresh.retain(|name, first| (*first > nonce && *first != REJECTED) || culprits.contains(name));
        self.stirred |= self.is_busy();
    }

    /// Something went without a word: what it named may go.
    pub(super) fn stir(&mut self) {
        self.stirred |= self.is_busy();
    }

    fn is_busy(&self) -> bool {
        !self.pins.is_empty() || !self.lingering.is_empty()
    }

    /// Whether something happened that may end a wait.
    pub(super) fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// Whether the view has to be made anew although the snapshot is the same.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.stirred || self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// When a wait ends by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.pins.deadline(), self.lingering.deadline()].into_iter().flatten().min()
    }

    /// How many names were looked at to find out what stays.
    pub(super) fn looks(&self) -> u64 {
        self.lingering.looks
    }

    /// How many units were sent although the client had not accepted what they name.
    pub(super) fn overdue(&self) -> u64 {
        self.pins.overdue
    }

    /// What waits to be sent, and for which clusters.
    pub(super) fn waits(&self, kind: Kind, view: &View, tracks: &[Track]) -> Vec<Wait> {
        self.pins.waits(kind, &|to| !self.is_ready(to, view, tracks))
    }

    /// What is gone and stays for now.
    pub(super) fn lingers(&self, kind: Kind) -> Vec<Arc<str>> {
        if kind == Kind::Cluster { self.lingering.names() } else { Vec::new() }
    }
}

/// A response that was sent.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) kind: Kind,
    pub(super) nonce: u64,
    pub(super) roll: Option<&'a Roll>,
    /// Whether the client is told what is on the roll for the first time.
    pub(super) is_first: bool,
    pub(super) resources: &'a [Arc<Resource>],
    pub(super) changed: &'a [Arc<Resource>],
    pub(super) outdated: &'a [Arc<Resource>],
}

/// Whether a removal may go now: every response sent so far is answered, or too old to be waited for.
pub(super) fn may_remove(tracks: &[Track], now: Instant) -> bool {
    let impatient = |at| at <= now;
    !tracks.iter().any(Track::is_waiting) || tracks.iter().filter_map(impatient_at).any(impatient)
}

/// When a removal of that type goes, whatever else is in flight.
pub(super) fn impatient_at(track: &Track) -> Option<Instant> {
    track.gone_since().map(|since| since + PATIENCE)
}
