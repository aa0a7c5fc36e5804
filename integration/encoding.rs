//! One encoding serves both wire forms: what a resource holds decodes as entries of Delta and of SotW responses.

#[path = "encoding/change.rs"]
mod change;
#[path = "encoding/lint.rs"]
mod lint;
#[path = "encoding/references.rs"]
mod references;
#[path = "encoding/vital.rs"]
mod vital;

use bytes::Bytes;
use chancery::model::name::{Name as ObjectName, Namespace};
use chancery::model::provenance::{ObjectKey, ObjectKind, ObjectRef, Provenance};
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Fragment, Ref, Resource, any};
use chancery::snapshot::set::Layer;
use chancery::xds::frames::Frames;
use chancery::xds::request::Wire;
use chancery::xds::response::Response;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::rbac::v3::{Policy, Rbac};
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use prost::Message;
use std::collections::BTreeSet;
use std::sync::Arc;

fn cluster(name: &str) -> Cluster {
    Cluster { name: name.into(), alt_stat_name: "stat;".into(), ..Cluster::default() }
}

fn resource(message: &Cluster) -> Resource {
    Resource::new(Kind::Cluster, "c", message, Vec::new(), Provenance::default())
}

#[test]
fn the_sotw_entry_is_a_suffix_of_the_delta_entry() {
    let long = "x".repeat(70_000); // Lengths of one and of three bytes.
    for name in ["c", long.as_str()] {
        let message = cluster(name);
        let resource = resource(&message);
        assert!(resource.delta_entry().ends_with(&resource.sotw_entry()));

        let delta = DeltaDiscoveryResponse::decode(resource.delta_entry()).expect("a response");
        let [entry] = delta.resources.as_slice() else { panic!("one resource: {delta:?}") };
        assert_eq!((entry.name.as_str(), &entry.version), ("c", &resource.version().to_string()));
        let held = entry.resource.as_ref().expect("an Any");
        assert_eq!(held.type_url, Kind::Cluster.type_url());
        assert_eq!(Cluster::decode(held.value.as_slice()).expect("a cluster"), message);

        let sotw = DiscoveryResponse::decode(resource.sotw_entry()).expect("a response");
        assert_eq!(sotw.resources, std::slice::from_ref(held));
    }
}

