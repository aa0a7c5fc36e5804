//! The protocol without I/O: requests, snapshots and time come in, responses come out, one at a time.
//!
//! A session never says what changed: it holds the newest snapshot and, per type, the names about which the client's
//! state differs from it. Whoever polls late skips states and loses nothing. No request, in any order, makes it panic
//! or grow without bound.

mod backlog;
mod first;
mod isolation;
pub mod lacking;
pub mod rejection;
pub mod status;
mod stranded;
pub mod track;
pub mod unsettled;
pub mod view;

use super::gate::{self, Gate, Options, Sent};
use super::quarantine::{Flight, Quarantine};
use super::refusal::Refusal;
use super::request::{Names, Request, Wire};
use super::response::Response;
use super::subscription::WILDCARD;
use crate::snapshot::interest::Interest;
use crate::snapshot::kind::Kind;
use crate::snapshot::set::Snapshot;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use stranded::{AWAITED, Stranded};
use track::{Batch, Phase, Track};
use view::View;

/// How long an unanswered response holds back the next of its type: Envoy withholds every ACK of clusters while any
/// cluster warms, and what waits may be the cure.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// How many names of one type a stream may ask for.
pub const MAX_NAMES: usize = 100_000;
/// How long a resource name may be, in bytes.
pub const MAX_NAME: usize = 1024;
/// How many times in a row what is held back or stays is looked at: routes go with their listener, and clusters with their routes.
const LOOKS: usize = 4;
/// How many types that aren't served are remembered, so that each is counted once.
const MAX_UNKNOWN_TYPES: usize = 32;

/// How a request was understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The first of its type on the stream.
    Init,
    /// Accepts the response in flight.
    Ack,
    /// Rejects the response in flight.
    Nack,
    /// Answers a response that is no longer the newest.
    Stale,
    /// Answers nothing; it may change the subscription.
    Change,
}

impl Outcome {
    /// A short word for metrics and logs.
    pub fn short(self) -> &'static str {
        match self {
            Outcome::Init => "init",
            Outcome::Ack => "ack",
            Outcome::Nack => "nack",
            Outcome::Stale => "stale",
            Outcome::Change => "change",
        }
    }
}

/// What a request was: for metrics and logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// The request's type; none for a type that is not served.
    pub kind: Option<Kind>,
    /// How it was understood.
    pub outcome: Outcome,
    /// For an ACK of a response that carried a change: the time since the change was seen.
    pub change_to_ack: Option<Duration>,
}

/// What happened on a stream that is worth counting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Requests that answer a response that is no longer the newest.
    pub stale: u64,
    /// Those of them that reject it.
    pub late_rejections: u64,
    /// Requests whose node differs from the first.
    pub node_mismatches: u64,
    /// Types asked for that are not served.
    pub unknown_types: u64,
    /// Secrets asked for that do not exist.
    pub missing_secrets: u64,
    /// Whether the client, left warming by an earlier stream, was sent again what it asked for.
    pub stranded: u64,
    /// Reconnects that list every known cluster by name, as Envoy did before 1.19: such a client hears of no new ones.
    pub clusters_by_name: u64,
    /// Virtual hosts and listeners sent although the client had not accepted the clusters they name in time.
    pub overdue: u64,
    /// Updates of large resources that waited until the one before was paid for.
    pub paced: u64,
    /// Names that were looked at to find out what is held back, or is gone and stays.
    pub looks: u64,
}

impl Counters {
    /// What should not happen, by its name in metrics, and how often it did.
    pub fn anomalies(&self) -> [(&'static str, u64); 5] {
        [
            ("late_rejection", self.late_rejections),
            ("node_mismatch", self.node_mismatches),
            ("clusters_by_name", self.clusters_by_name),
            ("missing_secret", self.missing_secrets),
            ("overdue", self.overdue),
        ]
    }
}

/// A first request whose names wait to be looked up until there is a snapshot.
#[derive(Debug)]
struct Early {
    kind: Kind,
    names: Names,
    warming: bool,
}

/// One stream's protocol state.
#[derive(Debug)]
pub struct Session {
    wire: Wire,
    tracks: [Track; Kind::ALL.len()],
    /// What the client is to be told.
    view: View,
    quarantine: Quarantine,
    gate: Gate,
    /// Whether a snapshot has arrived; nothing is answered before.
    ready: bool,
    /// First requests that came before.
    early: Vec<Early>,
    node_id: Option<String>,
    /// The nonce of the newest response: a counter per stream, so that no two responses share one.
    nonce: u64,
    unknown_types: BTreeSet<String>,
    stranded: Stranded,
    /// How long a client may be left warming.
    patience: Duration,
    counters: Counters,
    lacking: lacking::Memo,
}

impl Session {
    /// A session of a stream that has just opened.
    pub fn new(wire: Wire) -> Self {
        Self::with(wire, Options::default())
    }

