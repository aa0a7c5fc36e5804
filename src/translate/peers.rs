//! The workloads behind a Service, as who connects to them has to know them: whether they take mutual TLS, and as whom they
//! run.
//!
//! A Pod takes it that says so with a label, as in Istio, unless a PeerAuthentication disables it. Who is about to come has to
//! be known before it answers, and who leaves until it is gone: as whom workloads run, all Pods say that the Service selects.

use super::inbound::captured::SPEAKS_FIRST;
use crate::model::authentication::{Mode, Modes, Policies};
use crate::model::endpoint::{Endpoint, EndpointSlice};
use crate::model::mesh::TrustDomains;
use crate::model::name::{Name, Namespace, ServiceKey};
use crate::model::object::Stored;
use crate::model::pod::Pod;
use crate::model::provenance::ObjectRef;
use crate::model::tracked::Tracked;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The label of a Pod with a proxy that takes mutual TLS, and its value (Istio's convention).
const LABEL: &str = "security.istio.io/tlsMode";
const MUTUAL: &str = "istio";

/// The workloads behind a Service.
#[derive(Default)]
pub struct Peers {
    known: BTreeMap<Name, Known>,
    accounts: BTreeSet<Arc<str>>,
    sources: BTreeSet<ObjectRef>,
}

/// A Pod.
struct Known {
    /// What it takes, if it has a proxy that takes mutual TLS at all.
    modes: Option<Modes>,
}

impl Peers {
    /// Those of a Service in that namespace with these slices.
    pub fn of(world: &Tracked, namespace: &Namespace, slices: &[Stored<EndpointSlice>]) -> Self {
        let policies = Policies::of(world, namespace);
        let mut peers = Self::default();
        for name in slices.iter().flat_map(|slice| &slice.endpoints).filter_map(|endpoint| endpoint.pod.as_ref()) {
            if !peers.known.contains_key(name)
                && let Some(pod) = world.pod(namespace, name)
            {
                let known = peers.meet(&pod, &policies);
                peers.known.insert(name.clone(), known);
            }
        }
        peers
    }

    /// Those, and the Pods that the Service selects, of which some may never be endpoints: not those that are not scheduled,
    /// that have no address, or that have run to their end.
    pub fn with_selected(self, world: &Tracked, service: &ServiceKey) -> Self {
        let (mut peers, policies) = (self, Policies::of(world, &service.namespace));
        for pod in world.pods_of(service) {
            let name = &pod.key().name;
            if !peers.known.contains_key(name) {
                let known = peers.meet(pod, &policies);
                peers.known.insert(name.clone(), known);
            }
        }
        peers
    }

    fn meet(&mut self, pod: &Pod, policies: &Policies) -> Known {
        self.accounts.insert(pod.service_account.clone());
        if pod.labels.get(LABEL).is_none_or(|mode| **mode != *MUTUAL) {
            return Known { modes: None };
        }
        let applying = policies.applying(&pod.labels);
        self.sources.extend(applying.iter().map(Stored::reference));
        Known { modes: Some(Modes::of(&applying)) }
    }

    /// Whether any of them has a proxy that takes mutual TLS.
    pub fn any_meshed(&self) -> bool {
        self.known.values().any(|known| known.modes.is_some())
    }

    /// Whether an endpoint takes mutual TLS on a port.
    pub fn takes_mutual(&self, endpoint: &Endpoint, port: u16) -> bool {
        let known = endpoint.pod.as_ref().and_then(|pod| self.known.get(pod));
        match known.and_then(|known| known.modes.as_ref()).map(|modes| modes.on(port)) {
            Some(Mode::Strict) => true,
            // Where servers speak first nothing can be told apart, and plain text is taken.
            Some(Mode::Permissive) => !SPEAKS_FIRST.contains(&port),
            Some(Mode::Disable) | None => false,
        }
    }

    /// Whether all endpoints take mutual TLS on the port that slices give that name, of which there is one at least.
    pub fn all_take_mutual(&self, slices: &[Stored<EndpointSlice>], name: &str) -> bool {
        let ports = slices.iter().filter_map(|slice| Some((slice, slice.ports.iter().find(|(n, _)| **n == *name)?.1)));
        let mut each = ports.flat_map(|(slice, port)| slice.endpoints.iter().map(move |endpoint| (endpoint, port)));
        let first = each.next();
        first.is_some_and(|(endpoint, port)| self.takes_mutual(endpoint, port))
            && each.all(|(endpoint, port)| self.takes_mutual(endpoint, port))
    }

    /// The names they may have, sorted.
    pub fn names(&self, namespace: &Namespace, trust: &TrustDomains) -> Vec<Arc<str>> {
        let names = self.accounts.iter().flat_map(|account| trust.names(namespace, account));
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The policies that decide what they take.
    pub fn sources(&self) -> impl Iterator<Item = ObjectRef> {
        self.sources.iter().cloned()
    }
}