#[test]
fn entries_follow_one_another_in_a_response() {
    let resources = [resource(&cluster("one")), resource(&cluster("two"))];
    let joined: Vec<u8> = resources.iter().flat_map(|resource| resource.sotw_entry()).collect();
    let response = DiscoveryResponse::decode(joined.as_slice()).expect("a response");
    let names = response.resources.iter().map(|held| Cluster::decode(held.value.as_slice()).expect("a cluster").name);
    assert_eq!(names.collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn the_body_gives_the_message_back() {
    for message in [cluster("c"), cluster(&"x".repeat(200)), Cluster::default()] {
        assert_eq!(resource(&message).body(), message.encode_to_vec());
    }
    assert!(resource(&Cluster::default()).body().is_empty());
}

#[test]
fn equal_content_has_an_equal_version() {
    assert_eq!(resource(&cluster("c")).version(), resource(&cluster("c")).version());
    assert_ne!(resource(&cluster("c")).version(), resource(&cluster("d")).version());
    assert_eq!(resource(&cluster("c")).version().to_string().len(), 32);
}

#[test]
fn an_any_is_canonical() {
    let rbac = || {
        let policies = ["a", "b", "c"].map(|name| (name.to_owned(), Policy::default()));
        Rbac { policies: policies.into_iter().collect(), ..Rbac::default() }
    };
    let packed: BTreeSet<Vec<u8>> = (0..100).map(|_| any(&rbac()).value).collect();
    let plain: BTreeSet<Vec<u8>> = (0..100).map(|_| rbac().encode_to_vec()).collect();
    assert_eq!((packed.len(), plain.len() > 1), (1, true));
    assert_eq!(any(&rbac()).type_url, "type.googleapis.com/envoy.config.rbac.v3.RBAC");
}

fn source(name: &str) -> Provenance {
    let (namespace, name) = (Namespace::from("shop"), ObjectName::from(name));
    let key = ObjectKey { kind: ObjectKind::VirtualService, namespace, name };
    [ObjectRef { key, generation: Some(1), uid: None }].into_iter().collect()
}

#[test]
fn fragments_make_the_whole_route_configuration() {
    let hosts = ["a", "b"].map(|name| VirtualHost {
        name: name.into(),
        domains: vec![format!("{name}.example.com")],
        ..VirtualHost::default()
    });
    let target = |name: &str| Ref { kind: Kind::Cluster, name: name.into() };
    let fragments: Vec<Arc<Fragment>> = hosts
        .iter()
        .map(|host| Fragment::new(&host.name, 2, host, vec![target(&host.name), target("shared")], source(&host.name)))
        .map(Arc::new)
        .collect();
    let head = RouteConfiguration { name: "8080".into(), ..RouteConfiguration::default() };
    let fragments: Fragments = fragments.into_iter().collect();
    let made = Resource::of_fragments(Kind::Route, "8080", &head, fragments.clone(), source("sidecar"));

    let whole = RouteConfiguration { virtual_hosts: hosts.to_vec(), ..head };
    assert_eq!(RouteConfiguration::decode(made.body()).expect("a route configuration"), whole);
    let refs: BTreeSet<_> = made.refs().cloned().collect();
    assert_eq!(refs, [target("a"), target("b"), target("shared")].into());
    let names: BTreeSet<String> = made.sources().map(|object| object.key.name.to_string()).collect();
    assert_eq!(names, ["a", "b", "sidecar"].map(str::to_owned).into());
    assert_eq!(made.fragments(), Some(&fragments));
}

#[test]
fn joined_bytes_are_shared_while_they_are_held() {
    let fragment = |name: &str| {
        let host = VirtualHost { name: name.into(), ..VirtualHost::default() };
        Arc::new(Fragment::new(name, 2, &host, vec![], Provenance::default()))
    };
    let head = RouteConfiguration::default();
    let fragments: Fragments = ["a", "b"].map(fragment).into_iter().collect();
    let made = Resource::of_fragments(Kind::Route, "80", &head, fragments, Provenance::default());
    let (first, second) = (made.delta_entry(), made.delta_entry());
    assert_eq!(first.as_ptr(), second.as_ptr());
    assert!(first.ends_with(&made.sotw_entry()) && made.sotw_entry().ends_with(&made.body()));
}

#[test]
fn a_roll_is_joined_once_while_it_is_being_written() {
    let mut layer = Layer::default();
    for number in 0..100 {
        let content = vec![number; 1000];
        layer.insert(Arc::new(Resource::opaque(Kind::Cluster, &format!("c{number}"), &content, vec![])));
    }
    let frames = || {
        let (roll, version) = (layer.roll(Kind::Cluster), layer.digest(Kind::Cluster).version());
        let (resources, removed) = (Vec::new(), Vec::new());
        let response = Response { kind: Kind::Cluster, nonce: 1, version, roll: Some(roll), resources, removed };
        Frames::new(&response, Wire::Delta)
    };
    let chunks = |mut frames: Frames| std::iter::from_fn(move || frames.next_chunk()).collect::<Vec<_>>();
    let addresses = |chunks: &[Bytes]| chunks.iter().skip(1).map(|chunk| chunk.as_ptr()).collect::<Vec<_>>();
    let (mut first, second) = (frames(), chunks(frames()));
    let head = first.next_chunk().expect("a head");
    let first: Vec<_> = std::iter::once(head).chain(chunks(first)).collect();
    assert_eq!(addresses(&first), addresses(&second));
    // The control: nobody writes it any more, though the bytes are still there.
    assert_ne!(addresses(&chunks(frames())), addresses(&second));
    assert_eq!(chunks(frames()).concat(), second.concat());
}

#[test]
fn the_version_of_fragments_depends_on_their_content_only() {
    let fragment = |name: &str, domain: &str| {
        let host = VirtualHost { name: name.into(), domains: vec![domain.into()], ..VirtualHost::default() };
        Arc::new(Fragment::new(name, 2, &host, vec![], Provenance::default()))
    };
    let made = |fragments: Fragments| {
        let head = RouteConfiguration::default();
        Resource::of_fragments(Kind::Route, "80", &head, fragments, Provenance::default()).version()
    };
    let (a, b) = (fragment("a", "x"), fragment("b", "x"));
    let mut changed: Fragments = [b.clone(), fragment("c", "x"), fragment("a", "y")].into_iter().collect();
    changed.insert(a.clone());
    changed.remove("c");
    changed.remove("never there");
    assert_eq!(made(changed.clone()), made([a, b.clone()].into_iter().collect()));
    assert_ne!(made(changed), made([fragment("a", "y"), b].into_iter().collect()));
}
