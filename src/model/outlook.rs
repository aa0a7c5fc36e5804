//! What an audience sees, port by port, and where the ports are: what the egress of a Sidecar means for a proxy. A
//! canonical value, so that proxies that see the same share an audience.

use super::audience::{Families, Interception};
use super::name::Namespace;
use super::provenance::ObjectKey;
use super::scope::Scope;
use super::service::Protocol;
use super::sidecar::EgressListener;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// What is seen on each port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Outlook {
    ports: Arc<[(u16, Opening)]>,
    rest: Option<Opening>,
    /// The Sidecar that says so; none where ports are where they always are.
    pub source: Option<ObjectKey>,
}

/// What is seen on a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Opening {
    /// Of which services.
    pub scope: Scope,
    /// What they speak, whatever they say themselves.
    pub protocol: Option<Protocol>,
    /// Where.
    pub place: Place,
}

/// Where a port is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    /// Where captured connections go to: the services' own addresses.
    Captured,
    /// At that address, for captured connections.
    CapturedAt(IpAddr),
    /// At that address, really opened.
    Opened(IpAddr),
}

impl Outlook {
    /// Every service on every port.
    pub fn everything(interception: Interception) -> Self {
        let rest = Opening { scope: Scope::everything(), protocol: None, place: usual(interception) };
        Self { ports: [].into(), rest: Some(rest), source: None }
    }

    /// What a Sidecar's egress means for a proxy of that namespace.
    pub fn of(
        (sidecar, egress): (&ObjectKey, &[EgressListener]),
        own: &Namespace,
        interception: Interception,
        families: Families,
    ) -> Self {
        let opening = |listener: &EgressListener| Opening {
            scope: Scope::of(&listener.hosts, own),
            protocol: listener.port.and_then(|(_, protocol)| protocol),
            place: place(listener, interception, families),
        };
        let numbered = egress.iter().filter_map(|listener| Some((listener.port?.0, opening(listener))));
        let mut ports: Vec<_> = numbered.collect();
        ports.sort();
        let rest = egress.iter().find(|listener| listener.port.is_none()).map(opening);
        let elsewhere = !ports.is_empty() || rest.as_ref().is_some_and(|rest| rest.place != usual(interception));
        Self { ports: ports.into(), rest, source: elsewhere.then(|| sidecar.clone()) }
    }

    /// What is seen on a port.
    pub fn on(&self, port: u16) -> Option<&Opening> {
        let own = self.ports.binary_search_by_key(&port, |(number, _)| *number);
        own.map_or(self.rest.as_ref(), |at| Some(&self.ports[at].1))
    }

    /// The ports that show something else than the rest, ascending.
    pub fn ports(&self) -> impl Iterator<Item = (u16, &Opening)> {
        self.ports.iter().map(|(port, opening)| (*port, opening))
    }

    /// What every other port shows.
    pub fn rest(&self) -> Option<&Opening> {
        self.rest.as_ref()
    }

    /// Whether every service is seen on every port.
    pub fn is_everything(&self) -> bool {
        self.ports.is_empty() && self.rest.as_ref().is_some_and(|rest| rest.scope.is_everything())
    }

    /// The address at which a port is really opened.
    pub fn opened(&self, port: u16) -> Option<IpAddr> {
        match self.on(port)?.place {
            Place::Opened(at) => Some(at),
            Place::Captured | Place::CapturedAt(_) => None,
        }
    }
}

fn usual(interception: Interception) -> Place {
    match interception {
        Interception::None { bind } => Place::Opened(bind),
        Interception::Redirect => Place::Captured,
    }
}

fn place(listener: &EgressListener, interception: Interception, families: Families) -> Place {
    match (interception, listener.bind) {
        (Interception::None { bind }, own) => Place::Opened(own.unwrap_or(bind)),
        (Interception::Redirect, Some(bind)) if listener.opened => Place::Opened(bind),
        (Interception::Redirect, None) if listener.opened => Place::Opened(families.loopback()),
        (Interception::Redirect, Some(bind)) => Place::CapturedAt(bind),
        (Interception::Redirect, None) => Place::Captured,
    }
}

impl Families {
    /// The loopback address of the first family there is.
    fn loopback(self) -> IpAddr {
        if self.v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
    }
}
