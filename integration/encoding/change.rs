//! Lint of a change, which looks at the change alone, finds something wrong where lint of everything does, in a layer and in one
//! that lies over another; and what is sifted from it is good.

use super::lint::address;
use chancery::model::provenance::Provenance;
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::lint::change::{Changed, Id, Sight, changes};
use chancery::snapshot::lint::index::Index;
use chancery::snapshot::lint::sift::{Sifted, sift};
use chancery::snapshot::lint::{layer as whole, refusals};
use chancery::snapshot::resource::{Fragment, Ref, Resource};
use chancery::snapshot::set::Layer;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The names in the layer beneath, and those in the one that lies over it.
const BENEATH: &[&str] = &["a", "b"];
const OVER: &[&str] = &["x", "y"];
const ALL: &[&str] = &["a", "b", "x", "y"];

fn refs(kind: Kind, names: &[&str]) -> Vec<Ref> {
    names.iter().map(|name| Ref { kind, name: (*name).into() }).collect()
}

fn cluster(name: &str, serial: u8, has_endpoints: bool) -> Resource {
    let message =
        Cluster { name: name.into(), alt_stat_name: format!("{serial} {has_endpoints}"), ..Cluster::default() };
    let own = [name];
    let refs = refs(Kind::Endpoint, if has_endpoints { &own } else { &[] });
    Resource::new(Kind::Cluster, name, &message, refs, Provenance::default())
}

fn endpoints(name: &str) -> Resource {
    let message = ClusterLoadAssignment { cluster_name: name.into(), ..ClusterLoadAssignment::default() };
    Resource::new(Kind::Endpoint, name, &message, Vec::new(), Provenance::default())
}

fn listener(name: &str, place: u8, clusters: &[&str], routes: &[&str]) -> Resource {
    let stat_prefix = format!("{clusters:?} {routes:?}");
    let message = Listener { address: Some(address(&format!("10.0.0.{place}"))), stat_prefix, ..Listener::default() };
    let refs = refs(Kind::Cluster, clusters).into_iter().chain(refs(Kind::Route, routes)).collect();
    Resource::new(Kind::Listener, name, &message, refs, Provenance::default())
}

fn routes(name: &str, hosts: &[(&str, Vec<&str>)]) -> Resource {
    let fragments = hosts.iter().map(|(host, clusters)| {
        let message = VirtualHost { name: format!("{host} {clusters:?}"), ..VirtualHost::default() };
        Arc::new(Fragment::new(host, 2, &message, refs(Kind::Cluster, clusters), Provenance::default()))
    });
    let message = RouteConfiguration { name: name.into(), ..RouteConfiguration::default() };
    Resource::of_fragments(Kind::Route, name, &message, fragments.collect(), Provenance::default())
}

/// What may be there of the names, which refers to what may be there of others.
fn resources(names: &'static [&str], others: &'static [&str]) -> impl Strategy<Value = Vec<Resource>> {
    let some = || subsequence(others, 0..=1);
    let hosts = vec(prop::option::of(some()), 2);
    let one = move |name: &'static str| {
        let clusters = (prop::option::of((0..3u8, any::<bool>())), any::<bool>());
        let listeners = prop::option::of((0..5u8, some(), some()));
        let hosts = prop::option::of(hosts.clone());
        (clusters, listeners, hosts).prop_map(move |((is_cluster, has_endpoints), is_listener, hosts)| {
            let clusters = is_cluster.map(|(serial, refers)| cluster(name, serial, refers));
            let listeners = is_listener.map(|(place, clusters, of)| listener(name, place, &clusters, &of));
            let hosts = hosts.map(|hosts| {
                let named = ["one", "two"].into_iter().zip(hosts);
                routes(name, &named.filter_map(|(host, of)| Some((host, of?))).collect::<Vec<_>>())
            });
            let endpoints = has_endpoints.then(|| endpoints(name));
            clusters.into_iter().chain(endpoints).chain(listeners).chain(hosts).collect::<Vec<_>>()
        })
    };
    names.iter().map(|name| one(name)).collect::<Vec<_>>().prop_map(|all| all.concat())
}

fn layer(resources: Vec<Resource>, beneath: Option<&Arc<Layer>>) -> Layer {
    let mut layer = Layer::default();
    beneath.into_iter().for_each(|beneath| layer.lie_over(beneath.clone()));
    resources.into_iter().for_each(|resource| layer.insert(Arc::new(resource)));
    layer
}

