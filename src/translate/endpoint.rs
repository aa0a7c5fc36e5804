//! Endpoints of outbound clusters: EndpointSlices joined with their Service, with Nodes for their place, and with Pods
//! where a subset asks for labels.
//!
//! An endpoint that is not ready is listed as unhealthy, so that Envoy keeps its identity and never picks it (the panic
//! threshold is 0); one that is terminating and not ready is not listed. A Pod is one endpoint, however many families it
//! has addresses of; those of families the audience lacks are left out.

mod stack;

use super::near::Nearby;
use super::peers::Peers;
use super::unit::{EndpointInputs, Inputs, ResolvedEndpoint, Selection};
use super::{balance, destination, fixed, headless, names, proto, secure, tls, visible};
use crate::model::audience::Families;
use crate::model::destination::{DestinationRule, TrafficPolicy};
use crate::model::endpoint::{Endpoint, EndpointSlice};
use crate::model::labels::{Labels, selects};
use crate::model::mesh::Mesh;
use crate::model::name::ServiceKey;
use crate::model::near::Here;
use crate::model::node as place;
use crate::model::object::Stored;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::ObjectRef;
use crate::model::service::{Protocol, Service, ServicePort};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::Resource;
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality, Metadata};
use envoy_types::pb::envoy::config::endpoint::v3 as envoy;
use stack::{Stack, Standing};
use std::cell::OnceCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What the endpoints of one cluster are chosen by.
#[derive(Clone, Copy)]
struct Choice<'a> {
    world: &'a Tracked<'a>,
    service: &'a Stored<Service>,
    port: &'a ServicePort,
    labels: Option<&'a Labels>,
    list_unready: bool,
    /// Whether those that go away are taken, and only these.
    leaving: bool,
    mesh: &'a Mesh,
    families: Families,
    /// Where the proxy is, if that matters.
    nearby: Option<&'a Nearby<'a>>,
    /// The workloads behind the service, if mutual TLS is spoken to those that take it.
    peers: Option<&'a Peers>,
}

/// Selects the endpoints of each cluster of a service, for proxies wherever they are or for those of a place.
pub fn select(world: &Tracked, view: &View, key: &ServiceKey, here: Option<&Here>) -> Selection {
    let Some(service) = visible::exported_service(world, view, key) else { return Selection::default() };
    if service.external.is_some() {
        return Selection::default();
    }
    let rules = destination::rules(world, view, key);
    let (slices, mesh) = (world.slices_of(key), world.mesh());
    let subsets = destination::subsets(&rules);
    let nearby = here.map(|here| Nearby::new(here, &service, &slices));
    let peers = OnceCell::new();
    let mut inputs = Vec::new();
    for port in service.ports.iter().filter(|port| port.protocol != Protocol::Udp) {
        for subset in std::iter::once(None).chain(subsets.values().copied().map(Some)) {
            let name = subset.map(|subset| &*subset.name);
            let policy = destination::policy(&rules, name, port.number);
            let cluster = match name {
                None => headless::listed(view, &service, port.number, &policy),
                Some(_) if balance::is_passthrough(&policy) => None,
                Some(_) => Some(names::outbound(port.number, name, &service.host)),
            };
            let Some(cluster) = cluster else { continue };
            let choice = Choice {
                world,
                service: &service,
                port,
                labels: subset.map(|subset| &subset.labels).filter(|labels| !labels.is_empty()),
                list_unready: lists_unready(&policy),
                leaving: false,
                mesh: &mesh,
                families: view.families(),
                nearby: nearby.as_ref(),
                peers: secure::is_automatic(view, &mesh, &policy)
                    .then(|| peers.get_or_init(|| Peers::of(world, &key.namespace, &slices))),
            };
            inputs.push(Inputs::Endpoints(choice.resolve(
                cluster,
                &slices,
                if subset.is_some() || !choice.list_unready { &rules } else { &[] },
            )));
        }
    }
    let problems = slices.iter().filter_map(|slice| into_proxies(slice, &mesh)).collect();
    Selection { inputs, problems, ..Selection::default() }
}

