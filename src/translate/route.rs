//! Virtual hosts: where requests to one service on one port go.

use super::proto::{bool_value, duration, u32_value};
use super::unit::{HostInputs, HostUnit, Inputs, Selection, Targets};
use super::{alias, balance, destination, domains, headless, names, route_match, secure, speech, visible};
use crate::model::destination::{DestinationRule, HashKey, LoadBalancer};
use crate::model::mesh::OutboundMode;
use crate::model::name::{Host, Namespace, ServiceKey};
use crate::model::object::{Stored, by_age};
use crate::model::provenance::{ObjectRef, Provenance};
use crate::model::route::{Destination, HttpRoute, VirtualService};
use crate::model::service::{Protocol, Service, ServicePort};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{Fragment, Ref, any};
use envoy_types::pb::envoy::config::route::v3 as envoy;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The field of a route configuration that carries virtual hosts.
const VIRTUAL_HOSTS: u32 = 2;
/// Istio's default retries: only before a request can have had an effect.
const RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";

/// Selects what a virtual host routes to.
pub fn select(world: &Tracked, view: &View, unit: &HostUnit) -> Selection {
    let Some((service, domains)) = domains::of(world, view, unit) else { return Selection::default() };
    let routes = in_effect(world, view, &unit.service);
    let mut resolver =
        Resolver { world, view, service: &unit.service, port: unit.table.port, sources: vec![service.reference()] };
    resolver.sources.extend(routes.iter().map(|routes| routes.reference()));
    resolver.sources.extend(alias::names(world, view, &service, unit.table.port).iter().map(|alias| alias.reference()));
    let targets = match &routes {
        Some(routes) => routes.http.iter().map(|http| resolver.targets(http)).collect(),
        None => {
            vec![resolver.default_targets(&service)]
        }
    };
    Selection::of_inputs([Inputs::VirtualHost(HostInputs {
        host: service.host.clone(),
        port: unit.table.port,
        domains,
        routes,
        targets,
        provenance: resolver.sources.into_iter().collect(),
    })])
}

/// The VirtualService in effect for a service: that of the audience's own namespace, else that of the service's; in each
/// the one with the most specific host, and of several the oldest. A third namespace can't route other people's traffic,
/// and what is not exported to the audience's namespace is not there.
fn in_effect(world: &Tracked, view: &View, service: &ServiceKey) -> Option<Stored<VirtualService>> {
    let host = service.host();
    let mut all = world.routes_for(&host);
    if all.is_empty() {
        return None;
    }
    let mesh = world.mesh();
    all.retain(|routes| {
        let exports = routes.exports.as_ref().unwrap_or(&mesh.virtual_service_exports);
        exports.reach(&routes.key().namespace, view)
    });
    let specificity =
        |routes: &VirtualService| routes.hosts.iter().filter(|named| named.covers(&host)).map(Host::specificity).max();
    let best = |of: &dyn Fn(&Namespace) -> bool| {
        let mine = all.iter().filter(|routes| of(&routes.key().namespace));
        let order = |a: &Stored<_>, b: &Stored<_>| specificity(b).cmp(&specificity(a)).then_with(|| by_age(a, b));
        mine.min_by(|a, b| order(a, b)).cloned()
    };
    best(&|namespace| view.is_in(namespace)).or_else(|| best(&|namespace| *namespace == service.namespace))
}

/// The services that the routes in effect for a service lead to.
pub fn destinations(world: &Tracked, view: &View, service: &ServiceKey) -> BTreeSet<ServiceKey> {
    let routes = in_effect(world, view, service);
    let all = routes.iter().flat_map(|routes| &routes.http).flat_map(|http| &http.destinations);
    let services = all.filter_map(|to| alias::resolve(world, &to.destination.host));
    services.filter(|to| visible::exported(world, view, to)).map(|to| to.key.clone()).collect()
}

/// What a destination stands for.
struct Found {
    cluster: Arc<str>,
    /// What is hashed to pick one of its endpoints.
    hash: Option<HashKey>,
    /// Whether requests have to say there that they are HTTP.
    speaks_up: bool,
}

impl Found {
    fn nothing() -> Self {
        Self { cluster: names::BLACK_HOLE.into(), hash: None, speaks_up: false }
    }
}

