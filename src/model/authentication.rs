//! PeerAuthentications: whether a workload takes mutual TLS, plain text, or both; and which of them applies where.
//!
//! Istio's rules: mesh, namespace, workload, port, each standing behind the next; of several on a level the oldest counts.

use super::labels::{Labels, selects};
use super::name::Namespace;
use super::object::{Stored, by_age};
use super::provenance::ObjectRef;
use super::tracked::Tracked;
use std::collections::BTreeMap;

/// A PeerAuthentication.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PeerAuthentication {
    /// `selector`.
    pub selector: Selector,
    /// `mtls.mode`; absent, as UNSET, leaves it to the level behind.
    pub mode: Option<Mode>,
    /// `portLevelMtls`, by the workload's own port; absent modes leave it to the level behind.
    pub ports: BTreeMap<u16, Option<Mode>>,
}

/// Which workloads a [`PeerAuthentication`] is for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Selector {
    /// All of its namespace; in the root namespace, all of the mesh.
    Everything,
    /// Those of its namespace with these labels, of which there is one at least.
    Labels(Labels),
    /// It can't be read which: all of its namespace, as if each had been selected.
    Unreadable,
}

/// What a workload takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Mode {
    /// Plain text.
    Disable,
    /// Mutual TLS and plain text: where nothing is said.
    #[default]
    Permissive,
    /// Mutual TLS.
    Strict,
}

/// What a workload takes, port by port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Modes {
    rest: Mode,
    /// Only those that differ from the rest.
    ports: BTreeMap<u16, Mode>,
}

impl Modes {
    /// What is taken on a port of the workload.
    pub fn on(&self, port: u16) -> Mode {
        self.ports.get(&port).copied().unwrap_or(self.rest)
    }

    /// What is taken on ports of which nothing is said.
    pub fn rest(&self) -> Mode {
        self.rest
    }

    /// The ports on which something else is taken than on the rest, ascending.
    pub fn apart(&self) -> impl Iterator<Item = (u16, Mode)> {
        self.ports.iter().map(|(port, mode)| (*port, *mode))
    }

    /// What the policies of a workload come to, the widest first.
    pub fn of(policies: &[Stored<PeerAuthentication>]) -> Self {
        let rest = policies.iter().rev().find_map(|policy| policy.mode).unwrap_or_default();
        let own = policies.last().filter(|policy| policy.selector != Selector::Everything);
        let ports = own.iter().flat_map(|policy| &policy.ports);
        let ports = ports.map(|(port, mode)| (*port, mode.unwrap_or(rest))).filter(|(_, mode)| *mode != rest);
        Self { rest, ports: ports.collect() }
    }
}

/// The PeerAuthentications that may apply to workloads of a namespace, looked up once for all of them.
#[derive(Clone, Default, Debug)]
pub struct Policies {
    mesh: Option<Stored<PeerAuthentication>>,
    namespace: Option<Stored<PeerAuthentication>>,
    /// Those that select workloads, oldest first.
    selecting: Vec<Stored<PeerAuthentication>>,
}

impl Policies {
    /// Looks them up. In the root namespace there is only the level of the mesh.
    pub fn of(world: &Tracked, namespace: &Namespace) -> Self {
        let root = &world.mesh().root_namespace;
        let mesh = oldest(world.authentications_in(root));
        if namespace == root {
            return Self { mesh, ..Self::default() };
        }
        let own = world.authentications_in(namespace);
        let mut selecting: Vec<_> =
            own.iter().filter(|policy| policy.selector != Selector::Everything).cloned().collect();
        selecting.sort_by(by_age);
        Self { mesh, namespace: oldest(own), selecting }
    }

    /// Those that apply to a workload with these labels, the widest first: at most one of each level.
    pub fn applying(&self, labels: &Labels) -> Vec<Stored<PeerAuthentication>> {
        let own = self.selecting.iter().find(|policy| policy.selector.covers(labels));
        self.mesh.iter().chain(&self.namespace).chain(own).cloned().collect()
    }

    /// What a workload with these labels takes.
    pub fn modes(&self, labels: &Labels) -> Modes {
        Modes::of(&self.applying(labels))
    }

    /// All of them, for the provenance of what several workloads decide together.
    pub fn references(&self) -> impl Iterator<Item = ObjectRef> {
        self.mesh.iter().chain(&self.namespace).chain(&self.selecting).map(Stored::reference)
    }
}

impl Selector {
    /// Whether a workload with these labels is selected.
    pub fn covers(&self, labels: &Labels) -> bool {
        match self {
            Selector::Everything | Selector::Unreadable => true,
            Selector::Labels(selector) => selects(selector, labels),
        }
    }

    /// Whether there could be a workload that both select: no label has to have two values.
    pub fn may_meet(&self, other: &Selector) -> bool {
        match (self, other) {
            (Selector::Everything, Selector::Everything) => true,
            (Selector::Everything, _) | (_, Selector::Everything) => false,
            (Selector::Labels(labels), Selector::Labels(others)) => {
                labels.iter().all(|(key, value)| others.get(key).is_none_or(|other| other == value))
            }
            _ => true,
        }
    }

    /// Whether every workload that the other one selects is selected by this one, too.
    pub fn covers_all_of(&self, other: &Selector) -> bool {
        match (self, other) {
            (Selector::Everything, Selector::Everything)
            | (Selector::Unreadable, Selector::Unreadable | Selector::Labels(_)) => true,
            (Selector::Labels(_), Selector::Labels(other)) => self.covers(other),
            _ => false,
        }
    }
}

/// The one that counts of those for everything.
fn oldest(policies: Vec<Stored<PeerAuthentication>>) -> Option<Stored<PeerAuthentication>> {
    policies.into_iter().filter(|policy| policy.selector == Selector::Everything).min_by(by_age)
}