/// Loopback is the proxy's own: whoever may write a slice must not make other people's proxies command themselves.
fn is_of_the_proxy(address: IpAddr, port: u16, mesh: &Mesh) -> bool {
    address.to_canonical().is_loopback() && fixed::is_own(mesh, port)
}

fn into_proxies(slice: &Stored<EndpointSlice>, mesh: &Mesh) -> Option<Problem> {
    let leads =
        |port| slice.endpoints.iter().any(|endpoint| is_of_the_proxy(endpoint.address, port, mesh)).then_some(port);
    let port = slice.ports.iter().find_map(|(_, port)| leads(*port))?;
    let text = format!("port {port} of loopback is one of the proxy's own: nothing may lead there, and nothing does");
    let (object, field, severity) = (slice.key().clone(), "ports".to_owned(), Severity::Error);
    Some(Problem { object, field, severity, text, cause: Cause::Conflict })
}

/// Whether endpoints that are not ready are listed: not where panic mode is wanted, which would pick them.
fn lists_unready(policy: &TrafficPolicy) -> bool {
    let outliers = policy.outlier_detection.as_ref();
    outliers.and_then(|outliers| outliers.min_health_percent).unwrap_or(0) == 0
}

impl Choice<'_> {
    fn resolve(
        &self,
        cluster: Arc<str>,
        slices: &[Stored<EndpointSlice>],
        rules: &[Stored<DestinationRule>],
    ) -> EndpointInputs {
        let mut found = Stack::default();
        let mut sources: Vec<ObjectRef> = vec![self.service.reference()];
        sources.extend(rules.iter().map(|rule| rule.reference()));
        for slice in slices {
            self.take(slice, &mut found, &mut sources);
        }
        if !found.is_healthy() {
            // As kube-proxy does: better who goes away, and still serves, than nobody.
            let leaving = Self { leaving: true, ..*self };
            slices.iter().for_each(|slice| leaving.take(slice, &mut found, &mut sources));
        }
        let endpoints = found.into_endpoints(self.service.prefers_v6);
        sources.extend(self.peers.into_iter().flat_map(Peers::sources));
        EndpointInputs { cluster, endpoints, provenance: sources.into_iter().collect() }
    }

    /// Takes what is wanted from a slice, and notes the slice and the Pods that decided it.
    fn take(&self, slice: &Stored<EndpointSlice>, found: &mut Stack, sources: &mut Vec<ObjectRef>) {
        let Some((_, port)) = slice.ports.iter().find(|(name, _)| *name == self.port.name) else { return };
        let mut pods = Vec::new();
        let theirs = slice.endpoints.iter().filter(|endpoint| !is_of_the_proxy(endpoint.address, *port, self.mesh));
        let taken = theirs.filter(|endpoint| self.wants(endpoint, &mut pods));
        let mut some = false;
        for endpoint in taken {
            let address = SocketAddr::new(endpoint.address, *port);
            let locality = self.locality(endpoint);
            let Some(rank) = self.nearby.map_or(Some(0), |nearby| nearby.rank(endpoint, &locality)) else { continue };
            let mutual = self.peers.is_some_and(|peers| peers.takes_mutual(endpoint, *port));
            found.add(endpoint, address, Standing { healthy: self.is_ready(endpoint), mutual }, (rank, locality));
            some = true;
        }
        sources.extend(some.then(|| slice.reference()));
        sources.extend(pods);
    }

    /// Where an endpoint is: the place of its Node, but the zone its slice states.
    fn locality(&self, endpoint: &Endpoint) -> place::Locality {
        let node = endpoint.node.as_ref().and_then(|name| self.world.node(name));
        let locality = node.map(|node| node.locality.clone()).unwrap_or_default();
        match &endpoint.zone {
            // A subzone of another zone would be a lie.
            Some(zone) if *zone != locality.zone => {
                place::Locality { zone: zone.clone(), subzone: "".into(), ..locality }
            }
            _ => locality,
        }
    }

    /// Whether an endpoint may be picked.
    fn is_ready(&self, endpoint: &Endpoint) -> bool {
        if self.leaving {
            return endpoint.serving && endpoint.terminating;
        }
        endpoint.ready || (self.service.publish_not_ready && !endpoint.terminating)
    }

    /// Whether an endpoint belongs to the cluster; where its Pod decides, the Pod goes to `pods`.
    fn wants(&self, endpoint: &Endpoint, pods: &mut Vec<ObjectRef>) -> bool {
        let known = self.is_ready(endpoint) || (self.list_unready && !self.leaving && !endpoint.terminating);
        let listed = known && self.families.has(endpoint.address);
        let Some(labels) = self.labels.filter(|_| listed) else { return listed };
        let pod = endpoint.pod.as_ref().and_then(|pod| self.world.pod(&self.service.key.namespace, pod));
        let selected = pod.filter(|pod| selects(labels, &pod.labels));
        pods.extend(selected.iter().map(|pod| pod.reference()));
        selected.is_some()
    }
}