/// Finds the clusters that destinations stand for, and remembers the objects that decided.
struct Resolver<'a> {
    world: &'a Tracked<'a>,
    view: &'a View<'a>,
    /// The service that was asked for.
    service: &'a ServiceKey,
    /// The port of the route configuration.
    port: u16,
    sources: Vec<ObjectRef>,
}

impl Resolver<'_> {
    fn targets(&mut self, http: &HttpRoute) -> Targets {
        let found = http.destinations.iter().map(|to| self.existing(&to.destination));
        // The black hole where a destination doesn't exist, so that every reference resolves.
        let found = found.map(|found| found.unwrap_or_else(Found::nothing));
        let found: Vec<Found> = found.collect();
        let hashes: BTreeSet<_> = found.iter().filter_map(|found| found.hash.clone()).collect();
        let speak_up: BTreeSet<_> = found.iter().filter(|found| found.speaks_up).map(|it| it.cluster.clone()).collect();
        Targets {
            clusters: found.into_iter().map(|found| found.cluster).collect(),
            speak_up: speak_up.into_iter().collect(),
            hashes: hashes.into_iter().collect(),
        }
    }

    /// The service itself.
    fn default_targets(&mut self, service: &Service) -> Targets {
        let rules = destination::rules(self.world, self.view, &service.key);
        let cluster = names::outbound(self.port, None, &service.host);
        let hashes = self.hash(&rules, None, self.port).into_iter().collect();
        let speak_up = self.speaks_up(service, &rules, (None, self.port)).then(|| cluster.clone());
        Targets { clusters: vec![cluster], speak_up: speak_up.into_iter().collect(), hashes }
    }

    /// Whether requests have to say to a workload that they are HTTP: on a port of which nobody says what it speaks.
    fn speaks_up(
        &mut self,
        service: &Service,
        rules: &[Stored<DestinationRule>],
        (subset, port): (Option<&str>, u16),
    ) -> bool {
        let unnamed = |it: &ServicePort| it.number == port && it.protocol == Protocol::Unnamed;
        if !self.view.certified() || !service.ports.iter().any(unnamed) {
            return false;
        }
        let policy = destination::policy(rules, subset, port);
        if policy.tls.is_some() {
            self.sources.extend(rules.iter().map(|rule| rule.reference()));
        }
        secure::says_what_follows(self.view, &self.world.mesh(), &policy)
    }

    /// What a destination stands for.
    fn existing(&mut self, to: &Destination) -> Option<Found> {
        let mut chain = alias::chain(self.world, &to.host);
        if !chain.iter().all(|service| visible::exported(self.world, self.view, service)) {
            return None;
        }
        let service = chain.pop()?;
        self.sources.extend(chain.iter().map(|alias| alias.reference()));
        let port = target_port(to, &service, self.port)?;
        let rules = destination::rules(self.world, self.view, &service.key);
        if let Some(subset) = &to.subset {
            destination::find(&rules, subset)?;
            self.sources.extend(rules.iter().map(|rule| rule.reference()));
        }
        let hash = self.hash(&rules, to.subset.as_deref(), port);
        let speaks_up = self.speaks_up(&service, &rules, (to.subset.as_deref(), port));
        let policy = destination::policy(&rules, None, port);
        // Who asked for another service has picked none of this one's Pods.
        let elsewhere = to.subset.is_none() && service.key != *self.service;
        let listed = Some(&*service).filter(|_| elsewhere);
        let listed = listed.and_then(|service| headless::listed(self.view, service, port, &policy));
        let cluster = listed.unwrap_or_else(|| names::outbound(port, to.subset.as_deref(), &service.host));
        Some(Found { cluster, hash, speaks_up })
    }

    fn hash(&mut self, rules: &[Stored<DestinationRule>], subset: Option<&str>, port: u16) -> Option<HashKey> {
        match destination::policy(rules, subset, port).load_balancer {
            Some(LoadBalancer::ConsistentHash { key, .. }) => {
                self.sources.extend(rules.iter().map(|rule| rule.reference()));
                Some(key)
            }
            _ => None,
        }
    }
}

