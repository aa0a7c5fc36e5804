//! Who asks: the facts a proxy states, and the two small values that decide its configuration.
//!
//! [`Audience`] decides the outbound configuration and is shared by thousands of proxies; [`Workload`] decides the thin
//! private layer. Code that takes neither cannot depend on a proxy.

use super::authentication::Policies;
use super::identity::Identity;
use super::labels::{Labels, selects};
use super::mesh::OutboundMode;
use super::name::{Name, Namespace, ServiceKey};
use super::near::{Here, Near};
use super::object::{Stored, by_age};
use super::outlook::Outlook;
use super::pod::Pod;
use super::provenance::ObjectKey;
use super::secret::Grant;
use super::service::Protocol;
use super::sidecar::{DefaultEndpoint, Ingress, Sidecar};
use super::tracked::Tracked;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// How traffic reaches the proxy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Interception {
    /// Not captured: applications connect to listeners really bound on `bind`, one per service port.
    None {
        /// The address outbound listeners bind to: 127.0.0.1, or node metadata `OUTBOUND_BIND`.
        bind: IpAddr,
    },
    /// The kernel redirects connections to the proxy, which learns their original destination.
    Redirect,
}

impl Default for Interception {
    fn default() -> Self {
        Interception::None { bind: IpAddr::V4(Ipv4Addr::LOCALHOST) }
    }
}

/// The IP families a proxy's Pod has addresses of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Families {
    /// IPv4; also where nothing is known.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Families {
    /// The families of some addresses; IPv4 where there are none.
    pub fn of(addresses: &[IpAddr]) -> Self {
        let v6 = addresses.iter().any(IpAddr::is_ipv6);
        Self { v4: !v6 || addresses.iter().any(IpAddr::is_ipv4), v6 }
    }

    /// The families of a Pod. Without interception they only say whom it can call, so unknown ones leave nobody out.
    fn of_pod(addresses: &[IpAddr], interception: Interception) -> Self {
        match interception {
            Interception::None { .. } if addresses.is_empty() => Self { v4: true, v6: true },
            _ => Self::of(addresses),
        }
    }

    /// Whether an address is of one of the families.
    pub fn has(self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// The address that stands for all, of each family.
    pub fn wildcards(self) -> Vec<IpAddr> {
        let v4 = self.v4.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        v4.into_iter().chain(self.v6.then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))).collect()
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
    /// Ports where the workload speaks first, ascending: incoming connections to them are not looked at. Only where
    /// traffic is captured.
    pub server_first: Vec<u16>,
    /// Whether it has proven who it is, and so holds a certificate: that is no claim of its own.
    pub authenticated: bool,
    /// Who it has proven to be; none also where a configuration is only to be looked at.
    pub identity: Option<Identity>,
}

/// What decides outbound configuration. Canonical and small; never locality, node or pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Audience {
    /// The proxy's namespace: short names resolve in it.
    pub namespace: Namespace,
    /// How its traffic is captured.
    pub interception: Interception,
    /// The IP families of its Pod.
    pub families: Families,
    /// What its Sidecar lets it see, and where.
    pub outlook: Outlook,
    /// What it may do with hosts nobody has: what its Sidecar says, else the mesh. Refused without interception, where
    /// nobody knows the original destination.
    pub unknown: OutboundMode,
    /// Ports that would be opened where the workload itself listens, ascending; empty for nearly all.
    pub taken: Vec<u16>,
    /// Where the workload really listens although its traffic is captured, sorted; empty for nearly all.
    pub listens: Vec<(u16, IpAddr)>,
    /// Whether it holds a certificate to show to others.
    pub certified: bool,
    /// The DestinationRules that are for some workloads only, this one among them, sorted; none for nearly all.
    pub chosen: Vec<ObjectKey>,
}

/// What decides inbound configuration; replicas of a workload share it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Workload {
    /// The workload's namespace.
    pub namespace: Namespace,
    /// The Sidecar that applies to it, its own or that of the root namespace.
    pub sidecar: Option<ObjectKey>,
    /// What is captured; none without interception.
    pub captured: Option<Captured>,
    /// The ports that Services lead to, ascending; where the Sidecar says what is listened on, of those ports.
    pub served: Vec<Served>,
    /// The Pod's addresses, sorted, where what the Sidecar says follows from them; empty for nearly all.
    pub addresses: Vec<IpAddr>,
    /// The PeerAuthentications that apply to it, the widest first; none where nothing is listened on.
    pub authentication: Vec<ObjectKey>,
    /// By what place endpoints are chosen, where any are: that is no matter of the audience, which would fall apart.
    pub near: Option<Arc<Near>>,
    /// Whether it holds a certificate to show to others.
    pub certified: bool,
    /// The Secrets that it may have, sorted; none for nearly all.
    pub grants: Vec<Grant>,
}

/// What decides how captured incoming connections are treated.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Captured {
    /// The IP families of the Pod.
    pub families: Families,
    /// Ports where the workload speaks first, ascending.
    pub server_first: Vec<u16>,
}