    /// The same with other times to wait.
    pub fn with(wire: Wire, options: Options) -> Self {
        Self {
            wire,
            tracks: Kind::ALL.map(|kind| Track::new(kind, wire, options.pace)),
            view: View::default(),
            quarantine: Quarantine::new(wire),
            gate: Gate::new(wire, options),
            ready: false,
            early: Vec::new(),
            node_id: None,
            nonce: 0,
            unknown_types: BTreeSet::new(),
            stranded: Stranded::default(),
            patience: options.left_warming,
            counters: Counters::default(),
            lacking: lacking::Memo::default(),
        }
    }

    /// Takes a request. None: there is nothing to count about it. An error ends the stream.
    pub fn on_request(&mut self, request: &Request, now: Instant) -> Result<Option<Received>, Refusal> {
        self.identify(request)?;
        self.lacking.forget();
        if request.type_url.is_empty() {
            return Err(Refusal::NoType);
        }
        let Some(kind) = Kind::from_type_url(&request.type_url) else {
            return Ok(self.on_unknown_type(&request.type_url));
        };
        check_names(kind, &request.names)?;
        // Clients ask for endpoints and secrets before clusters only when they were left warming by an earlier stream.
        let warming = AWAITED.contains(&kind) && !self.track(Kind::Cluster).is_asked();
        self.stranded.on_asked(kind, now, self.patience);
        // It holds clusters, whatever it states: it withholds its answer while one warms.
        self.tracks[Kind::Cluster as usize].came |= warming;
        // Of what it never accepted as a whole it states nothing, and may hold a part.
        let came = request.stated && !self.track(kind).is_asked();
        self.tracks.iter_mut().for_each(|track| track.came |= came);
        let track = &mut self.tracks[kind as usize];
        let received = track.answer(request, now);
        let waiting = track.waiting();
        let first = received.outcome == Outcome::Init;
        if first && !self.ready {
            track.expect();
            self.early.push(Early { kind, names: request.names.clone(), warming });
        } else {
            self.catch_up(Some(kind))?;
            self.subscribe(kind, &request.names, first, warming)?;
        }
        let track = &mut self.tracks[kind as usize];
        if received.outcome == Outcome::Init || track.waiting() != waiting {
            track.desired_at = Some(now);
        }
        let reconnects = received.outcome == Outcome::Init && kind == Kind::Cluster;
        self.counters.clusters_by_name += u64::from(reconnects && lists_what_it_holds(&request.names));
        self.answered(kind, &request.nonce, received.outcome, request.error.is_none(), now);
        if received.outcome == Outcome::Stale {
            self.counters.stale += 1;
            self.counters.late_rejections += u64::from(request.error.is_some());
        }
        self.isolate(kind, request, received.outcome, now);
        // What is on its way to who was not known to want all clusters waits for them now.
        let begins = self.ready && self.is_gated() && !self.view.is_gated();
        if begins || self.quarantine.is_due(now) {
            self.look(self.view.newest().clone(), None, now);
        }
        Ok(Some(received))
    }

    fn subscribe(&mut self, kind: Kind, names: &Names, first: bool, warming: bool) -> Result<(), Refusal> {
        if !first && matches!(names, Names::Change { .. }) && names.is_empty() {
            // It only answers.
            return Ok(());
        }
        let less = self.apply(kind, names, first, warming)?;
        if less {
            // What it does not want any more names nothing.
            self.gate.stir();
        }
        let track = &mut self.tracks[kind as usize];
        let again = self.quarantine.keep(kind, less, |name| track.subscription.covers(name));
        // In SotW the next set says what is there.
        again.iter().filter(|_| self.wire == Wire::Delta).for_each(|name| track.doubt(name));
        Ok(())
    }

    /// Applies first requests that came before there was a snapshot: those of a kind, or all.
    fn catch_up(&mut self, kind: Option<Kind>) -> Result<(), Refusal> {
        let due = self.early.extract_if(.., |early| kind.is_none_or(|kind| early.kind == kind));
        let due: Vec<_> = due.collect();
        due.into_iter().try_for_each(|Early { kind, names, warming }| self.apply(kind, &names, true, warming).map(drop))
    }

    /// Applies the names of a request. Returns whether the client does not want all that it wanted before.
    fn apply(&mut self, kind: Kind, names: &Names, first: bool, warming: bool) -> Result<bool, Refusal> {
        let track = &mut self.tracks[kind as usize];
        if first {
            track.distrust(self.quarantine.unsettled(kind).found(names.stated()));
        }
        track.subscribe(names, first, warming, &self.view)
    }

