//! The xDS server over real connections: a gRPC client on loopback, a board posted to by hand.

#[path = "ads/arrivals.rs"]
mod arrivals;
#[path = "ads/broken.rs"]
mod broken;
#[path = "ads/causes.rs"]
mod causes;
#[path = "ads/certificates.rs"]
mod certificates;
#[path = "ads/chorus.rs"]
mod chorus;
#[path = "ads/clocks.rs"]
mod clocks;
#[path = "ads/faults.rs"]
mod faults;
#[path = "ads/flow.rs"]
mod flow;
#[path = "ads/given.rs"]
mod given;
#[path = "ads/grants.rs"]
mod grants;
#[path = "ads/hostile.rs"]
mod hostile;
#[path = "ads/idle.rs"]
mod idle;
#[path = "ads/raw.rs"]
mod raw;
#[path = "ads/secrets.rs"]
mod secrets;
#[path = "ads/secure.rs"]
mod secure;
#[path = "ads/shared.rs"]
mod shared;
#[path = "ads/stage.rs"]
mod stage;
#[path = "ads/strangers.rs"]
mod strangers;
#[path = "ads/thieves.rs"]
mod thieves;
#[path = "ads/visitors.rs"]
mod visitors;

use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::Resource;
use chancery::xds::limits::Options;
use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use stage::{Delta, PATIENCE, Sotw, Stage, until};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

fn version(content: &[u8]) -> String {
    Resource::opaque(Kind::Cluster, "any", content, Vec::new()).version().to_string()
}

#[tokio::test]
async fn delta_answers_a_change_and_counts_its_ack() {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1"), ("b", b"1")], None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    let first = client.next().await.expect("the first answer");
    let names: Vec<_> = first.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(first.type_url, Kind::Cluster.type_url());
    assert_eq!(first.resources[0].version, version(b"1"));
    let any = first.resources[0].resource.as_ref().expect("an Any");
    assert_eq!((any.type_url.as_str(), any.value.as_slice()), (Kind::Cluster.type_url(), &b"1"[..]));
    client.ack(&first).await;

    stage.post(&[("a", b"2")], Some(Instant::now()));
    let change = client.next().await.expect("the change");
    assert_eq!(change.resources.len(), 1);
    assert_eq!(change.resources[0].version, version(b"2"));
    assert!(change.removed_resources.is_empty(), "additions and removals never share a response");
    client.ack(&change).await;
    let removal = client.next().await.expect("the removal");
    assert!(removal.resources.is_empty());
    assert_eq!(removal.removed_resources, ["b"]);
    client.ack(&removal).await;

    until("every answer is counted", || {
        let metrics = stage.metrics();
        metrics.contains(r#"chancery_xds_requests_total{outcome="ack",type="cds"} 3"#)
            && metrics.contains(r#"chancery_xds_responses_total{type="cds"} 3"#)
            && metrics.contains("chancery_change_to_ack_seconds_count 1")
            && metrics.contains("chancery_xds_streams 1")
    })
    .await;
}

#[tokio::test]
async fn sotw_answers_with_whole_sets() {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1"), ("b", b"1")], None);
    let mut client = Sotw::open(&stage).await.expect("a stream");
    stage.place().await;
    let first = client.next().await.expect("the first answer");
    let contents: Vec<_> = first.resources.iter().map(|any| any.value.as_slice()).collect();
    assert_eq!(contents, [b"1", b"1"]);
    assert_eq!(first.resources[0].type_url, Kind::Cluster.type_url());
    client.ack(&first).await;
    stage.post(&[("a", b"2")], Some(Instant::now()));
    let union = client.next().await.expect("the union");
    assert_eq!(union.resources.len(), 2, "what goes away stays until the addition is accepted");
    client.ack(&union).await;
    let exact = client.next().await.expect("the exact set");
    assert_eq!(exact.resources.len(), 1);
    assert_ne!(exact.nonce, union.nonce);
    assert_ne!(exact.version_info, union.version_info);
}

#[tokio::test]
async fn large_and_small_resources_arrive_whole() {
    let stage = Stage::new().await;
    let large: Vec<u8> = (0..200_000u32).map(|index| index as u8).collect();
    let names: Vec<String> = (0..2_000).map(|index| format!("cluster-{index:04}")).collect();
    let mut clusters: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
    clusters[1_000].1 = &large;
    stage.post(&clusters, None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    let first = client.next().await.expect("the first answer");
    assert_eq!(first.resources.len(), clusters.len());
    for (resource, (name, content)) in first.resources.iter().zip(&clusters) {
        assert_eq!(resource.name, *name);
        assert_eq!(resource.resource.as_ref().expect("an Any").value, *content);
    }
}

#[tokio::test]
async fn a_connected_proxy_is_listed() {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1")], None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    let first = client.next().await.expect("the first answer");
    client.ack(&first).await;
    let proxies = stage.context.registry.proxies();
    assert_eq!(proxies.len(), 1);
    assert_eq!(proxies[0].facts, stage::facts());
    assert_eq!(proxies[0].user_agent, "envoy");
    until("the ACK has arrived", || {
        let status = proxies[0].status();
        status.len() == 1 && status[0].acked.is_some_and(|(version, _)| version == status[0].desired)
    })
    .await;
    drop(client);
    until("the proxy is gone", || stage.context.registry.proxies().is_empty()).await;
    until("its seat is free", || stage.board().seated() == 0).await;
}

#[tokio::test]
async fn an_unknown_pod_is_named_when_its_time_is_over() {
    let stage = Stage::with(Options { pod_wait: Duration::from_millis(50), ..Options::default() }).await;
    let mut client = Delta::open(&stage).await.expect("a stream");
    let status = client.next().await.expect_err("no answer without a Pod");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("Pod shop/cart-1 is not known"), "{status}");
}

#[tokio::test]
async fn nothing_is_served_before_the_process_is_ready() {
    let stage = Stage::new().await;
    let token = stage.context.readiness.block("first load");
    stage.post(&[("a", b"1")], None);
    let status = Delta::open(&stage).await.err().expect("a refusal");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "not ready: waiting for first load"));
    drop(token);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    assert_eq!(client.next().await.expect("an answer").resources.len(), 1);
}

