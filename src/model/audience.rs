//! Who asks: the facts a proxy states, and the two small values that decide its configuration.
//!
//! [`Audience`] decides the outbound configuration and is shared by thousands of proxies; [`Workload`] decides the thin
//! private layer. Code that takes neither cannot depend on a proxy.

use super::labels::{Labels, selects};
use super::name::{Name, Namespace};
use super::object::Stored;
use super::provenance::{ObjectKey, ObjectKind};
use super::scope::Scope;
use super::sidecar::Sidecar;
use super::tracked::Tracked;
use std::net::{IpAddr, Ipv4Addr};

/// How traffic reaches the proxy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Interception {
    /// Not captured: applications connect to listeners really bound on `bind`, one per service port.
    None {
        /// The address outbound listeners bind to: 127.0.0.1, or node metadata `OUTBOUND_BIND`.
        bind: IpAddr,
    },
}

impl Default for Interception {
    fn default() -> Self {
        Interception::None { bind: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }
}

/// What a proxy states about itself. Everything else about it comes from its Pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProxyFacts {
    /// The Pod's namespace.
    pub namespace: Namespace,
    /// The Pod's name.
    pub pod: Name,
    /// How its traffic is captured.
    pub interception: Interception,
}

/// What decides outbound configuration. Canonical and small; never locality, node or pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Audience {
    /// The proxy's namespace: short names resolve in it.
    pub namespace: Namespace,
    /// How its traffic is captured.
    pub interception: Interception,
    /// The services its Sidecar lets it see.
    pub scope: Scope,
    /// Ports at the address of outbound listeners where the workload itself listens, ascending; empty for nearly all.
    pub taken: Vec<u16>,
}

/// What decides inbound configuration; replicas of a workload share it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Workload {
    /// The workload's namespace.
    pub namespace: Namespace,
    /// The Sidecar that applies to it.
    pub sidecar: Option<Name>,
}

/// One half of a proxy's configuration: what a computation is done for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Subject {
    /// The outbound half.
    Audience(Audience),
    /// The inbound half.
    Workload(Workload),
}

/// Where a proxy belongs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Placement {
    /// Decides the outbound half.
    pub audience: Audience,
    /// Decides the inbound half.
    pub workload: Workload,
}

impl Placement {
    /// Places a proxy; none while its Pod is not known: a proxy is never answered as if it had no Pod.
    pub fn of(world: &Tracked, facts: &ProxyFacts) -> Option<Placement> {
        let pod = world.pod(&facts.namespace, &facts.pod)?;
        let sidecar = Self::sidecar(world.sidecars_in(&facts.namespace), &pod.labels);
        let taken = sidecar.as_ref().map(|sidecar| Self::taken(sidecar, facts.interception)).unwrap_or_default();
        let scope = Self::scope(world, &facts.namespace, sidecar.as_deref());
        let namespace = facts.namespace.clone();
        Some(Placement {
            audience: Audience { namespace: namespace.clone(), interception: facts.interception, scope, taken },
            workload: Workload { namespace, sidecar: sidecar.map(|sidecar| sidecar.key().name.clone()) },
        })
    }

    /// What a workload sees: what its own Sidecar says, else the oldest of the root namespace without a selector. A Sidecar
    /// that says nothing means everything (Istio's rule).
    fn scope(world: &Tracked, namespace: &Namespace, own: Option<&Sidecar>) -> Scope {
        let hosts = match own {
            Some(own) => own.egress.clone(),
            None => {
                let root = &world.mesh().root_namespace;
                let mut defaults = world.sidecars_in(root);
                defaults.retain(|sidecar| sidecar.selector.is_empty());
                let oldest = defaults.into_iter().min_by(|a, b| a.meta().age().cmp(&b.meta().age()));
                oldest.and_then(|sidecar| sidecar.egress.clone())
            }
        };
        hosts.map_or_else(Scope::everything, |hosts| Scope::of(&hosts, namespace))
    }

    fn taken(sidecar: &Sidecar, interception: Interception) -> Vec<u16> {
        let Interception::None { bind } = interception;
        let mut ports: Vec<u16> =
            sidecar.ingress.iter().filter(|ingress| ingress.bind == Some(bind)).map(|ingress| ingress.port).collect();
        ports.sort_unstable();
        ports
    }

    /// The Sidecar that applies: the oldest whose selector names the workload, else the oldest without a selector.
    fn sidecar(mut sidecars: Vec<Stored<Sidecar>>, labels: &Labels) -> Option<Stored<Sidecar>> {
        sidecars.sort_by(|a, b| a.meta().age().cmp(&b.meta().age()));
        let selecting = sidecars.iter().find(|s| !s.selector.is_empty() && selects(&s.selector, labels));
        let chosen = selecting.or_else(|| sidecars.iter().find(|s| s.selector.is_empty()));
        chosen.cloned()
    }
}

impl ProxyFacts {
    /// The key of the proxy's Pod.
    pub fn pod_key(&self) -> ObjectKey {
        ObjectKey { kind: ObjectKind::Pod, namespace: self.namespace.clone(), name: self.pod.clone() }
    }
}
