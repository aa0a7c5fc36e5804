//! Endpoints that a proxy has of its own, in place of the audience's, in both wire forms: they appear, change and go, while
//! the first answer is on its way and afterwards.

use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Ref, Resource};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::session::Session;
use envoy_types::pb::envoy::config::core::v3::Node;
use std::sync::Arc;
use std::time::Instant;

fn layer(resources: &[(Kind, &str, &str)]) -> Arc<Layer> {
    let mut layer = Layer::default();
    for (kind, name, content) in resources {
        let refs =
            if *kind == Kind::Cluster { vec![Ref { kind: Kind::Endpoint, name: (*name).into() }] } else { vec![] };
        layer.insert(Arc::new(Resource::opaque(*kind, name, content.as_bytes(), refs)));
    }
    Arc::new(layer)
}

/// What the audience has of two clusters, and what the proxy has of its own.
fn snapshot(common: &str, own: &[(&str, &str)]) -> Snapshot {
    let clusters = ["a", "b"].map(|name| (Kind::Cluster, name, "1"));
    let endpoints = ["a", "b"].map(|name| (Kind::Endpoint, name, common));
    let own: Vec<_> = own.iter().map(|(name, content)| (Kind::Endpoint, *name, *content)).collect();
    Snapshot { outbound: layer(&[clusters, endpoints].concat()), inbound: layer(&own), ..Snapshot::default() }
}

fn request(wire: Wire, kind: Kind, names: &[&str], nonce: Option<u64>) -> Request {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Request {
        type_url: kind.type_url().to_owned(),
        node: Some(Node { id: "node".to_owned(), ..Node::default() }),
        nonce: nonce.map_or_else(String::new, |nonce| nonce.to_string()),
        error: None,
        stated: false,
        names: match wire {
            Wire::Sotw => Names::All(names.iter().collect()),
            Wire::Delta => {
                let subscribe = if nonce.is_some() { Vec::new() } else { names };
                let unsubscribe = Vec::<String>::new().into();
                Names::Change { subscribe: subscribe.iter().collect(), unsubscribe, initial: Default::default() }
            }
        },
    }
}

/// What was sent of endpoints until nothing more comes, each as `name=content`; everything is accepted.
fn told(session: &mut Session, wire: Wire) -> Vec<String> {
    let (now, mut told) = (Instant::now(), Vec::new());
    while let Some(response) = session.poll(now) {
        if response.kind == Kind::Endpoint {
            let content =
                |resource: &Arc<Resource>| format!("{}={}", resource.name(), String::from_utf8_lossy(&resource.body()));
            told.extend(response.all().map(content));
        }
        let names: &[&str] = if response.kind == Kind::Endpoint { &["a", "b"] } else { &[] };
        let answer = request(wire, response.kind, names, Some(response.nonce));
        session.on_request(&answer, now).expect("an answer");
    }
    told.sort();
    told
}

/// A session that has asked for everything, before anything was sent.
fn asked(wire: Wire, first: Snapshot) -> Session {
    let (mut session, now) = (Session::new(wire), Instant::now());
    session.on_snapshot(first, now);
    for (kind, names) in [(Kind::Cluster, &[][..]), (Kind::Endpoint, &["a", "b"])] {
        session.on_request(&request(wire, kind, names, None), now).expect("a first request");
    }
    session
}

#[test]
fn own_endpoints_come_before_the_audiences() {
    for wire in [Wire::Delta, Wire::Sotw] {
        let mut session = asked(wire, snapshot("far", &[("a", "near")]));
        assert_eq!(told(&mut session, wire), ["a=near", "b=far"], "{wire:?}");
        let mut next = |common, own: &[(&str, &str)]| {
            session.on_snapshot(snapshot(common, own), Instant::now());
            told(&mut session, wire)
        };
        assert_eq!(next("far", &[("a", "nearer")]), ["a=nearer"], "{wire:?}: its own changes");
        assert_eq!(next("farther", &[("a", "nearer")]), ["b=farther"], "{wire:?}: the audience's changes");
        assert_eq!(next("farther", &[]), ["a=farther"], "{wire:?}: its own goes");
        assert_eq!(next("farther", &[("b", "near")]), ["b=near"], "{wire:?}: another appears");
        assert_eq!(next("farther", &[("b", "farther")]), ["b=farther"], "{wire:?}");
        assert_eq!(next("farther", &[]), [""; 0], "{wire:?}: what goes is the same");
    }
}

#[test]
fn own_endpoints_appear_while_the_first_answer_waits() {
    for wire in [Wire::Delta, Wire::Sotw] {
        let mut session = asked(wire, snapshot("far", &[]));
        session.on_snapshot(snapshot("far", &[("a", "near")]), Instant::now());
        assert_eq!(told(&mut session, wire), ["a=near", "b=far"], "{wire:?}: appears");
        let mut session = asked(wire, snapshot("far", &[("a", "near")]));
        session.on_snapshot(snapshot("far", &[]), Instant::now());
        assert_eq!(told(&mut session, wire), ["a=far", "b=far"], "{wire:?}: goes");
    }
}
