//! Flow: many streams at once, connections that grow old, messages that grow large.

use crate::stage::{Delta, NODE_ID, Stage, raise_limit, until, value};
use chancery::snapshot::kind::Kind;
use chancery::xds::limits::Options;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use std::time::Duration;
use tonic::Code;

/// A start with thousands of proxies that come back: they wait for each other, all are configured, none is refused, and
/// never is more on its way to them than allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_clients_at_once_are_all_configured() {
    const CLIENTS: u64 = 2_000;
    const ALLOWED: u64 = 1 << 20;
    const LONG: Duration = Duration::from_secs(60);
    raise_limit();
    let stage = Stage::with(Options { admission: ALLOWED, turn: LONG, ..Options::default() }).await;
    stage.post(&[("a", &[7; 20_000])], None);
    // As long as nothing is known about what a stream needs, the first is taken to need everything.
    let mut first = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    let answer = first.next().await.expect("the first answer");
    let (mut clients, mut bytes) = (tokio::task::JoinSet::new(), 0);
    for _ in 1..CLIENTS {
        let channel = stage.channel().await;
        clients.spawn(async move {
            let mut client = Delta::open_on(channel, NODE_ID).await.expect("a stream");
            let first = client.next_within(LONG).await.expect("the first answer");
            client.ack(&first).await;
            client
        });
    }
    until("all others wait", || value(&stage, "chancery_xds_admission_waiting") == CLIENTS - 1).await;
    assert_eq!(stage.context.registry.proxies().len(), 1, "nothing is read of who waits");
    first.ack(&answer).await;
    let mut open = vec![first];
    while let Some(client) = clients.join_next().await {
        open.push(client.expect("an answer"));
        bytes = bytes.max(value(&stage, "chancery_xds_admission_bytes"));
    }
    assert_eq!(open.len() as u64, CLIENTS);
    until("every ACK has arrived", || {
        value(&stage, r#"chancery_xds_requests_total{outcome="ack",type="cds"}"#) == CLIENTS
            && value(&stage, "chancery_xds_admission_inside") == 0
    })
    .await;
    assert_eq!(value(&stage, "chancery_xds_admissions_total"), CLIENTS);
    assert_eq!(value(&stage, "chancery_xds_admission_bytes"), 0);
    assert!(!stage.metrics().contains("chancery_xds_refusals_total{"), "nobody is refused");
    assert!(bytes <= ALLOWED, "{bytes} bytes set aside");
}

/// The control of the above: who never answers keeps others waiting, but not for ever.
#[tokio::test]
async fn a_client_that_never_answers_keeps_others_waiting_for_a_time() {
    let stage = Stage::with(Options { admission: 1, turn: Duration::from_millis(800), ..Options::default() }).await;
    stage.post(&[("a", b"1")], None);
    let mut silent = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    silent.next().await.expect("the first answer");
    let mut other = Delta::open(&stage).await.expect("a stream");
    until("the other waits", || value(&stage, "chancery_xds_admission_waiting") == 1).await;
    assert_eq!(stage.context.registry.proxies().len(), 1, "nothing is read of who waits");
    let first = other.next().await.expect("the first answer");
    other.ack(&first).await;
    until("nobody is inside", || value(&stage, "chancery_xds_admission_inside") == 0).await;
}

/// Who goes away while waiting gives up the place.
#[tokio::test]
async fn a_client_that_leaves_the_queue_is_forgotten() {
    let stage = Stage::with(Options { admission: 1, ..Options::default() }).await;
    stage.post(&[("a", b"1")], None);
    let mut silent = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    silent.next().await.expect("the first answer");
    let other = Delta::open(&stage).await.expect("a stream");
    until("the other waits", || value(&stage, "chancery_xds_admission_waiting") == 1).await;
    drop(other);
    until("nobody waits", || value(&stage, "chancery_xds_admission_waiting") == 0).await;
    drop(silent);
    until("nobody is inside", || value(&stage, "chancery_xds_admission_bytes") == 0).await;
}

#[tokio::test]
async fn a_stream_of_an_old_connection_ends_when_nothing_is_in_flight() {
    let stage = Stage::with(Options { max_age: Duration::from_millis(300), ..Options::default() }).await;
    stage.post(&[("a", b"1")], None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    let first = client.next().await.expect("the first answer");
    until("the connection is too old", || value(&stage, r#"chancery_xds_stream_wakes_total{event="aged"}"#) == 1).await;
    assert_eq!(value(&stage, "chancery_xds_streams"), 1, "a response is in flight");
    client.ack(&first).await;
    client.ended().await;
    until("the connection is closed", || value(&stage, "chancery_xds_connections") == 0).await;
    assert_eq!(value(&stage, r#"chancery_xds_stream_ends_total{reason="aged"}"#), 1);
}

#[tokio::test]
async fn messages_near_their_limit_are_counted() {
    let options = Options { max_request: 4_000, max_response: 4_000, ..Options::default() };
    let stage = Stage::with(options).await;
    stage.post(&[("a", &[7; 2_500])], None);
    let mut client = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    let first = client.next().await.expect("the first answer");
    client.ack(&first).await;
    assert_eq!(value(&stage, r#"chancery_xds_large_messages_total{direction="response"}"#), 1);
    assert_eq!(value(&stage, r#"chancery_xds_large_messages_total{direction="request"}"#), 0);
    let type_url = Kind::Endpoint.type_url().to_owned();
    let names = (0..3).map(|index| format!("{index:0800}")).collect();
    client.send(DeltaDiscoveryRequest { type_url, resource_names_subscribe: names, ..Default::default() }).await;
    client.next().await.expect("an answer");
    assert_eq!(value(&stage, r#"chancery_xds_large_messages_total{direction="request"}"#), 1);
    stage.post(&[("a", &[7; 5_000])], None);
    let status = client.next().await.expect_err("an end");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("a response of 5"), "{status}");
    assert!(status.message().contains(NODE_ID) && status.message().contains("the limit is 4000 bytes"), "{status}");
}

#[tokio::test]
async fn a_first_request_beyond_the_limit_is_refused_by_name() {
    let stage = Stage::with(Options { max_request: 100, ..Options::default() }).await;
    let mut client = Delta::open(&stage).await.expect("a stream");
    let status = client.next().await.expect_err("an end");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains(NODE_ID) && status.message().contains("the limit is 100 bytes"), "{status}");
}
