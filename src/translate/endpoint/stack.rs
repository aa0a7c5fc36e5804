//! Puts the addresses of a Pod together: slices are of one family each, so a Pod of both families stands in two, and it
//! is one endpoint all the same, with one share of the requests.
//!
//! The first address is that of the family the Service prefers; Envoy tries the other when that one is slow or fails.

use crate::model::endpoint::Endpoint;
use crate::model::name::Name;
use crate::model::node::Locality;
use crate::translate::near;
use crate::translate::unit::ResolvedEndpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// What makes two entries of slices one endpoint: the Pod and the port, or for want of a Pod the address.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Pod(Name, Option<Arc<str>>, u16),
    Address(SocketAddr),
}

/// What the slices say of one endpoint.
struct Seen {
    rank: u32,
    locality: Locality,
    addresses: BTreeSet<SocketAddr>,
    standing: Standing,
}

/// How it stands with an endpoint.
#[derive(Clone, Copy)]
pub struct Standing {
    /// Whether it may be picked.
    pub healthy: bool,
    /// Whether mutual TLS is spoken to it.
    pub mutual: bool,
}

/// Endpoints in the making.
#[derive(Default)]
pub struct Stack(BTreeMap<Identity, Seen>);

impl Stack {
    /// Adds an entry of a slice, with how far away it is and where. It may stand in two slices while Kubernetes moves it:
    /// ready if either says so.
    pub fn add(
        &mut self,
        endpoint: &Endpoint,
        address: SocketAddr,
        standing: Standing,
        (rank, locality): (u32, Locality),
    ) {
        let identity = match &endpoint.pod {
            Some(pod) => Identity::Pod(pod.clone(), endpoint.pod_uid.clone(), address.port()),
            None => Identity::Address(address),
        };
        let new = || Seen { rank, locality, addresses: BTreeSet::new(), standing };
        let seen = self.0.entry(identity).or_insert_with(new);
        seen.addresses.insert(address);
        seen.standing.healthy |= standing.healthy;
        seen.standing.mutual |= standing.mutual;
        seen.rank = seen.rank.min(rank);
    }

    /// Whether any may be picked.
    pub fn is_healthy(&self) -> bool {
        self.0.values().any(|seen| seen.standing.healthy)
    }

    /// The endpoints, sorted, each address once.
    pub fn into_endpoints(self, prefers_v6: bool) -> Vec<ResolvedEndpoint> {
        let mut found: BTreeMap<SocketAddr, ResolvedEndpoint> = BTreeMap::new();
        for endpoint in self.0.into_values().flat_map(|seen| seen.into_endpoints(prefers_v6)) {
            let same = found.entry(endpoint.address).or_insert_with(|| endpoint.clone());
            same.healthy |= endpoint.healthy;
            same.mutual |= endpoint.mutual;
            same.other = same.other.or(endpoint.other);
        }
        let others: BTreeSet<SocketAddr> = found.values().filter_map(|endpoint| endpoint.other).collect();
        let mut endpoints: Vec<_> = found.into_values().filter(|found| !others.contains(&found.address)).collect();
        near::prioritise(&mut endpoints);
        endpoints.sort();
        // They stay as long as what is built of them.
        endpoints.shrink_to_fit();
        endpoints
    }
}

impl Seen {
    /// One endpoint, unless there are several addresses of a family: nobody says then which belong together.
    fn into_endpoints(self, prefers_v6: bool) -> Vec<ResolvedEndpoint> {
        let Seen { rank: priority, locality, addresses, standing: Standing { healthy, mutual } } = self;
        let (first, other): (Vec<_>, Vec<_>) =
            addresses.iter().copied().partition(|address| address.is_ipv6() == prefers_v6);
        let alone =
            |address| ResolvedEndpoint { priority, locality: locality.clone(), address, other: None, healthy, mutual };
        if let ([address], [other]) = (&first[..], &other[..]) {
            return vec![ResolvedEndpoint { other: Some(*other), ..alone(*address) }];
        }
        addresses.into_iter().map(alone).collect()
    }
}
