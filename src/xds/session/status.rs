//! What a stream's state looks like from outside: per type what is desired, sent, accepted and rejected.

use super::Session;
use super::rejection::Rejection;
use super::track::Track;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Ref, Version};
use crate::xds::gate::Wait;
use crate::xds::quarantine::{Charge, Charges};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// One type's state on one stream. Versions are those of everything the client wants of the type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeStatus {
    /// The type.
    pub kind: Kind,
    /// Whether the client wants every resource of the type.
    pub wildcard: bool,
    /// How many names it asked for explicitly.
    pub names: usize,
    /// How many names have something waiting to be sent: new to say, held back, or both.
    pub waiting: usize,
    /// The version the client should hold.
    pub desired: Version,
    /// Since when.
    pub desired_at: Option<Instant>,
    /// The version it holds once it has applied everything sent, and when that was sent.
    pub sent: Option<(Version, Instant)>,
    /// The newest version it accepted, and when.
    pub acked: Option<(Version, Instant)>,
    /// The newest version it rejected.
    pub nacked: Option<Rejection>,
    /// When the response was sent that it has not answered yet.
    pub in_flight_since: Option<Instant>,
    /// What is held back, and for which clusters.
    pub held: Vec<Wait>,
    /// What is gone and stays because the client may still use it.
    pub lingering: Vec<Arc<str>>,
    /// What has changed and waits until the update before is paid for.
    pub paced: Vec<Arc<str>>,
    /// What is held back because the client rejected it.
    pub rejected: Vec<Charge>,
    /// Accepted listeners that are not live yet, because a route configuration or secret they name is not accepted.
    pub warming: Vec<Arc<str>>,
}

impl Session {
    /// The state of every type the client has asked for. Costs in proportion to what is waiting to be sent.
    pub fn status(&self) -> Vec<TypeStatus> {
        self.tracks.iter().filter(|track| track.is_asked()).map(|track| self.type_status(track)).collect()
    }

    /// Whether the client asks for endpoints or secrets and, for long, not for clusters: it was left warming.
    pub fn is_stranded(&self) -> bool {
        self.stranded.is_found()
    }

    /// Whether the client has been told everything it asked for and has answered.
    pub fn is_settled(&self) -> bool {
        let settled = |track: &Track| !track.has_work() && track.in_flight_since().is_none();
        self.ready && self.tracks.iter().all(settled)
    }

    /// What is held back because the client rejected it: the same allocation as long as that has not changed; none if it is
    /// nothing.
    pub fn charges(&mut self) -> Option<Arc<Charges>> {
        self.quarantine.all_charges()
    }

    /// The newest rejection of a type.
    pub fn rejection(&self, kind: Kind) -> Option<&Rejection> {
        self.track(kind).nacked.as_ref()
    }

    /// Accepted listeners that still wait for routes or secrets. An accepted listener has its port open only after those.
    pub(super) fn warming(&self, kind: Kind) -> Vec<Arc<str>> {
        let awaited = |to: &Ref| matches!(to.kind, Kind::Route | Kind::Secret) && !self.is_accepted(to);
        let listeners = self.view.iter(Kind::Listener).filter(|_| kind == Kind::Listener);
        let warming = listeners.filter(|listener| {
            let to = Ref { kind, name: listener.name().clone() };
            self.is_accepted(&to) && listener.refs().any(awaited)
        });
        warming.map(|listener| listener.name().clone()).collect()
    }

    /// Whether the client has accepted a name in some form, on this stream.
    pub(super) fn is_accepted(&self, to: &Ref) -> bool {
        let told = self.track(to.kind).last_told(&to.name, &self.view).is_some();
        told && self.gate.is_accepted(to, &self.view, &self.tracks)
    }

    /// What a client holds of secrets that it came with. Of other types it is told that nothing is new, and answers.
    fn came_with(&self, track: &Track) -> Option<(Version, Instant)> {
        let silent = track.kind == Kind::Secret && track.sent.is_none() && !track.has_work();
        Some((track.desired(&self.view), track.desired_at.filter(|_| silent && self.ready)?))
    }

    fn type_status(&self, track: &Track) -> TypeStatus {
        let held = self.gate.waits(track.kind, &self.view, &self.tracks);
        TypeStatus {
            kind: track.kind,
            wildcard: track.subscription.is_wildcard(),
            names: track.subscription.names().len(),
            waiting: track.waiting() + held_only(track, &held),
            desired: track.desired(&self.view),
            desired_at: track.desired_at,
            sent: track.sent,
            acked: track.acked.or_else(|| self.came_with(track)),
            nacked: track.nacked.clone(),
            in_flight_since: track.in_flight_since(),
            held,
            lingering: self.gate.lingers(track.kind),
            paced: track.pace.held().filter(|_| track.has_work()).cloned().collect(),
            rejected: self.quarantine.charges(track.kind).map(|charge| (**charge).clone()).collect(),
            warming: self.warming(track.kind),
        }
    }
}

/// How many names are held back, in one part or several, and have nothing else waiting.
fn held_only(track: &Track, held: &[Wait]) -> usize {
    let names: BTreeSet<&str> = held.iter().map(|wait| &*wait.name).collect();
    names.into_iter().filter(|name| !track.is_pending(name)).count()
}