/// A port of a workload that a Service leads to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Served {
    /// The port on the Pod.
    pub port: u16,
    /// What the Service says it speaks.
    pub protocol: Protocol,
    /// The oldest Service that leads there.
    pub service: ServiceKey,
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
    /// Places a proxy; none while its Pod is not known, or is not the one its credential is for: a proxy is never answered
    /// as if it had no Pod, or another's.
    pub fn of(world: &Tracked, facts: &ProxyFacts) -> Option<Placement> {
        let pod = world.pod(&facts.namespace, &facts.pod)?;
        let uid = pod.meta().reference.uid.as_deref().unwrap_or_default();
        if !facts.identity.as_ref().is_none_or(|identity| identity.is_of(&pod, uid)) {
            return None;
        }
        let sidecar = Self::sidecar(world.sidecars_in(&facts.namespace), &pod.labels);
        let sidecar = sidecar.or_else(|| Self::default_sidecar(world));
        let families = Families::of_pod(&pod.addresses, facts.interception);
        let (interception, own) = (facts.interception, &facts.namespace);
        let egress = sidecar.as_ref().and_then(|sidecar| Some((sidecar.key(), sidecar.egress.as_deref()?)));
        let everything = || Outlook::everything(interception);
        let outlook = egress.map_or_else(everything, |egress| Outlook::of(egress, own, interception, families));
        let said = sidecar.as_ref().and_then(|sidecar| sidecar.outbound);
        let unknown = match interception {
            Interception::None { .. } => OutboundMode::RegistryOnly,
            Interception::Redirect => said.unwrap_or_else(|| world.mesh().outbound),
        };
        let mut rules = world.selecting_rules_in(own);
        rules.retain(|rule| rule.selector.as_ref().is_some_and(|selector| selects(selector, &pod.labels)));
        let grants = Grant::all(facts, &rules);
        let workload = Workload { grants, ..Self::workload(world, facts, &pod, sidecar.as_ref(), families) };
        let taken = taken(&outlook, sidecar.as_deref(), &workload);
        let listens = listens(sidecar.as_deref(), &workload);
        let (namespace, certified) = (own.clone(), facts.authenticated);
        let mut chosen: Vec<_> = rules.iter().map(|rule| rule.key().clone()).collect();
        chosen.sort();
        let audience =
            Audience { namespace, interception, families, outlook, unknown, taken, listens, certified, chosen };
        let near = Here::of(world, &pod).map(|here| Arc::new(Near { audience: audience.clone(), here }));
        Some(Placement { audience, workload: Workload { near, ..workload } })
    }

    fn workload(
        world: &Tracked,
        facts: &ProxyFacts,
        pod: &Pod,
        sidecar: Option<&Stored<Sidecar>>,
        families: Families,
    ) -> Workload {
        let namespace = facts.namespace.clone();
        let captured = facts.interception == Interception::Redirect;
        let said = |port| sidecar.is_some_and(|sidecar| sidecar.ingress.iter().any(|ingress| ingress.port == port));
        let replaced = !captured || sidecar.is_some_and(|sidecar| !sidecar.ingress.is_empty());
        // Without interception nothing but the Sidecar opens a port, so without one nobody needs to look.
        let mut served = match sidecar {
            None if !captured => Vec::new(),
            _ => Self::served(world, &namespace, pod),
        };
        served.retain(|served| !replaced || said(served.port));
        let asks = sidecar.is_some_and(|sidecar| sidecar.asks_for_addresses(captured));
        let listens = captured || sidecar.is_some_and(|sidecar| !sidecar.ingress.is_empty());
        let policies = match listens {
            true => Policies::of(world, &namespace).applying(&pod.labels),
            false => Vec::new(),
        };
        Workload {
            captured: captured.then(|| Captured { families, server_first: facts.server_first.clone() }),
            served,
            addresses: if asks { pod.addresses.clone() } else { Vec::new() },
            sidecar: sidecar.map(|sidecar| sidecar.key().clone()),
            authentication: policies.iter().map(|policy| policy.key().clone()).collect(),
            namespace,
            near: None,
            certified: facts.authenticated,
            grants: Vec::new(),
        }
    }

    /// The Pod's ports that Services lead to; for each, the oldest Service says what it speaks.
    fn served(world: &Tracked, namespace: &Namespace, pod: &Pod) -> Vec<Served> {
        let mut services = world.services_selecting(namespace, &pod.labels);
        services.sort_by(by_age);
        let mut served: BTreeMap<u16, Served> = BTreeMap::new();
        for service in &services {
            for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
                let Some(number) = port.target.on(pod) else { continue };
                let claim = Served { port: number, protocol: port.protocol, service: service.key.clone() };
                served.entry(number).or_insert(claim);
            }
        }
        served.into_values().collect()
    }

    /// What stands behind every namespace without a Sidecar of its own: the oldest of the root namespace without a selector.
    /// A Sidecar that says nothing of a matter leaves it to the mesh (Istio's rule).
    fn default_sidecar(world: &Tracked) -> Option<Stored<Sidecar>> {
        let mut defaults = world.sidecars_in(&world.mesh().root_namespace);
        defaults.retain(|sidecar| sidecar.selector.is_empty());
        defaults.into_iter().min_by(by_age)
    }

    /// The Sidecar that applies: the oldest whose selector names the workload, else the oldest without a selector.
    fn sidecar(mut sidecars: Vec<Stored<Sidecar>>, labels: &Labels) -> Option<Stored<Sidecar>> {
        sidecars.sort_by(by_age);
        let selecting = sidecars.iter().find(|s| !s.selector.is_empty() && selects(&s.selector, labels));
        let chosen = selecting.or_else(|| sidecars.iter().find(|s| s.selector.is_empty()));
        chosen.cloned()
    }
}

