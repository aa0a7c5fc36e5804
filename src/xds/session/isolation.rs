//! What a session does about a rejection: tells the quarantine, takes back what the client turns out not to hold, and looks
//! anew at what it is to be told.

use super::view::View;
use super::{Outcome, Session};
use crate::snapshot::kind::Kind;
use crate::snapshot::set::Snapshot;
use crate::xds::quarantine::{Nack, Returned};
use crate::xds::request::{Request, Wire};
use std::time::Instant;

impl Session {
    /// Takes an answer; what was rejected together with something else goes out again without it.
    pub(super) fn isolate(&mut self, kind: Kind, request: &Request, outcome: Outcome, now: Instant) {
        let Ok(nonce) = request.nonce.parse() else { return };
        let late = outcome == Outcome::Stale;
        match &request.error {
            // In SotW the nonce of a response comes again with later requests; the first is the answer.
            None if outcome == Outcome::Ack || late => match self.quarantine.doubts(kind, nonce) {
                Some(reason) => self.disbelieve(kind, nonce, &reason, now),
                None => {
                    let held = self.quarantine.on_ack(kind, nonce, now);
                    self.tracks[kind as usize].hold(&held, &self.view);
                }
            },
            Some(message) if outcome == Outcome::Nack || late => self.reject(kind, nonce, message, now),
            _ => {}
        }
    }

    /// The client rejected the same bytes before, and accepts them unread.
    fn disbelieve(&mut self, kind: Kind, nonce: u64, reason: &str, now: Instant) {
        self.reject(kind, nonce, reason, now);
        self.tracks[kind as usize].has_not_accepted();
    }

    fn reject(&mut self, kind: Kind, nonce: u64, message: &str, now: Instant) {
        let track = &mut self.tracks[kind as usize];
        let came = self.wire == Wire::Sotw && track.came;
        let mut consequence = self.quarantine.on_nack(&Nack { kind, nonce, message, came }, &self.view, now);
        let kept = consequence.returned.iter_mut().filter(|returned| {
            self.view.is_kept_as(kind, returned.sent.name(), returned.sent.version()) && !returned.is_applied()
        });
        kept.for_each(Returned::give_up);
        track.take_back(&consequence.returned, &self.view);
        consequence.unsaid.iter().for_each(|name| track.repeat(name, &self.view));
        let refused = consequence.returned.iter().filter(|returned| !returned.again);
        refused.for_each(|returned| self.let_go(kind, returned));
        if let Some(culprits) = consequence.apart {
            self.gate.on_accepted_but(kind, nonce, &culprits);
        }
    }

    /// What the gate keeps in a form that was rejected it keeps in that form no more: it is not what will be told next, so
    /// that nothing else would bar it, and it would be sent again for ever.
    fn let_go(&mut self, kind: Kind, returned: &Returned) {
        let refused = &returned.sent;
        let told = self.tracks[kind as usize].last_told(refused.name(), &self.view).cloned();
        let told = told.filter(|told| told.version() != refused.version());
        self.gate.on_refused(refused, told.as_ref());
        if self.view.is_kept_as(kind, refused.name(), refused.version()) {
            self.view.keep(kind, refused.name(), told);
        }
    }

    /// The newest snapshot but for what is barred. What is barred no more goes again where the client may hold
    /// either form of it.
    pub(super) fn without_rejected(&mut self, newest: Snapshot, now: Instant) -> View {
        let (barriers, released) = self.quarantine.barriers(&newest, now);
        for (kind, name) in released {
            let told = self.view.get(kind, &name).is_some() && newest.get(kind, &name).is_some();
            if told || self.view.is_untouched(kind, &name) {
                self.tracks[kind as usize].repeat(&name, &self.view);
            }
        }
        View::new(newest, barriers, self.is_gated())
    }

    /// A search whose next step has nothing to send must not wait for an answer.
    pub(super) fn skip_idle_searches(&mut self) {
        let kinds: Vec<_> = self.idle_searches().collect();
        kinds.into_iter().for_each(|kind| self.quarantine.skip(kind));
    }

    /// The kinds of such searches.
    pub(super) fn idle_searches(&self) -> impl Iterator<Item = Kind> {
        self.quarantine.searched().filter(|kind| {
            let track = &self.tracks[*kind as usize];
            track.is_idle(&self.view) && track.in_flight_since().is_none()
        })
    }
}
