//! Where a proxy is, as far as endpoints are chosen by that.

use super::audience::Audience;
use super::name::Name;
use super::pod::Pod;
use super::service::Nearness;
use super::tracked::Tracked;
use std::sync::Arc;

/// A place. What no Service asks for is left out, so that as many proxies as possible are in one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Here {
    /// The Node, if it matters and is known.
    pub node: Option<Name>,
    /// The zone, the label `topology.kubernetes.io/zone` of the Node; empty if it is unknown.
    pub zone: Arc<str>,
}

impl Here {
    /// The place of a Pod; none if no Service's endpoints are chosen by it.
    pub fn of(world: &Tracked, pod: &Pod) -> Option<Here> {
        let by = |nearness| !world.services_near(nearness).is_empty();
        let [by_zone, by_node] = [Nearness::Zone, Nearness::Node].map(by);
        if !by_zone && !by_node {
            return None;
        }
        let node = pod.node.clone();
        let zone = node.as_ref().and_then(|name| world.node(name)).map(|node| node.locality.zone.clone());
        Some(Here { node: node.filter(|_| by_node), zone: zone.unwrap_or_default() })
    }
}

/// Who chooses endpoints by a place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Near {
    /// Decides what there is to choose from.
    pub audience: Audience,
    /// The place.
    pub here: Here,
}
