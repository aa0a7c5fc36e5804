//! What a workload takes, port by port: what the PeerAuthentications that apply say, as far as its proxy can do it.
//!
//! A proxy that has proven nothing has no certificate. Where nothing but mutual TLS is to be taken it takes nothing.

use super::captured::SPEAKS_FIRST;
use crate::model::audience::Workload;
use crate::model::authentication::{Mode, Modes, PeerAuthentication};
use crate::model::object::Stored;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectRef;
use crate::model::tracked::Tracked;
use crate::translate::unit::Takes;
use std::collections::BTreeSet;

/// What decides.
pub struct Guard {
    policies: Vec<Stored<PeerAuthentication>>,
    modes: Modes,
    certified: bool,
}

impl Guard {
    /// That of a workload.
    pub fn of(world: &Tracked, workload: &Workload) -> Self {
        let policies: Vec<_> = workload.authentication.iter().filter_map(|key| world.authentication(key)).collect();
        Self { modes: Modes::of(&policies), policies, certified: workload.certified }
    }

    /// Whether the workload's proxies hold certificates.
    pub fn is_certified(&self) -> bool {
        self.certified
    }

    /// What is taken on a port.
    pub fn on(&self, port: u16) -> Takes {
        match self.takes(self.modes.on(port)) {
            // Nobody waits for first bytes there, so nothing can be told apart.
            Takes::Both if SPEAKS_FIRST.contains(&port) => Takes::Plain,
            takes => takes,
        }
    }

    /// What is taken on ports of which nothing is said.
    pub fn rest(&self) -> Takes {
        self.takes(self.modes.rest())
    }

    /// The ports of which something else is said than of the rest, ascending.
    pub fn apart(&self) -> impl Iterator<Item = u16> {
        self.modes.apart().map(|(port, _)| port)
    }

    fn takes(&self, mode: Mode) -> Takes {
        match (mode, self.certified) {
            (Mode::Disable, _) | (Mode::Permissive, false) => Takes::Plain,
            (Mode::Permissive, true) => Takes::Both,
            (Mode::Strict, true) => Takes::Mutual,
            (Mode::Strict, false) => Takes::Nothing,
        }
    }

    /// The policies, as far as they shape anything: without a certificate only STRICT does.
    pub fn sources(&self) -> impl Iterator<Item = ObjectRef> {
        let strict = |(_, mode)| mode == Mode::Strict;
        let matters = self.certified || strict((0, self.modes.rest())) || self.modes.apart().any(strict);
        self.policies.iter().filter(move |_| matters).map(Stored::reference)
    }

    /// Says which ports are shut because the proxy has no certificate; `ports`: those there are, `rest`: whether there are
    /// others.
    pub fn shut(&self, ports: &BTreeSet<u16>, rest: bool) -> Option<Problem> {
        let shut: Vec<_> = ports.iter().filter(|port| self.on(**port) == Takes::Nothing).map(u16::to_string).collect();
        let all = rest && self.rest() == Takes::Nothing;
        let which = match (&shut[..], all) {
            ([], false) => return None,
            (_, true) if shut.len() == ports.len() => "any port".to_owned(),
            ([], true) => "ports that no Service leads to".to_owned(),
            (shut, _) => format!("port {}", shut.join(", ")),
        };
        let strict = |policy: &&Stored<PeerAuthentication>| {
            policy.mode == Some(Mode::Strict) || policy.ports.values().any(|mode| *mode == Some(Mode::Strict))
        };
        Some(Problem {
            object: self.policies.iter().rfind(strict)?.key().clone(),
            field: "spec".to_owned(),
            severity: Severity::Warning,
            text: format!(
                "there are proxies here that have not proven who they are and so have no certificate: as STRICT asks for one, \
                 they take nothing on {which}"
            ),
            cause: Cause::Conflict,
        })
    }
}
