//! Virtual hosts between which a domain moves while one of them has to wait for a cluster: Envoy would reject a route
//! configuration with the domain in both, so all of it waits.

use chancery::model::provenance::Provenance;
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Fragment, Ref, Resource};
use chancery::snapshot::set::{Layer, Snapshot};
use chancery::xds::request::{Names, Request, Wire};
use chancery::xds::response::Response;
use chancery::xds::session::Session;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use std::sync::Arc;
use std::time::Instant;

/// A virtual host: its name, its domains and its cluster.
type Host<'a> = (&'a str, &'a [&'a str], &'a str);

fn routes(hosts: &[Host<'_>]) -> Resource {
    let fragment = |(name, domains, cluster): &Host<'_>| {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        let host = VirtualHost { name: (*name).to_owned(), domains, ..VirtualHost::default() };
        let refs = vec![Ref { kind: Kind::Cluster, name: (*cluster).into() }];
        Arc::new(Fragment::new(name, 2, &host, refs, Provenance::default()))
    };
    let fragments: Fragments = hosts.iter().map(fragment).collect();
    Resource::of_fragments(Kind::Route, "80", &RouteConfiguration::default(), fragments, Provenance::default())
}

fn snapshot(clusters: &[&str], hosts: &[Host<'_>]) -> Snapshot {
    let mut layer = Layer::default();
    for name in clusters {
        layer.insert(Arc::new(Resource::opaque(Kind::Cluster, name, name.as_bytes(), vec![])));
    }
    layer.insert(Arc::new(routes(hosts)));
    Snapshot { outbound: Arc::new(layer), ..Snapshot::default() }
}

fn request(kind: Kind, names: &[&str], nonce: u64) -> Request {
    let (subscribe, unsubscribe) = (names.iter().collect(), Vec::<String>::new().into());
    Request {
        type_url: kind.type_url().to_owned(),
        node: Some(Node { id: "node".to_owned(), ..Node::default() }),
        nonce: if nonce == 0 { String::new() } else { nonce.to_string() },
        error: None,
        stated: false,
        names: Names::Change { subscribe, unsubscribe, initial: Default::default() },
    }
}

/// What is sent before anything of it is acknowledged; the second list is what follows when everything is.
fn told(second: &Snapshot) -> [Vec<Response>; 2] {
    let (mut session, now) = (Session::new(Wire::Delta), Instant::now());
    session.on_snapshot(snapshot(&["a", "b"], &[("x", &["d", "f"], "a"), ("y", &["e"], "b")]), now);
    let polled = |session: &mut Session| -> Vec<Response> { std::iter::from_fn(|| session.poll(now)).collect() };
    let acknowledge = |session: &mut Session, sent: &[Response]| {
        for response in sent {
            session.on_request(&request(response.kind, &[], response.nonce), now).expect("an ACK");
        }
    };
    for (kind, names) in [(Kind::Cluster, &[][..]), (Kind::Route, &["80"])] {
        session.on_request(&request(kind, names, 0), now).expect("a first request");
        let sent = polled(&mut session);
        assert_eq!(sent.len(), 1, "{kind}");
        acknowledge(&mut session, &sent);
    }
    session.on_snapshot(second.clone(), now);
    let sent = polled(&mut session);
    acknowledge(&mut session, &sent);
    [sent, polled(&mut session)]
}

fn kinds(sent: &[Response]) -> Vec<Kind> {
    sent.iter().map(|response| response.kind).collect()
}

/// Which of these texts the routes in a list of responses contain.
fn contains(sent: &[Response], texts: [&str; 2]) -> [bool; 2] {
    let routes = sent.iter().find(|response| response.kind == Kind::Route).expect("routes");
    let body = routes.resources[0].message::<RouteConfiguration>().expect("a route configuration");
    let domains: Vec<_> = body.virtual_hosts.iter().flat_map(|host| &host.domains).collect();
    texts.map(|text| domains.iter().any(|domain| *domain == text))
}

#[test]
fn a_domain_that_moves_waits_with_all_routes() {
    // `x` waits for the new cluster; `y` takes over a domain of it.
    let moved = snapshot(&["a", "b", "c"], &[("x", &["f"], "c"), ("y", &["e", "D"], "b")]);
    let [first, then] = told(&moved);
    assert_eq!(kinds(&first), [Kind::Cluster]);
    assert_eq!((kinds(&then), contains(&then, ["d", "D"])), (vec![Kind::Route], [false, true]));
}

#[test]
fn other_domains_do_not_wait() {
    for x in [&["d", "f"][..], &["f", "d", "new"]] {
        let changed = snapshot(&["a", "b", "c"], &[("x", x, "c"), ("y", &["e", "g"], "b"), ("z", &["h"], "c")]);
        let [first, then] = told(&changed);
        assert_eq!((kinds(&first), contains(&first, ["g", "h"])), (vec![Kind::Cluster, Kind::Route], [true, false]));
        assert_eq!((kinds(&then), contains(&then, ["g", "h"])), (vec![Kind::Route], [true, true]));
    }
}