impl Workload {
    /// A workload of which nothing is said and nothing captured, and that has proven nothing.
    pub fn plain(namespace: Namespace) -> Self {
        Self {
            namespace,
            sidecar: None,
            captured: None,
            served: Vec::new(),
            addresses: Vec::new(),
            authentication: Vec::new(),
            near: None,
            certified: false,
            grants: Vec::new(),
        }
    }
}

/// The ports that would be opened where the workload listens itself, or its application does.
fn taken(outlook: &Outlook, sidecar: Option<&Sidecar>, workload: &Workload) -> Vec<u16> {
    let captured = workload.captured.is_some();
    let ingress = || sidecar.into_iter().flat_map(|sidecar| &sidecar.ingress);
    let own = ingress().filter_map(|ingress| {
        let everywhere = (!captured).then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let opened = ingress.opened || !captured;
        Some((ingress.port, ingress.bind.or(everywhere).filter(|_| opened)?))
    });
    let apps = ingress().filter_map(Ingress::on_loopback).map(|app| (app.port(), app.ip()));
    let at_its_address = own.chain(apps).filter(|(port, at)| outlook.opened(*port) == Some(*at)).map(|(port, _)| port);
    // Applications behind captured connections listen at every address, as a rule.
    let passed = |ingress: &&Ingress| !ingress.opened && matches!(ingress.endpoint, DefaultEndpoint::Unsaid);
    let said = ingress().filter(passed).map(|ingress| ingress.port);
    let behind = workload.served.iter().map(|served| served.port).chain(said);
    let behind = behind.filter(|port| captured && outlook.opened(*port).is_some());
    at_its_address.chain(behind).collect::<BTreeSet<u16>>().into_iter().collect()
}

/// Where a workload really listens whose traffic is captured: an outgoing connection there doesn't pass through its proxy,
/// and an outbound listener would have the address of the inbound one (Istio leaves it out as well).
fn listens(sidecar: Option<&Sidecar>, workload: &Workload) -> Vec<(u16, IpAddr)> {
    let ingress = sidecar.into_iter().flat_map(|sidecar| &sidecar.ingress);
    let opened = ingress.filter(|ingress| workload.captured.is_some() && ingress.opened);
    let places = opened.flat_map(|ingress| {
        let bind = ingress.bind.filter(|bind| !bind.is_unspecified());
        let all = workload.addresses.iter().copied().filter(move |_| bind.is_none());
        bind.into_iter().chain(all).map(|at| (ingress.port, at))
    });
    places.collect::<BTreeSet<_>>().into_iter().collect()
}

impl Audience {
    /// What the outbound configuration is the same for whatever the namespace, as far as nobody compares it: the audience
    /// of no namespace. None where the scope makes the configuration one of its own.
    pub fn common(&self) -> Option<Audience> {
        let shares = !self.is_common() && self.outlook.is_everything();
        shares.then(|| Audience { namespace: Namespace::from(""), chosen: Vec::new(), ..self.clone() })
    }

    /// Whether this is the audience of no namespace.
    pub fn is_common(&self) -> bool {
        self.namespace.as_str().is_empty()
    }

    /// The audience of proxies that are not captured, see everything and have proven nothing.
    pub fn of_everyone_in(namespace: Namespace) -> Self {
        let (interception, unknown) = (Interception::default(), OutboundMode::RegistryOnly);
        let (families, outlook) = (Families::of(&[]), Outlook::everything(interception));
        let (taken, listens, chosen) = (Vec::new(), Vec::new(), Vec::new());
        Self { namespace, interception, families, outlook, unknown, taken, listens, certified: false, chosen }
    }

    /// What it may do with hosts nobody has on a port. One that is really opened doesn't know where a connection wanted to
    /// go: passed on, it would come back.
    pub fn unknown_on(&self, port: u16) -> OutboundMode {
        if self.outlook.opened(port).is_some() { OutboundMode::RegistryOnly } else { self.unknown }
    }
}

impl ProxyFacts {
    /// A proxy that states no more than this and has proven nothing.
    pub fn new(namespace: Namespace, pod: Name, interception: Interception) -> Self {
        Self { namespace, pod, interception, server_first: Vec::new(), authenticated: false, identity: None }
    }
}