    /// The first node is kept; a later one may be left out, and can't change who the stream belongs to.
    fn identify(&mut self, request: &Request) -> Result<(), Refusal> {
        let id = request.node.as_ref().map(|node| node.id.as_str()).filter(|id| !id.is_empty());
        match (&self.node_id, id) {
            (None, None) => return Err(Refusal::NoNode),
            (None, Some(id)) => self.node_id = Some(id.to_owned()),
            (Some(first), Some(id)) if first != id => self.counters.node_mismatches += 1,
            (Some(_), _) => {}
        }
        Ok(())
    }

    fn on_unknown_type(&mut self, type_url: &str) -> Option<Received> {
        let room = self.unknown_types.len() < MAX_UNKNOWN_TYPES && type_url.len() <= MAX_NAME;
        if !room || !self.unknown_types.insert(type_url.to_owned()) {
            return None;
        }
        self.counters.unknown_types += 1;
        Some(Received { kind: None, outcome: Outcome::Init, change_to_ack: None })
    }

    /// Tells the gate of an answer. In Delta a late one still says that what the response carried was accepted or rejected;
    /// in SotW the nonce of a rejected response comes again with later requests, so that a late ACK says nothing, and a
    /// later set is answered for all that is in it.
    fn answered(&mut self, kind: Kind, nonce: &str, outcome: Outcome, accepted: bool, now: Instant) {
        let is_telling = self.wire == Wire::Delta || !(accepted || kind.is_whole_set());
        let counts = matches!(outcome, Outcome::Ack | Outcome::Nack) || (outcome == Outcome::Stale && is_telling);
        if let (true, Ok(nonce)) = (counts, nonce.parse()) {
            let later = |name: &str| self.quarantine.carried_after(kind, nonce, name);
            self.gate.on_answer(kind, nonce, accepted, now, later);
        }
    }

    /// Takes the newest snapshot. Costs in proportion to what differs from the last.
    pub fn on_snapshot(&mut self, snapshot: Snapshot, now: Instant) {
        let since = snapshot.since.filter(|_| self.ready);
        self.look(snapshot, since, now);
        self.ready = true;
        self.catch_up(None).expect("a first request has no more names than are allowed");
        self.view.set_gated(self.is_gated());
    }

    /// Whether the client is told of what goes away, and of what names something new, in order: it wants all clusters, or
    /// is about to, for it was left warming and asks for them last.
    fn is_gated(&self) -> bool {
        self.track(Kind::Cluster).is_wildcard() || self.stranded.is_left()
    }

    /// How many proxies are connected: what is sent to one is sent to all.
    pub fn on_company(&mut self, proxies: usize) {
        self.tracks.iter_mut().for_each(|track| track.pace.proxies = proxies);
    }

    /// Finds out what the client is to be told now, and notes what differs from before.
    fn look(&mut self, newest: Snapshot, since: Option<Instant>, now: Instant) {
        self.lacking.forget();
        let view = self.without_rejected(newest, now);
        let mut view = self.gate.clusters(view, &self.view, &self.tracks, now);
        let (clusters, rest) = Kind::ALL.split_first().expect("clusters are the first kind");
        self.tracks[*clusters as usize].compare(&self.view, &view, since, now);
        self.gate.units(&mut view, &self.view, &self.tracks, now);
        for kind in rest {
            self.tracks[*kind as usize].compare(&self.view, &view, since, now);
        }
        self.view = view;
    }

    /// What the stream wants to hear of.
    pub fn interest(&self) -> Interest {
        Interest::new(|kind| self.track(kind).wanted())
    }

    /// The next response to send, if any. Additions go in the order of [`Kind::ALL`], removals after all of them.
    pub fn poll(&mut self, now: Instant) -> Option<Response> {
        let response = self.next(now);
        let quiet = self.tracks.iter_mut().fold(false, |quiet, track| track.went_quietly() | quiet);
        if response.is_some() {
            return response;
        }
        // Nothing was left of what was to be tried, perhaps.
        self.skip_idle_searches();
        if quiet {
            self.gate.stir();
        }
        (quiet || self.quarantine.is_due(now)).then(|| self.next(now)).flatten()
    }

    fn next(&mut self, now: Instant) -> Option<Response> {
        self.skip_idle_searches();
        // What one look finds to be over may end what stays for its sake.
        for _ in 0..LOOKS {
            if self.gate.is_due(now) || self.quarantine.is_due(now) {
                self.look(self.view.newest().clone(), None, now);
            }
        }
        self.tracks.iter_mut().for_each(|track| track.age(now));
        if self.stranded.runs_out(now) {
            self.counters.stranded += 1;
            AWAITED.into_iter().for_each(|kind| self.tracks[kind as usize].renew_all(&self.view));
        }
        // Clients that answer at once would otherwise be sent one part of the clusters after the other, and nothing else.
        let between = self.track(Kind::Cluster).pace.midway.then_some(Kind::Endpoint);
        let mut kinds = between.into_iter().chain(Kind::ALL);
        kinds.find_map(|kind| self.send(kind, Phase::Add, now)).or_else(|| {
            gate::may_remove(&self.tracks, now).then_some(())?;
            gate::REMOVALS.into_iter().find_map(|kind| self.send(kind, Phase::Remove, now))
        })
    }