/// The port a destination means: the one it names, else the service's only one, else the one the request came for.
pub fn target_port(to: &Destination, service: &Service, route_port: u16) -> Option<u16> {
    let mut proxied = service.ports.iter().filter(|port| port.protocol != Protocol::Udp).map(|port| port.number);
    match (to.port, service.ports.as_slice()) {
        (Some(number), _) => proxied.find(|port| *port == number),
        (None, [_]) => proxied.next(),
        (None, _) => proxied.find(|port| *port == route_port),
    }
}

/// Builds a virtual host.
pub fn build(inputs: &HostInputs) -> Fragment {
    let name = format!("{}:{}", inputs.host, inputs.port);
    let routes = match &inputs.routes {
        Some(routes) => routed(inputs, routes),
        None => inputs.targets.iter().map(|targets| default_route(inputs, targets)).collect(),
    };
    let host = envoy::VirtualHost {
        name: name.clone(),
        domains: inputs.domains.iter().map(ToString::to_string).collect(),
        routes,
        include_request_attempt_count: true,
        ..Default::default()
    };
    Fragment::new(&name, VIRTUAL_HOSTS, &host, refs(inputs), inputs.provenance.clone())
}

fn refs(inputs: &HostInputs) -> Vec<Ref> {
    let clusters = inputs.targets.iter().flat_map(|targets| &targets.clusters);
    let mut refs: Vec<_> = clusters.map(|name| Ref { kind: Kind::Cluster, name: name.clone() }).collect();
    refs.sort();
    refs.dedup();
    refs
}

/// The virtual host for hosts nobody has: to the original destination, or 502.
pub fn catch_all(unknown: OutboundMode) -> Fragment {
    let (name, answer, refs) = match unknown {
        OutboundMode::AllowAny => {
            let refs = vec![Ref { kind: Kind::Cluster, name: names::PASSTHROUGH.into() }];
            let mut action = action(None, &[(names::PASSTHROUGH.into(), 1)]);
            action.retry_policy = None;
            ("allow_any", envoy::route::Action::Route(action), refs)
        }
        OutboundMode::RegistryOnly => {
            let response = envoy::DirectResponseAction { status: 502, ..Default::default() };
            ("block_all", envoy::route::Action::DirectResponse(response), Vec::new())
        }
    };
    let route = envoy::Route {
        name: name.to_owned(),
        r#match: Some(route_match::everything()),
        action: Some(answer),
        ..Default::default()
    };
    let host = envoy::VirtualHost {
        name: name.to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..Default::default()
    };
    Fragment::new(name, VIRTUAL_HOSTS, &host, refs, Provenance::default())
}

fn default_route(inputs: &HostInputs, targets: &Targets) -> envoy::Route {
    let weighted: Vec<_> = targets.clusters.iter().map(|name| (name.clone(), 1)).collect();
    let action = hashed(action(None, &weighted), &targets.hashes);
    speech::speak_up(route("default", inputs, route_match::everything(), action), &targets.speak_up)
}

/// One Envoy route per match; routes after one that matches everything are never reached and left out.
fn routed(inputs: &HostInputs, service: &VirtualService) -> Vec<envoy::Route> {
    let mut routes = Vec::new();
    for (http, targets) in service.http.iter().zip(&inputs.targets) {
        let weights = http.destinations.iter().map(|to| to.weight);
        let weighted: Vec<_> = targets.clusters.iter().cloned().zip(weights).collect();
        let action = hashed(action(http.timeout, &weighted), &targets.hashes);
        if http.matches.is_empty() {
            let route = route(&route_name(http, ""), inputs, route_match::everything(), action);
            routes.push(speech::speak_up(route, &targets.speak_up));
            return routes;
        }
        for condition in &http.matches {
            let name = route_name(http, &condition.name);
            let route = route(&name, inputs, route_match::build(condition), action.clone());
            routes.push(speech::speak_up(route, &targets.speak_up));
            if route_match::is_everything(condition) {
                return routes;
            }
        }
    }
    routes
}

fn route_name(http: &HttpRoute, condition: &str) -> String {
    match (&*http.name, condition) {
        ("", "") => "default".to_owned(),
        (name, "") | ("", name) => name.to_owned(),
        (name, condition) => format!("{name}.{condition}"),
    }
}

