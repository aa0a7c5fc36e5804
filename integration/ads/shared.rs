//! What is large and put together of many parts is put together once for all who are told it, also one after the other.

use crate::stage::{Delta, NODE_ID, Stage, context_with, node, placement};
use chancery::model::audience::{Placement, Subject};
use chancery::model::provenance::Provenance;
use chancery::snapshot::board::Posted;
use chancery::snapshot::fragments::Fragments;
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::{Fragment, Resource};
use chancery::snapshot::set::Layer;
use chancery::xds::limits::Options;
use chancery::xds::shelf::{KEPT, Shelf};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use std::sync::Arc;

const CLIENTS: usize = 8;

fn routes(name: &str, fragments: u16) -> Arc<Resource> {
    let fragment = |number: u16| Arc::new(Fragment::opaque(&number.to_string(), &vec![7; 1000], Vec::new()));
    let fragments: Fragments = (0..fragments).map(fragment).collect();
    let head = RouteConfiguration { name: name.to_owned(), ..RouteConfiguration::default() };
    Arc::new(Resource::of_fragments(Kind::Route, name, &head, fragments, Provenance::default()))
}

/// How often a route configuration of 300 KB is joined for clients that come one after the other. `others`: those there are
/// besides, for which nobody asks.
async fn joins(stage: &Stage, others: &[&str]) -> u64 {
    let large = routes("80", 300);
    let mut layer = Layer::default();
    others.iter().for_each(|name| layer.insert(routes(name, 1)));
    layer.insert(large.clone());
    let Placement { audience, workload } = placement();
    stage.board().post(&Subject::Audience(audience), Posted { layer: Arc::new(layer), since: None });
    stage.board().post(&Subject::Workload(workload), Posted::default());
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let first = DeltaDiscoveryRequest {
            node: Some(node(NODE_ID)),
            type_url: Kind::Route.type_url().into(),
            resource_names_subscribe: vec!["80".to_owned()],
            ..Default::default()
        };
        let mut client = Delta::begin(stage.channel().await, None, first).await.expect("a stream");
        stage.place().await;
        let answer = client.next().await.expect("the first answer");
        assert_eq!(answer.resources.len(), 1);
        client.ack(&answer).await;
        clients.push(client);
    }
    large.joins()
}

/// As the only one it goes as a roll, beside others by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_joined_serves_those_who_come_next() {
    let others: [&[&str]; 2] = [&[], &["81"]];
    for others in others {
        let stage = Stage::serving(context_with(Options::default(), Shelf::default())).await;
        assert_eq!(joins(&stage, others).await, 1, "{others:?}");
        tokio::time::sleep(KEPT * 2).await;
        assert_eq!(stage.context.shelf.bytes(), 0, "nobody is told anything any more");
        // The control: nothing is kept.
        let stage = Stage::serving(context_with(Options::default(), Shelf::of(0))).await;
        assert!(joins(&stage, others).await > 1, "{others:?}");
    }
}