    fn send(&mut self, kind: Kind, phase: Phase, now: Instant) -> Option<Response> {
        let track = &mut self.tracks[kind as usize];
        let batch = track.take(phase, now, &self.view, &mut self.counters)?;
        self.nonce += 1;
        self.lacking.on_sent(kind);
        let version = track.sent(self.nonce, now);
        if phase == Phase::Remove {
            self.tracks.iter_mut().for_each(|track| track.wait_anew(now));
        }
        let sent = Sent {
            kind,
            nonce: self.nonce,
            roll: batch.roll.as_deref(),
            is_first: batch.is_first,
            resources: &batch.resources,
            changed: &batch.changed,
            outdated: &batch.outdated,
        };
        self.gate.on_sent(sent, &self.view, &self.tracks, now);
        self.renew_children(&batch);
        let Batch { roll, is_first, resources, removed, changed, before, absent, awaited, .. } = batch;
        let first = roll.clone().filter(|_| is_first);
        let mut flight = Flight::new(self.nonce, changed, before).on_roll(first).without(absent).for_owners_of(awaited);
        if self.wire == Wire::Sotw && kind.is_whole_set() {
            let track = &self.tracks[kind as usize];
            self.quarantine.leave_out(&mut flight, kind, |name| track.last_told(name, &self.view).is_some());
        }
        self.quarantine.on_sent(kind, flight, now);
        Some(Response { kind, nonce: self.nonce, version, roll, resources, removed })
    }

    /// Endpoints and secrets follow their owner, changed or not: Envoy warms a changed cluster until its endpoints are
    /// sent again, but does not ask for them again.
    fn renew_children(&mut self, batch: &Batch) {
        if let Some(owners) = batch.roll.as_deref().filter(|_| batch.is_first) {
            AWAITED.into_iter().for_each(|kind| self.tracks[kind as usize].renew_named_by(owners, &self.view));
        }
        // Route configurations have thousands of references, all of them to clusters.
        let owners = batch.changed.iter().filter(|resource| resource.kind() != Kind::Route);
        for child in owners.flat_map(|resource| resource.refs()) {
            if AWAITED.contains(&child.kind) {
                self.tracks[child.kind as usize].renew(&child.name, &self.view);
            }
        }
    }

    /// Whether [`Session::poll`] may have something to say before its deadline.
    pub fn has_more(&self) -> bool {
        let works = self.gate.is_stirred() || self.tracks.iter().any(Track::has_work);
        self.ready && (works || self.idle_searches().next().is_some())
    }

    /// When [`Session::poll`] has to be called again although nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = self.tracks.iter().any(Track::has_work);
        let times = self.tracks.iter().filter_map(|track| track.ages_at().or(gate::impatient_at(track)));
        let next = waits.then(|| times.min()).flatten();
        let pace = self.tracks.iter().filter_map(Track::paces_at).min();
        let others = [self.stranded.deadline(), self.gate.deadline(), self.quarantine.deadline(), pace];
        others.into_iter().chain([next]).flatten().min().filter(|_| self.ready)
    }

    /// What happened on the stream so far.
    pub fn counters(&self) -> Counters {
        let paced = self.tracks.iter().map(|track| track.pace.waited).sum();
        let (overdue, looks) = (self.gate.overdue(), self.quarantine.looks() + self.gate.looks());
        Counters { overdue, paced, looks, ..self.counters }
    }

    fn track(&self, kind: Kind) -> &Track {
        &self.tracks[kind as usize]
    }
}

/// Whether a first request names clusters, not all of them, and states to hold some.
fn lists_what_it_holds(names: &Names) -> bool {
    match names {
        Names::All(_) => false,
        Names::Change { subscribe, initial, .. } => {
            !initial.is_empty() && !subscribe.is_empty() && !subscribe.iter().any(|name| name == WILDCARD)
        }
    }
}

/// Bounds what one request can make the session remember.
fn check_names(kind: Kind, names: &Names) -> Result<(), Refusal> {
    let length = names.longest();
    if length > MAX_NAME {
        return Err(Refusal::NameTooLong { kind, length, limit: MAX_NAME });
    }
    let count = match names {
        Names::All(names) => names.len(),
        Names::Change { subscribe, initial, .. } => subscribe.len().max(initial.len()),
    };
    if count > MAX_NAMES { Err(Refusal::TooManyNames { kind, count, limit: MAX_NAMES }) } else { Ok(()) }
}