fn route(name: &str, inputs: &HostInputs, r#match: envoy::RouteMatch, action: envoy::RouteAction) -> envoy::Route {
    let operation = format!("{}:{}/*", inputs.host, inputs.port);
    envoy::Route {
        name: name.to_owned(),
        r#match: Some(r#match),
        decorator: Some(envoy::Decorator { operation, ..Default::default() }),
        action: Some(envoy::route::Action::Route(action)),
        ..Default::default()
    }
}

/// Where requests go: no timeout unless one is stated (Envoy: 15 s), and a client's `grpc-timeout` may not exceed it.
fn action(timeout: Option<Duration>, targets: &[(Arc<str>, u32)]) -> envoy::RouteAction {
    let timeout = timeout.unwrap_or_default();
    let stream = envoy::route_action::MaxStreamDuration {
        max_stream_duration: timeout.is_zero().then(|| duration(Duration::ZERO)),
        grpc_timeout_header_max: Some(duration(timeout)),
        ..Default::default()
    };
    envoy::RouteAction {
        cluster_specifier: Some(clusters(targets)),
        timeout: Some(duration(timeout)),
        max_stream_duration: Some(stream),
        retry_policy: Some(retries()),
        ..Default::default()
    }
}

/// An action that hashes. Retries then may go to the endpoint that failed, for the hash has no other (Istio's rule).
fn hashed(mut action: envoy::RouteAction, keys: &[HashKey]) -> envoy::RouteAction {
    action.hash_policy = keys.iter().map(balance::hash_policy).collect();
    if !keys.is_empty()
        && let Some(retries) = &mut action.retry_policy
    {
        retries.retry_host_predicate.clear();
        retries.host_selection_retry_max_attempts = 0;
    }
    action
}

/// One cluster, or several with weights; a weight of zero among several is left out.
fn clusters(targets: &[(Arc<str>, u32)]) -> envoy::route_action::ClusterSpecifier {
    use envoy::weighted_cluster::ClusterWeight;
    if let [(only, _)] = targets {
        return envoy::route_action::ClusterSpecifier::Cluster(only.to_string());
    }
    let weighted = targets.iter().filter(|(_, weight)| *weight > 0);
    let clusters = weighted.map(|(name, weight)| ClusterWeight {
        name: name.to_string(),
        weight: Some(u32_value(*weight)),
        ..Default::default()
    });
    envoy::route_action::ClusterSpecifier::WeightedClusters(envoy::WeightedCluster {
        clusters: clusters.collect(),
        ..Default::default()
    })
}

fn retries() -> envoy::RetryPolicy {
    let previous_hosts = envoy::retry_policy::RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(envoy::retry_policy::retry_host_predicate::ConfigType::TypedConfig(any(
            &PreviousHostsPredicate::default(),
        ))),
    };
    envoy::RetryPolicy {
        retry_on: RETRY_ON.to_owned(),
        num_retries: Some(u32_value(2)),
        retry_host_predicate: vec![previous_hosts],
        host_selection_retry_max_attempts: 5,
        ..Default::default()
    }
}

/// The inline route configuration of an inbound listener.
pub fn inbound(name: &str, port: u16) -> envoy::RouteConfiguration {
    let retry_policy = envoy::RetryPolicy {
        retry_on: "reset-before-request".to_owned(),
        num_retries: Some(u32_value(2)),
        ..Default::default()
    };
    let action = envoy::RouteAction { retry_policy: Some(retry_policy), ..action(None, &[(name.into(), 1)]) };
    let route = envoy::Route {
        name: "default".to_owned(),
        r#match: Some(route_match::everything()),
        action: Some(envoy::route::Action::Route(action)),
        ..Default::default()
    };
    let host = envoy::VirtualHost {
        name: format!("inbound|http|{port}"),
        domains: vec!["*".to_owned()],
        routes: vec![route],
        ..Default::default()
    };
    envoy::RouteConfiguration {
        name: name.to_owned(),
        validate_clusters: Some(bool_value(false)),
        virtual_hosts: vec![host],
        ..Default::default()
    }
}
