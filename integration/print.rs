//! What the printer writes is what Envoy's documentation and Envoy itself call things, and it reads it back.

use chancery::model::provenance::Provenance;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::print::{self, Format, PrintError};
use chancery::snapshot::resource::{Resource, any};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::{Metadata, Node};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as http;
use envoy_types::pb::google::protobuf::{Any, Duration, UInt32Value};
use serde_json::json;

fn cluster() -> Cluster {
    Cluster {
        name: "outbound|80||a.shop.svc.cluster.local".into(),
        alt_stat_name: "outbound|80||a.shop.svc.cluster.local;".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        connect_timeout: Some(Duration { seconds: 0, nanos: 250_000_000 }),
        per_connection_buffer_limit_bytes: Some(UInt32Value { value: 0 }),
        metadata: Some(Metadata { filter_metadata: [("b", 2), ("a", 1)].map(entry).into(), ..Metadata::default() }),
        ..Cluster::default()
    }
}

fn entry((name, number): (&str, i32)) -> (String, envoy_types::pb::google::protobuf::Struct) {
    let fields = print::message(&json!({"n": number})).expect("a struct");
    (name.into(), fields)
}

fn listener(router: Any) -> Listener {
    let router = http::HttpFilter {
        name: "envoy.filters.http.router".into(),
        config_type: Some(http::http_filter::ConfigType::TypedConfig(router)),
        ..http::HttpFilter::default()
    };
    let manager = http::HttpConnectionManager {
        stat_prefix: "in;".into(),
        http_filters: vec![router],
        ..http::HttpConnectionManager::default()
    };
    let filter = Filter { name: "http".into(), config_type: Some(ConfigType::TypedConfig(any(&manager))) };
    let filter_chains = vec![FilterChain { filters: vec![filter], ..FilterChain::default() }];
    Listener { name: "127.0.0.1_80".into(), filter_chains, ..Listener::default() }
}

fn of_cluster(message: &Cluster) -> Resource {
    Resource::new(Kind::Cluster, "c", message, Vec::new(), Provenance::default())
}

fn of_listener(message: &Listener) -> Resource {
    Resource::new(Kind::Listener, "l", message, Vec::new(), Provenance::default())
}

#[test]
fn a_cluster_is_printed_with_proto_names_sorted_and_without_defaults() {
    let value = print::resource(&of_cluster(&cluster())).expect("printable");
    let expected = "\
alt_stat_name: outbound|80||a.shop.svc.cluster.local;
connect_timeout: 0.250s
metadata:
  filter_metadata:
    a:
      n: 1.0
    b:
      n: 2.0
name: outbound|80||a.shop.svc.cluster.local
per_connection_buffer_limit_bytes: 0
type: EDS
";
    assert_eq!(print::text(&value, Format::Yaml), expected);
}

#[test]
fn a_listener_is_printed_with_every_any_expanded() {
    let suppressing = Router { suppress_envoy_headers: true, ..Router::default() };
    let value = print::resource(&of_listener(&listener(any(&suppressing)))).expect("printable");
    let expected = r#"{
  "filter_chains": [
    {
      "filters": [
        {
          "name": "http",
          "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "http_filters": [
              {
                "name": "envoy.filters.http.router",
                "typed_config": {
                  "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                  "suppress_envoy_headers": true
                }
              }
            ],
            "stat_prefix": "in;"
          }
        }
      ]
    }
  ],
  "name": "127.0.0.1_80"
}
"#;
    assert_eq!(print::text(&value, Format::Json), expected);
}

#[test]
fn what_is_printed_reads_back_as_the_same_message() {
    let cluster = cluster();
    let value = print::resource(&of_cluster(&cluster)).expect("printable");
    assert_eq!(print::message::<Cluster>(&value).expect("a cluster"), cluster);
    let listener = listener(any(&Router::default()));
    let value = print::resource(&of_listener(&listener)).expect("printable");
    assert_eq!(print::message::<Listener>(&value).expect("a listener"), listener);
}

#[test]
fn both_spellings_of_a_field_are_read() {
    let snake = print::message::<Node>(&json!({"id": "n", "user_agent_name": "envoy"})).expect("a node");
    let camel = print::message::<Node>(&json!({"id": "n", "userAgentName": "envoy"})).expect("a node");
    assert_eq!(snake, camel);
    assert_eq!(snake.user_agent_name, "envoy");
}

#[test]
fn unknown_fields_are_refused_with_their_place() {
    let name = "envoy.config.listener.v3.Listener";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let chain = |config: serde_json::Value| json!({"filter_chains": [{"filters": [{"typed_config": config}]}]});
    print::parse_message(name, &chain(json!({"@type": router}))).expect("the control");
    for (value, places) in [
        (json!({"nmae": "x"}), ["nmae", "nmae"]),
        (json!({"filter_chains": [{}, {"nmae": 1}]}), ["filter_chains[1]", "nmae"]),
        (json!({"name": 7}), ["name", "string"]),
        (chain(json!({"@type": router, "nmae": 1})), ["filters[0]", "nmae"]),
        (chain(json!({"@type": "type.googleapis.com/no.Such"})), ["filters[0]", "no.Such"]),
    ] {
        let text = print::parse_message(name, &value).expect_err("not a listener").to_string();
        assert!(text.starts_with("no valid envoy.config.listener.v3.Listener: "), "{text}");
        for place in places {
            assert!(text.contains(place), "{text}");
        }
    }
}

#[test]
fn what_cannot_be_printed_is_an_error() {
    let unknown = Any { type_url: "type.googleapis.com/no.Such".into(), value: Vec::new() };
    let result = print::resource(&of_listener(&listener(unknown)));
    assert!(matches!(&result, Err(PrintError::Content { .. })), "{result:?}");
    let result = print::resource(&Resource::opaque(Kind::Cluster, "c", &[0xff], Vec::new()));
    assert!(matches!(&result, Err(PrintError::Bytes { .. })), "{result:?}");
    let result = print::parse_message("no.Such", &json!({}));
    assert!(matches!(&result, Err(PrintError::UnknownType(_))), "{result:?}");
}

#[test]
fn every_kind_is_in_the_descriptor_set() {
    for kind in Kind::ALL {
        assert_eq!(print::resource(&Resource::opaque(kind, "r", &[], Vec::new())).expect("printable"), json!({}));
    }
}
