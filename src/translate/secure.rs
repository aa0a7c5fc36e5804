//! How the connections of a cluster are made: as a DestinationRule says, else with mutual TLS to whom takes it (Istio's
//! automatic mutual TLS).
//!
//! Proxies that have proven nothing hold no certificate: to them plain text is all there is, and where a rule asks for
//! mutual TLS of the mesh or names a Secret, nothing.

use super::peers::Peers;
use super::unit::{EndpointsFrom, Peer, Tls};
use super::{balance, names};
use crate::model::destination::{ClientTls, DestinationRule, ServerTls, TrafficPolicy};
use crate::model::endpoint::EndpointSlice;
use crate::model::mesh::{Mesh, TrustDomains};
use crate::model::object::Stored;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectRef;
use crate::model::service::{Service, ServicePort};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use std::cell::OnceCell;
use std::sync::Arc;

/// Whether clients speak mutual TLS where a policy says nothing.
pub fn is_automatic(view: &View, mesh: &Mesh, policy: &TrafficPolicy) -> bool {
    view.certified() && mesh.auto_mtls && policy.tls.is_none()
}

/// Whether connections may be such that tokens in ALPN tell a workload what follows.
pub fn says_what_follows(view: &View, mesh: &Mesh, policy: &TrafficPolicy) -> bool {
    view.certified() && (is_automatic(view, mesh, policy) || matches!(policy.tls, Some(ClientTls::Mesh { .. })))
}

/// Decides for the clusters of a service. Its workloads are only looked at if that matters.
pub struct Decider<'a> {
    world: &'a Tracked<'a>,
    view: &'a View<'a>,
    service: &'a Service,
    mesh: &'a Mesh,
    behind: OnceCell<Behind>,
}

/// What is behind the service.
struct Behind {
    slices: Vec<Stored<EndpointSlice>>,
    peers: Peers,
    names: Vec<Arc<str>>,
    trust: TrustDomains,
}

/// One cluster: its port, its subset, its policy, and where its endpoints come from.
pub struct Way<'a> {
    /// The port.
    pub port: &'a ServicePort,
    /// The subset's name.
    pub subset: Option<&'a str>,
    /// What rules say.
    pub policy: &'a TrafficPolicy,
    /// Where endpoints come from.
    pub from: &'a EndpointsFrom,
}

impl<'a> Decider<'a> {
    /// One for the clusters of a service.
    pub fn new(world: &'a Tracked<'a>, view: &'a View<'a>, service: &'a Service, mesh: &'a Mesh) -> Self {
        Self { world, view, service, mesh, behind: OnceCell::new() }
    }

    /// Decides for one cluster; with the objects that had a part in it, rules aside.
    pub fn decide(&self, way: &Way) -> (Tls, Vec<ObjectRef>) {
        let tls = match &way.policy.tls {
            Some(ClientTls::Disable) => Tls::Plain,
            Some(ClientTls::Server(server)) if self.lacks_secret(server) => Tls::Impossible,
            Some(ClientTls::Server(server)) => Tls::Server(server.clone()),
            Some(ClientTls::Mesh { .. }) if !self.view.certified() => Tls::Impossible,
            Some(ClientTls::Mesh { sni, names }) => Tls::Mesh(self.peer(way, sni.clone(), names)),
            None if is_automatic(self.view, self.mesh, way.policy) => return self.automatic(way),
            None => Tls::Plain,
        };
        (tls, Vec::new())
    }

    /// Whether a Secret is connected with that isn't there, or that a proxy can't have because it has proven nothing. A cluster
    /// that waited for it would keep Envoy from acknowledging any.
    fn lacks_secret(&self, server: &ServerTls) -> bool {
        let Some(credential) = &server.credential else { return false };
        let takes = [credential.shown, server.takes_authorities()];
        let missing = |secret| self.world.offers(secret).into_iter().zip(takes).any(|(there, takes)| takes && !there);
        takes != [false, false] && (!self.view.certified() || missing(&credential.secret))
    }

    fn automatic(&self, way: &Way) -> (Tls, Vec<ObjectRef>) {
        if self.service.outside().is_some() {
            return (Tls::Plain, Vec::new());
        }
        let Behind { slices, peers, .. } = self.behind();
        let picked = matches!(way.from, EndpointsFrom::Client(_)) || balance::is_passthrough(way.policy);
        match picked {
            // Clients pick, and nobody says of an address what it takes: all have to.
            true if peers.all_take_mutual(slices, &way.port.name) => {
                (Tls::Mesh(self.peer(way, None, &[])), peers.sources().collect())
            }
            true => (Tls::Plain, peers.sources().collect()),
            false if peers.any_meshed() => (Tls::ByEndpoint(self.peer(way, None, &[])), Vec::new()),
            false => (Tls::Plain, Vec::new()),
        }
    }

    fn peer(&self, way: &Way, sni: Option<Arc<str>>, names: &[Arc<str>]) -> Peer {
        let Behind { names: known, trust, .. } = self.behind();
        let usual = || names::sni(way.port.number, way.subset, &self.service.host);
        let names = if names.is_empty() { known.clone() } else { names.to_vec() };
        Peer { sni: sni.unwrap_or_else(usual), names, trust: trust.clone() }
    }

    fn behind(&self) -> &Behind {
        self.behind.get_or_init(|| {
            let (key, trust) = (&self.service.key, self.mesh.trust());
            let slices = self.world.slices_of(key);
            let peers = Peers::of(self.world, &key.namespace, &slices).with_selected(self.world, key);
            Behind { names: peers.names(&key.namespace, &trust), slices, peers, trust }
        })
    }
}

/// A rule that asks for mutual TLS of the mesh, told to proxies that can't.
pub fn impossible(view: &View, rules: &[Stored<DestinationRule>]) -> Option<Problem> {
    let mesh = |policy: &TrafficPolicy| policy.all_tls().any(|tls| matches!(tls, ClientTls::Mesh { .. }));
    let asks =
        |rule: &Stored<DestinationRule>| mesh(&rule.policy) || rule.subsets.iter().any(|subset| mesh(&subset.policy));
    let what = |rule: &Stored<DestinationRule>| match rule.credentials().next() {
        _ if asks(rule) => Some("have no certificate: as ISTIO_MUTUAL asks for one,"),
        Some(_) => Some("are given no Secret: as credentialName names one,"),
        None => None,
    };
    let found = |rule| what(rule).map(|what| (rule.key().clone(), what));
    let (object, what) = rules.iter().filter(|_| !view.certified()).find_map(found)?;
    Some(Problem {
        object,
        field: "spec.trafficPolicy.tls".to_owned(),
        severity: Severity::Warning,
        text: format!("there are proxies that have not proven who they are and so {what} their requests get 503"),
        cause: Cause::Conflict,
    })
}
