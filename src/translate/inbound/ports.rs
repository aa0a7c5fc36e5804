//! The ports of a workload: what its Sidecar says, else what Services lead to. Ports and problems leave; what Envoy would
//! refuse, or what would call itself, is a problem and no port.

use crate::model::audience::{Audience, Served, Workload};
use crate::model::destination::ConnectionPool;
use crate::model::object::Stored;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::{ObjectKey, ObjectRef};
use crate::model::service::{Protocol, TargetPort};
use crate::model::sidecar::{DefaultEndpoint, Ingress, Sidecar};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::translate::unit::{InboundEndpoint, InboundInputs};
use crate::translate::{destination, fixed};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Finds the ports of a workload, for all of whose replicas they are the same.
pub fn of(world: &Tracked, workload: &Workload) -> (Vec<InboundInputs>, Vec<Problem>) {
    let sidecar = workload.sidecar.as_ref().and_then(|key| world.sidecar(key));
    let ports = Ports { world, workload, sidecar: sidecar.as_ref() };
    let found: Vec<_> = match &sidecar {
        Some(said) if workload.captured.is_none() || !said.ingress.is_empty() => {
            let proxied = said.ingress.iter().enumerate().filter(|(_, ingress)| ingress.protocol != Protocol::Udp);
            proxied.map(|(at, ingress)| ports.said(said, at, ingress)).collect()
        }
        _ if workload.captured.is_none() => Vec::new(),
        _ => workload.served.iter().filter_map(|served| ports.served(served)).collect(),
    };
    let (mut good, mut problems) = (Vec::new(), Vec::new());
    for port in found {
        match port {
            Ok(port) => good.push(port),
            Err(problem) => problems.push(*problem),
        }
    }
    (good, problems)
}

/// What ports are found with.
struct Ports<'a> {
    world: &'a Tracked<'a>,
    workload: &'a Workload,
    sidecar: Option<&'a Stored<Sidecar>>,
}

/// A port, or why there is none.
type Found = Result<InboundInputs, Box<Problem>>;

