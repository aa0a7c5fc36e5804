//! Much has gone at once and stays for minutes, since it may still be used: what changes meanwhile costs what has changed,
//! counted in names that are looked at.

use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Ref, Resource};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::gate::Options;
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::session::Session;
use envoy_types::pb::envoy::config::core::v3::Node;
use std::sync::Arc;
use std::time::Instant;

/// How many clusters go.
const MANY: usize = 200;

fn resource(kind: Kind, name: &str, content: &str, refs: Vec<(Kind, String)>) -> Arc<Resource> {
    let refs = refs.into_iter().map(|(kind, name)| Ref { kind, name: name.into() }).collect();
    Arc::new(Resource::opaque(kind, name, content.as_bytes(), refs))
}

/// A listener, one cluster that has endpoints of that content, and perhaps many clusters that the listener names.
fn snapshot(many: bool, endpoints: usize) -> Snapshot {
    let names: Vec<String> = (0..if many { MANY } else { 0 }).map(|number| format!("c{number}")).collect();
    let mut layer = Layer::default();
    for name in &names {
        layer.insert(resource(Kind::Cluster, name, "1", vec![(Kind::Endpoint, name.clone())]));
        layer.insert(resource(Kind::Endpoint, name, "1", Vec::new()));
    }
    layer.insert(resource(Kind::Cluster, "x", "1", vec![(Kind::Endpoint, "x".to_owned())]));
    layer.insert(resource(Kind::Endpoint, "x", &endpoints.to_string(), Vec::new()));
    let refs = names.into_iter().map(|name| (Kind::Cluster, name)).collect();
    layer.insert(resource(Kind::Listener, "l", &many.to_string(), refs));
    Snapshot { outbound: Arc::new(layer), ..Snapshot::default() }
}

fn request(kind: Kind, names: Vec<String>, nonce: String) -> Request {
    let (node, none) = (Some(Node { id: "node".to_owned(), ..Node::default() }), Vec::<String>::new());
    let names = Names::Change { subscribe: names.into(), unsubscribe: none.into(), initial: Default::default() };
    Request { type_url: kind.type_url().to_owned(), node, nonce, error: None, stated: false, names }
}

/// What is sent until nothing more comes, and how many resources it carries or removes; everything is accepted.
fn told(session: &mut Session, now: Instant) -> Vec<(Kind, usize)> {
    let mut told = Vec::new();
    while let Some(response) = session.poll(now) {
        told.push((response.kind, response.all().count() + response.removed.len()));
        let answer = request(response.kind, Vec::new(), response.nonce.to_string());
        session.on_request(&answer, now).expect("a session that goes on");
    }
    told
}

#[test]
fn what_stays_costs_later_changes_nothing() {
    let (options, mut now) = (Options::default(), Instant::now());
    let mut session = Session::with(Wire::Delta, options);
    session.on_snapshot(snapshot(true, 0), now);
    let endpoints = (0..MANY).map(|number| format!("c{number}")).chain(["x".to_owned()]).collect();
    for (kind, names) in [(Kind::Cluster, Vec::new()), (Kind::Endpoint, endpoints), (Kind::Listener, Vec::new())] {
        session.on_request(&request(kind, names, String::new()), now).expect("a session that goes on");
        told(&mut session, now);
    }
    session.on_snapshot(snapshot(false, 0), now);
    assert_eq!(told(&mut session, now), [(Kind::Listener, 1)], "what it named stays");
    let lingers = |session: &Session| session.status().into_iter().map(|status| status.lingering.len()).sum::<usize>();
    let looks = session.counters().looks;
    assert_eq!(lingers(&session), MANY);
    assert!(looks >= MANY as u64, "the control: when it went everything was looked at");
    for change in 1..20 {
        session.on_snapshot(snapshot(false, change), now);
        assert_eq!(told(&mut session, now), [(Kind::Endpoint, 1)]);
    }
    assert_eq!((session.counters().looks, lingers(&session)), (looks, MANY), "nothing has happened to what stays");
    now += options.listener_linger;
    let removed: Vec<_> = told(&mut session, now).into_iter().filter(|(kind, _)| *kind == Kind::Cluster).collect();
    assert_eq!((removed, lingers(&session)), (vec![(Kind::Cluster, MANY)], 0), "and then it goes");
}
