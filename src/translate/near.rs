//! Endpoints chosen by where a proxy is: `trafficDistribution`, `internalTrafficPolicy` and the hints of slices.
//!
//! What is near comes first and gets everything as long as some of it is healthy; the rest are the next priorities. A proxy
//! far from all of them has the same assignment as one of no place at all.

use super::unit::{ResolvedEndpoint, Unit};
use super::visible;
use crate::model::endpoint::{Endpoint, EndpointSlice};
use crate::model::near::{Here, Near};
use crate::model::node::Locality;
use crate::model::object::Stored;
use crate::model::service::{Distribution, Nearness, Service};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use std::collections::BTreeSet;

/// The units whose results differ from those that the audience has in common, for a proxy that is somewhere: of what a
/// Sidecar leaves out there is nothing.
pub fn units(world: &Tracked, near: &Near) -> BTreeSet<Unit> {
    let services = [Nearness::Zone, Nearness::Node].into_iter().flat_map(|nearness| world.services_near(nearness));
    let view = View::new(&near.audience);
    let needed = (!view.outlook().is_everything()).then(|| visible::needed(world, &view));
    let services = services.filter(|service| needed.as_ref().is_none_or(|needed| needed.contains(service)));
    services.map(Unit::Endpoints).collect()
}

/// How near the endpoints of a service are to a place.
pub struct Nearby<'a> {
    here: &'a Here,
    service: &'a Service,
    /// Whether hints say for which zones endpoints are meant, and for which Nodes: all that are ready have to have one.
    hinted: [bool; 2],
}

impl<'a> Nearby<'a> {
    /// Those of a service with these slices.
    pub fn new(here: &'a Here, service: &'a Service, slices: &[Stored<EndpointSlice>]) -> Self {
        let ready = || slices.iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| endpoint.ready);
        let zones = ready().all(|endpoint| !endpoint.for_zones.is_empty());
        let nodes = ready().all(|endpoint| !endpoint.for_nodes.is_empty());
        Self { here, service, hinted: [zones, nodes] }
    }

    /// How far away an endpoint is, the nearest being 0; none if it is not used from here at all.
    pub fn rank(&self, endpoint: &Endpoint, locality: &Locality) -> Option<u32> {
        if self.service.node_local {
            // A Pod that is on no Node that anybody knows of is nowhere, and has to do with what there is.
            let same = self.here.node.is_none() || endpoint.node == self.here.node;
            return same.then_some(0);
        }
        Some(match self.service.distribution {
            Some(Distribution::SameNode) if self.is_on_node(endpoint) => 0,
            Some(Distribution::SameNode) if self.is_in_zone(endpoint, locality) => 1,
            Some(Distribution::SameNode) => 2,
            Some(Distribution::SameZone) if self.is_in_zone(endpoint, locality) => 0,
            Some(Distribution::Hinted) if !self.hinted[0] || self.is_in_zone(endpoint, locality) => 0,
            Some(_) => 1,
            None => 0,
        })
    }

    fn is_on_node(&self, endpoint: &Endpoint) -> bool {
        let Some(here) = &self.here.node else { return false };
        if self.hinted[1] { endpoint.for_nodes.contains(here) } else { endpoint.node.as_ref() == Some(here) }
    }

    fn is_in_zone(&self, endpoint: &Endpoint, locality: &Locality) -> bool {
        let here = &self.here.zone;
        let meant = if self.hinted[0] { endpoint.for_zones.contains(here) } else { locality.zone == *here };
        meant && !here.is_empty()
    }
}

/// Makes priorities of ranks: without gaps, from 0.
pub fn prioritise(endpoints: &mut [ResolvedEndpoint]) {
    let ranks: BTreeSet<u32> = endpoints.iter().map(|endpoint| endpoint.priority).collect();
    for endpoint in endpoints {
        endpoint.priority = ranks.range(..endpoint.priority).count().try_into().expect("there are three ranks");
    }
}
