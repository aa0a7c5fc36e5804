//! How an owner names its parts never changes with the owner: Envoy keys its subscriptions by the bytes of the reference,
//! and another time to wait or another source would be another subscription, empty until somebody answers it.

use chancery::cli::translate::{answer, print};
use chancery::model::audience::{Interception, ProxyFacts};
use chancery::model::world::World;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::set::Snapshot;
use chancery::source::parse::{Parsed, object, settings};
use chancery::source::yaml;
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter::ConfigType};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use prost::Message;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const WORLD: &str =
    "{apiVersion: v1, kind: Pod, metadata: {name: client, namespace: shop}, status: {podIPs: [{ip: 10.0.0.1}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.1,
  ports: [{name: http, port: 80}, {name: any, port: 81}, {name: tcp, port: 82}]}}
";

/// Changes of the owners, each by itself.
const CHANGES: [&str; 7] = [
    "",
    "connectionPool: {tcp: {maxConnections: 1, idleTimeout: 1h, connectTimeout: 1s}, http: {idleTimeout: 1m}}",
    "loadBalancer: {simple: RANDOM}",
    "loadBalancer: {consistentHash: {useSourceIp: true}}",
    "outlierDetection: {consecutive5xxErrors: 1}",
    "mesh: {connectTimeout: 3s, protocolDetectionTimeout: 7s, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}",
    "mesh: {accessLogFile: /dev/stdout}",
];

fn snapshot(change: &str, interception: Interception) -> Snapshot {
    let mut world = World::default();
    let mut apply = |parsed: Parsed| {
        let Parsed::Known { object: Some(object), problems, .. } = parsed else { panic!("{change}: {parsed:?}") };
        assert_eq!(problems, [], "{change}");
        world.apply([(object.key().clone(), Some(object))]);
    };
    let rule = format!(
        "---\n{{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {{name: web, namespace: shop}}, \
         spec: {{host: web, trafficPolicy: {{{change}}}}}}}\n"
    );
    let mesh = change.strip_prefix("mesh: ");
    let text = if mesh.is_some() || change.is_empty() { WORLD.to_owned() } else { format!("{WORLD}{rule}") };
    yaml::read(text.as_bytes()).documents.iter().for_each(|document| apply(object(&document.value)));
    let mesh = mesh.map(|text| yaml::read(text.as_bytes()));
    mesh.iter().flat_map(|content| &content.documents).for_each(|document| apply(settings(&document.value)));
    answer(&world, ProxyFacts::new("shop".into(), "client".into(), interception)).expect("the Pod is there").snapshot
}

/// The bytes of every reference: by owner and part.
fn references(snapshot: &Snapshot) -> BTreeMap<(String, String), Vec<u8>> {
    let mut found = BTreeMap::new();
    for resource in snapshot.iter(Kind::Cluster) {
        let cluster: Cluster = resource.message().expect("a cluster");
        if let Some(eds) = cluster.eds_cluster_config {
            found.insert((cluster.name, eds.service_name.clone()), eds.encode_to_vec());
        }
    }
    for resource in snapshot.iter(Kind::Listener) {
        let listener: Listener = resource.message().expect("a listener");
        let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
        for filter in chains.flat_map(|chain| &chain.filters) {
            let Some(ConfigType::TypedConfig(config)) = &filter.config_type else { continue };
            if filter.name != "envoy.filters.network.http_connection_manager" {
                continue;
            }
            let manager = hcm::HttpConnectionManager::decode(&*config.value).expect("a connection manager");
            if let Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)) = manager.route_specifier {
                found.insert((listener.name.clone(), rds.route_config_name.clone()), rds.encode_to_vec());
            }
        }
    }
    found
}

fn versions(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let owners = [Kind::Cluster, Kind::Listener].into_iter().flat_map(|kind| snapshot.iter(kind));
    owners.map(|owner| (owner.name().to_string(), owner.version().to_string())).collect()
}

#[test]
fn a_reference_is_the_same_whatever_becomes_of_its_owner() {
    for interception in [Interception::default(), Interception::Redirect] {
        let first = snapshot(CHANGES[0], interception);
        let (expected, before) = (references(&first), versions(&first));
        assert!(expected.len() >= 4, "endpoints and routes: {expected:?}");
        let mut changed = BTreeSet::new();
        for change in &CHANGES[1..] {
            let now = snapshot(change, interception);
            assert_eq!(references(&now), expected, "{change}");
            let other: BTreeSet<_> =
                versions(&now).into_iter().filter(|(name, version)| before.get(name) != Some(version)).collect();
            // The control: the change did reach owners.
            assert!(!other.is_empty(), "{change} changes nothing");
            changed.extend(other.into_iter().map(|(name, _)| name));
        }
        let owners: BTreeSet<_> = expected.keys().map(|(owner, _)| owner.clone()).collect();
        assert!(changed.is_superset(&owners), "never changed: {:?}", owners.difference(&changed));
    }
}

/// Wherever in a cluster or listener there is a source of something else, it is one of two: with the time for endpoints,
/// and with that for routes. A third one is to be thought about.
#[test]
fn there_are_two_sources() {
    let mut sources = BTreeSet::new();
    for (change, interception) in CHANGES
        .iter()
        .flat_map(|change| [Interception::default(), Interception::Redirect].map(|interception| (change, interception)))
    {
        let printed = print(&snapshot(change, interception), &[Kind::Cluster, Kind::Listener]).expect("printable");
        collect(&printed, &mut sources);
    }
    let source = |timeout| format!(r#"{{"ads":{{}},"initial_fetch_timeout":"{timeout}","resource_api_version":"V3"}}"#);
    assert_eq!(sources, BTreeSet::from([source("0s"), source("15s")]));
}

fn collect(value: &Value, sources: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if members.contains_key("resource_api_version") => {
            sources.insert(value.to_string());
        }
        Value::Object(members) => members.values().for_each(|member| collect(member, sources)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, sources)),
        _ => {}
    }
}