impl Ports<'_> {
    /// A port that Services lead to; none if the Service is gone.
    fn served(&self, served: &Served) -> Option<Found> {
        let service = self.world.service(&served.service)?;
        if fixed::is_own(&self.world.mesh(), served.port) {
            return Some(Err(own(service.key(), "spec.ports", served.port)));
        }
        let mut sources = vec![service.reference()];
        let pool = self.pool(None, served.port, &mut sources);
        Some(Ok(InboundInputs {
            port: served.port,
            protocol: served.protocol,
            binds: Vec::new(),
            endpoint: InboundEndpoint::Original,
            pool,
            provenance: sources.into_iter().collect(),
        }))
    }

    /// A port that the Sidecar names.
    fn said(&self, sidecar: &Stored<Sidecar>, at: usize, ingress: &Ingress) -> Found {
        let field = format!("spec.ingress[{at}]");
        if self.is_own(ingress.port) {
            return Err(own(sidecar.key(), &format!("{field}.port.number"), ingress.port));
        }
        let fault = |text: String| error(sidecar.key(), &field, text);
        let binds = self.binds(ingress).map_err(fault)?;
        let endpoint = self.endpoint(ingress, &binds).map_err(fault)?;
        if let InboundEndpoint::At(endpoint, _) = endpoint
            && endpoint.port() == ingress.port
            && binds.iter().any(|bind| *bind == endpoint.ip() || bind.is_unspecified())
        {
            return Err(fault(clash(binds[0], endpoint)));
        }
        let mut sources = vec![sidecar.reference()];
        let pool = self.pool(ingress.pool.as_ref(), ingress.port, &mut sources);
        Ok(InboundInputs {
            port: ingress.port,
            protocol: ingress.protocol,
            binds,
            endpoint,
            pool,
            provenance: sources.into_iter().collect(),
        })
    }

    fn is_own(&self, port: u16) -> bool {
        match self.workload.captured {
            Some(_) => fixed::is_own(&self.world.mesh(), port),
            None => fixed::is_static(port),
        }
    }

    /// The addresses a port is opened at; none where captured connections are meant.
    fn binds(&self, ingress: &Ingress) -> Result<Vec<IpAddr>, String> {
        let captured = self.workload.captured.is_some();
        let addresses = &self.workload.addresses;
        match ingress.bind.filter(|bind| !captured || !bind.is_unspecified()) {
            _ if captured && !ingress.opened => Ok(Vec::new()),
            // At the address that stands for all, Envoy takes captured outgoing connections to the port already.
            None if captured && addresses.is_empty() => Err("waits for the Pod's address, which is not known".into()),
            None if captured => Ok(addresses.clone()),
            None => Ok(vec![Ipv4Addr::UNSPECIFIED.into()]),
            Some(bind) if bind.is_loopback() || bind.is_unspecified() => Ok(vec![bind]),
            Some(bind) if addresses.is_empty() || addresses.contains(&bind) => Ok(vec![bind]),
            Some(bind) => Err(format!("{bind} can't be bound: it is neither a loopback address nor one of the Pod's")),
        }
    }

    fn endpoint(&self, ingress: &Ingress, binds: &[IpAddr]) -> Result<InboundEndpoint, String> {
        let captured = self.workload.captured.is_some();
        match &ingress.endpoint {
            DefaultEndpoint::Unsaid if binds.is_empty() => Ok(InboundEndpoint::Original),
            DefaultEndpoint::Socket(path) => Ok(InboundEndpoint::Socket(path.clone())),
            DefaultEndpoint::Instance(asked) => {
                let mut family = self.workload.addresses.iter().filter(|ip| ip.is_ipv4() == asked.is_ipv4());
                let ip =
                    family.next().ok_or_else(|| format!("{asked} is the Pod's own address, which is not known"))?;
                Ok(InboundEndpoint::At(SocketAddr::new(*ip, asked.port()), captured))
            }
            DefaultEndpoint::Unsaid | DefaultEndpoint::Loopback(_) => {
                let endpoint = ingress.on_loopback().expect("only the others are elsewhere");
                Ok(InboundEndpoint::At(endpoint, false))
            }
        }
    }

    /// The Service's port that leads to a port of the workload, as far as that can be seen without looking at a Pod.
    fn leading_to(&self, served: &Served) -> u16 {
        let service = self.world.service(&served.service);
        let ports = service.iter().flat_map(|service| &service.ports);
        let mut leading = ports.filter(|port| port.target == TargetPort::Number(served.port));
        leading.next().map_or(served.port, |port| port.number)
    }

    /// The limits of a port: its own, else the Sidecar's, else those that the rules of the Service that leads there have
    /// for everyone (Istio: who raises the limits of clients raises the server's with them).
    fn pool(&self, own: Option<&ConnectionPool>, port: u16, sources: &mut Vec<ObjectRef>) -> ConnectionPool {
        if let Some(pool) = own {
            return pool.clone();
        }
        if let Some((sidecar, pool)) = self.sidecar.and_then(|sidecar| Some((sidecar, sidecar.pool.as_ref()?))) {
            sources.push(sidecar.reference());
            return pool.clone();
        }
        let Some(served) = self.workload.served.iter().find(|served| served.port == port) else {
            return ConnectionPool::default();
        };
        let reader = Audience::of_everyone_in(self.workload.namespace.clone());
        let rules = destination::rules(self.world, &View::new(&reader), &served.service);
        let pool = destination::policy(&rules, None, self.leading_to(served)).connection_pool;
        if pool.is_some() {
            sources.extend(rules.iter().map(|rule| rule.reference()));
        }
        pool.unwrap_or_default()
    }
}

fn error(object: &ObjectKey, field: &str, text: String) -> Box<Problem> {
    let (object, field, severity) = (object.clone(), field.to_owned(), Severity::Error);
    Box::new(Problem { object, field, severity, text, cause: Cause::Conflict })
}

fn own(object: &ObjectKey, field: &str, port: u16) -> Box<Problem> {
    error(object, field, format!("port {port} is one of the proxy's own, so it leads to no workload behind a proxy"))
}

/// The listener would take the application's address: whoever comes first keeps the other out, or it calls itself.
fn clash(bind: IpAddr, endpoint: SocketAddr) -> String {
    let listener = SocketAddr::new(bind, endpoint.port());
    format!(
        "the listener, which is really bound, on {listener} would take the address {endpoint} of the application; give \
         one of them another port or address"
    )
}