/// How many times as many endpoints as are healthy are taken to be: one in a hundred is enough for a priority to get all
/// requests. Kubernetes prefers what is near as long as there is any.
const STRICTLY: u32 = 10_000;

/// The part of an endpoint's metadata by which clusters choose how to connect.
const TRANSPORT: &str = "envoy.transport_socket_match";

/// Builds the load assignment: localities weighted by their endpoints.
pub fn build(inputs: &EndpointInputs) -> Resource {
    let localities = inputs.endpoints.chunk_by(|a, b| (a.priority, &a.locality) == (b.priority, &b.locality));
    let prefers = inputs.endpoints.last().is_some_and(|endpoint| endpoint.priority > 0);
    let factor = Some(proto::u32_value(STRICTLY));
    let policy = || envoy::cluster_load_assignment::Policy { overprovisioning_factor: factor, ..Default::default() };
    let assignment = envoy::ClusterLoadAssignment {
        cluster_name: inputs.cluster.to_string(),
        endpoints: localities.map(locality).collect(),
        policy: prefers.then(policy),
        ..Default::default()
    };
    let healthy = inputs.endpoints.iter().filter(|endpoint| endpoint.healthy);
    Resource::new(Kind::Endpoint, &inputs.cluster, &assignment, Vec::new(), inputs.provenance.clone())
        .with_vital(healthy.map(|endpoint| endpoint.address))
}

fn locality(endpoints: &[ResolvedEndpoint]) -> envoy::LocalityLbEndpoints {
    let place::Locality { region, zone, subzone } = &endpoints[0].locality;
    let weight = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
    envoy::LocalityLbEndpoints {
        locality: Some(Locality { region: region.to_string(), zone: zone.to_string(), sub_zone: subzone.to_string() }),
        lb_endpoints: endpoints.iter().map(lb_endpoint).collect(),
        priority: endpoints[0].priority,
        // gRPC clients drop a locality without a weight.
        load_balancing_weight: Some(proto::u32_value(weight)),
        ..Default::default()
    }
}

/// What has the cluster speak mutual TLS to an endpoint.
fn mutual() -> Metadata {
    Metadata {
        filter_metadata: [(TRANSPORT.to_owned(), tls::mutual())].into(),
        typed_filter_metadata: Default::default(),
    }
}

fn lb_endpoint(endpoint: &ResolvedEndpoint) -> envoy::LbEndpoint {
    let health = if endpoint.healthy { HealthStatus::Healthy } else { HealthStatus::Unhealthy };
    let other = |address| envoy::endpoint::AdditionalAddress { address: Some(proto::socket(address)) };
    let host = envoy::Endpoint {
        address: Some(proto::socket(endpoint.address)),
        additional_addresses: endpoint.other.map(other).into_iter().collect(),
        // Envoy keeps an endpoint whose first address stays and overlooks that the others change, unless its name does.
        hostname: endpoint.other.map(|address| address.to_string()).unwrap_or_default(),
        ..Default::default()
    };
    envoy::LbEndpoint {
        metadata: endpoint.mutual.then(mutual),
        health_status: health.into(),
        load_balancing_weight: Some(proto::u32_value(1)),
        host_identifier: Some(envoy::lb_endpoint::HostIdentifier::Endpoint(host)),
    }
}
