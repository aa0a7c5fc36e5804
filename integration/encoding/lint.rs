//! What Envoy would refuse is found before it is posted, each rule with what breaks it and what doesn't.

use chancery::model::provenance::Provenance;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::lint;
use chancery::snapshot::resource::{Ref, Resource};
use chancery::snapshot::set::{Layer, Snapshot};
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress, address, socket_address::PortSpecifier};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use envoy_types::pb::envoy::config::listener::v3::{AdditionalAddress, FilterChain, FilterChainMatch, Listener};
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use std::sync::Arc;

pub fn address(ip: &str) -> Address {
    let port_specifier = Some(PortSpecifier::PortValue(80));
    let socket = SocketAddress { address: ip.into(), port_specifier, ..Default::default() };
    Address { address: Some(address::Address::SocketAddress(socket)) }
}

fn listener(name: &str, ips: &[&str]) -> Resource {
    let additional = ips[1..].iter().map(|ip| AdditionalAddress { address: Some(address(ip)), ..Default::default() });
    let message =
        Listener { address: Some(address(ips[0])), additional_addresses: additional.collect(), ..Default::default() };
    Resource::new(Kind::Listener, name, &message, Vec::new(), Provenance::default())
}

fn layer(resources: impl IntoIterator<Item = Resource>) -> Layer {
    let mut layer = Layer::default();
    resources.into_iter().for_each(|resource| layer.insert(Arc::new(resource)));
    layer
}

fn found(resources: impl IntoIterator<Item = Resource>) -> Vec<String> {
    lint::layer(&layer(resources)).iter().map(ToString::to_string).collect()
}

#[test]
fn no_two_listeners_share_an_address() {
    assert_eq!(found([listener("a", &["0.0.0.0", "::"]), listener("b", &["10.0.0.1", "fd00::1"])]), [""; 0]);
    for ips in [&["0.0.0.0"][..], &["::"], &["10.0.0.1", "::"]] {
        let said = found([listener("a", &["0.0.0.0", "::"]), listener("b", ips)]);
        assert_eq!(said, ["lds b: has the address of another listener"], "{ips:?}");
    }
}

#[test]
fn no_name_stands_in_both_layers() {
    let halves = |inbound: &[&str]| Snapshot {
        outbound: Arc::new(layer([listener("a", &["10.0.0.1"])])),
        inbound: Arc::new(layer([listener(inbound[0], &inbound[1..])])),
        ..Snapshot::default()
    };
    assert_eq!(lint::snapshot(&halves(&["b", "10.0.0.2"])), []);
    assert_eq!(lint::snapshot(&halves(&["b", "10.0.0.1"])).len(), 1, "one address");
    assert_eq!(lint::snapshot(&halves(&["a", "10.0.0.2"])).len(), 1, "one name");
}

/// What each proxy has of its own stands in no shared layer; every other secret has to be there.
#[test]
fn a_proxys_own_secrets_are_elsewhere() {
    let naming = |secret: &str| {
        let refs = vec![Ref { kind: Kind::Secret, name: secret.into() }];
        let listener = Listener { address: Some(address("10.0.0.1")), ..Default::default() };
        found([Resource::new(Kind::Listener, "a", &listener, refs, Provenance::default())])
    };
    assert_eq!((naming("default"), naming("ROOTCA"), naming("kubernetes://far")), (vec![], vec![], vec![]));
    assert_eq!(naming("far"), ["lds a: names sds far, which is not there"]);
}

#[test]
fn no_two_chains_match_the_same() {
    let chain = |name: &str, transport: &str| FilterChain {
        name: name.into(),
        filter_chain_match: Some(FilterChainMatch { transport_protocol: transport.into(), ..Default::default() }),
        ..Default::default()
    };
    let with = |second: &str| {
        let filter_chains = vec![chain("one", "tls"), chain("two", second)];
        let message = Listener { filter_chains, ..Default::default() };
        found([Resource::new(Kind::Listener, "a", &message, Vec::new(), Provenance::default())])
    };
    assert_eq!(with("raw_buffer"), [""; 0]);
    assert_eq!(with("tls"), ["lds a: has two filter chains with one match, the second is two"]);
}

#[test]
fn no_domain_stands_twice_whatever_its_case() {
    let with = |second: &str| {
        let host = |domain: &str| VirtualHost { domains: vec![domain.into()], ..Default::default() };
        let message = RouteConfiguration { virtual_hosts: vec![host("echo"), host(second)], ..Default::default() };
        found([Resource::new(Kind::Route, "80", &message, Vec::new(), Provenance::default())])
    };
    assert_eq!(with("other"), [""; 0]);
    assert_eq!(with("ECHO"), ["rds 80: has the domain ECHO twice"]);
}

#[test]
fn no_endpoint_stands_twice() {
    let with = |second: &str| {
        let endpoint = |ip: &str| LbEndpoint {
            host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
                address: Some(address(ip)),
                ..Default::default()
            })),
            ..Default::default()
        };
        let lb_endpoints = vec![endpoint("10.0.0.1"), endpoint(second)];
        let endpoints = vec![LocalityLbEndpoints { lb_endpoints, ..Default::default() }];
        let message = ClusterLoadAssignment { endpoints, ..Default::default() };
        found([Resource::new(Kind::Endpoint, "c", &message, Vec::new(), Provenance::default())])
    };
    assert_eq!(with("10.0.0.2"), [""; 0]);
    assert_eq!(with("10.0.0.1"), ["eds c: has an endpoint twice"]);
}