#[tokio::test]
async fn a_shutdown_ends_streams_and_the_server() {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1")], None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    client.next().await.expect("the first answer");
    stage.shutdown.cancel();
    let status = client.next().await.expect_err("an end");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server is shutting down"));
    drop(client);
    let served = tokio::time::timeout(PATIENCE, stage.server).await.expect("the server returns");
    served.expect("no panic").expect("no failure");
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_refused_with_both_sizes() {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1")], None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    client.next().await.expect("the first answer");
    let huge = "x".repeat(17 << 20);
    let request = DeltaDiscoveryRequest {
        type_url: Kind::Endpoint.type_url().into(),
        resource_names_subscribe: vec![huge],
        ..Default::default()
    };
    client.send(request).await;
    let status = client.next().await.expect_err("a refusal");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("16777216"), "{status}");
}

#[tokio::test]
async fn eight_mebibytes_of_names_are_accepted() {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1")], None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    client.next().await.expect("the first answer");
    let names: Vec<String> = (0..30_000).map(|index| format!("{index:0280}")).collect();
    let request = DeltaDiscoveryRequest {
        type_url: Kind::Endpoint.type_url().into(),
        resource_names_subscribe: names,
        ..Default::default()
    };
    client.send(request).await;
    assert_eq!(client.next().await.expect("an answer").removed_resources.len(), 30_000);
}

#[tokio::test]
async fn another_kind_of_node_is_refused_in_words() {
    let stage = Stage::new().await;
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    let mut other = Delta::open_as(&stage, "router~10.0.0.1~gw-1.shop~shop.svc.cluster.local").await.expect("a stream");
    let status = other.next().await.expect_err("a refusal");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains(r#"of type "router"; only "sidecar" is served"#), "{status}");
    stage.post(&[("a", b"1")], None);
    client.next().await.expect("the other stream goes on");
}

#[tokio::test]
async fn a_garbage_frame_ends_only_its_own_stream() {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1")], None);
    let channel = stage.channel().await;
    let mut client = Delta::open_on(channel.clone(), stage::NODE_ID).await.expect("a stream");
    stage.place().await;
    let first = client.next().await.expect("the first answer");
    // A frame of four bytes that are no protobuf, and a frame that is not even gRPC, on the same connection.
    for frame in [&b"\0\0\0\0\x04\xff\xff\xff\xff"[..], b"garbage"] {
        let status = stage::raw(channel.clone(), frame).await;
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(status.message().starts_with("a request could not be read"), "{status}");
    }
    client.ack(&first).await;
    stage.post(&[("a", b"2")], None);
    assert_eq!(client.next().await.expect("the change").resources.len(), 1);
}

#[tokio::test]
async fn bytes_that_are_no_http_end_only_their_own_connection() {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1")], None);
    let mut raw = tokio::net::TcpStream::connect(stage.address).await.expect("a connection");
    raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff garbage").await.expect("room");
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, raw.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is closed");
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    assert_eq!(client.next().await.expect("an answer").resources.len(), 1);
}

#[tokio::test]
async fn another_service_is_not_implemented() {
    let stage = Stage::new().await;
    let mut client = ClusterDiscoveryServiceClient::new(stage.channel().await);
    let status = client.fetch_clusters(DiscoveryRequest::default()).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::Unimplemented);
}

/// A client that reads nothing costs nothing: its stream sleeps until there is room to write, however long a response
/// has been in flight.
#[tokio::test]
async fn a_client_that_does_not_read_does_not_keep_the_loop_busy() {
    let stage = Stage::new().await;
    let large = vec![7u8; 4 << 20];
    stage.post(&[("a", &large)], None);
    let client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    for (kind, names) in [(Kind::Endpoint, &["x"][..]), (Kind::Listener, &[]), (Kind::Route, &["y"])] {
        let resource_names_subscribe = names.iter().map(|name| (*name).to_owned()).collect();
        let type_url = kind.type_url().to_owned();
        client.send(DeltaDiscoveryRequest { type_url, resource_names_subscribe, ..Default::default() }).await;
    }
    // Longer than a response in flight is waited for.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let metrics = stage.metrics();
    let turns = metrics.lines().filter(|line| line.starts_with("chancery_xds_stream_wakes_total"));
    let turns: u64 = turns.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert!((4..50).contains(&turns), "{turns} turns of the loop:\n{metrics}");
}