fn own(layer: &Layer) -> impl Iterator<Item = &Arc<Resource>> {
    Kind::ALL.into_iter().flat_map(|kind| layer.own(kind).values())
}

fn index(layer: &Layer) -> Index {
    let mut index = Index::default();
    for resource in own(layer) {
        index.name(resource.name(), resource.refs());
        if resource.kind() == Kind::Listener {
            index.set_addresses(resource.name(), None, Some(&**resource));
        }
    }
    index
}

/// What of the second is new, and what of the first is gone.
fn difference(before: &Layer, after: &Layer) -> (Vec<Arc<Resource>>, BTreeSet<Id>) {
    let form = |layer: &Layer, id: &Resource| layer.own(id.kind()).get(id.name()).cloned();
    let made = own(after).filter(|made| form(before, made).as_ref() != Some(*made)).cloned();
    let gone = own(before).filter(|gone| form(after, gone).is_none());
    (made.collect(), gone.map(|gone| (gone.kind(), gone.name().clone())).collect())
}

fn changed(before: &Layer, after: &Layer) -> Changed {
    let (made, mut removed) = difference(before, after);
    let fragments = made.iter().filter_map(|made| Some((made, made.fragments()?))).flat_map(|(made, new)| {
        let none = Fragments::default();
        let old = before.get(Kind::Route, made.name()).and_then(|it| it.fragments()).unwrap_or(&none);
        let new = old.differences(new).filter_map(|(_, new)| new.cloned());
        new.map(|part| (made.name().clone(), part)).collect::<Vec<_>>()
    });
    let fragments = fragments.collect();
    let mut beneath = Vec::new();
    if let Some((old, new)) = before.common().zip(after.common()) {
        let (more, gone) = difference(old, new);
        beneath.extend(more.into_iter().filter(|made| made.kind() == Kind::Listener));
        removed.extend(gone);
    }
    Changed { made, fragments, removed, beneath }
}

/// Whether lint of the change finds something, and what may go.
fn looked_at(before: &Layer, after: &Layer) -> (bool, Sifted) {
    let (own, beneath) = (index(after), after.common().map(|beneath| index(beneath)));
    let (beneath, looked_up) = (beneath.as_ref(), Cell::default());
    let sight = Sight { own: &own, beneath, held: None, refusals: &refusals, looked_up };
    let found = changes(after, &changed(before, after), &sight);
    (!found.is_empty(), sift(before, after, &BTreeSet::new(), &sight))
}

/// The same; both have to be right.
fn check(before: &Layer, after: &Layer) -> Result<(bool, Layer), TestCaseError> {
    let (is_wrong, Sifted { layer, violations, .. }) = looked_at(before, after);
    let all = whole(after);
    prop_assert_eq!(is_wrong, !all.is_empty(), "{:?} {:?} {:?}", all, before, after);
    prop_assert_eq!(is_wrong, !violations.is_empty());
    prop_assert_eq!(whole(&layer), [], "{:?} {:?}", before, after);
    for kind in Kind::ALL.into_iter().filter(|_| !is_wrong) {
        prop_assert!(layer.differs_from(after, kind).is_empty(), "nothing is kept back");
    }
    Ok((is_wrong, layer))
}

#[test]
fn a_change_is_wrong_where_the_whole_is() {
    let beneath = || resources(BENEATH, BENEATH);
    let over = || resources(OVER, ALL);
    // Good and wrong ones, alone and over another: that there are many of each is the control.
    let seen: [[Cell<u32>; 2]; 2] = Default::default();
    let count = |lies_over: bool, is_wrong: bool| {
        let cell = &seen[usize::from(lies_over)][usize::from(is_wrong)];
        cell.set(cell.get() + 1);
    };
    let config = Config { cases: 2_000, failure_persistence: None, max_global_rejects: 100_000, ..Config::default() };
    let all = (beneath(), beneath(), over(), over());
    let result = TestRunner::new(config).run(&all, |(first, second, before, after)| {
        let (_, first) = check(&Layer::default(), &layer(first, None))?;
        let (is_wrong, second) = check(&first, &layer(second, None))?;
        count(false, is_wrong);
        let before = layer(before, Some(&Arc::new(first)));
        if whole(&before).is_empty() {
            let (is_wrong, _) = check(&before, &layer(after, Some(&Arc::new(second))))?;
            count(true, is_wrong);
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    assert!(seen.as_flattened().iter().all(|count| count.get() >= 50), "{seen:?}");
}
