//! A proxy of the client's Pod that is nothing but a stream: it asks for clusters, takes what it gets, and says how it ended.

use crate::stage::Stage;
use chancery::snapshot::kind::Kind;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Client;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// The stream.
pub struct Stream {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    answers: Streaming<DeltaDiscoveryResponse>,
}

impl Stream {
    /// Opens one for a Pod of the stage's namespace and asks.
    pub async fn open(stage: &Stage, pod: &str) -> Result<Self, Status> {
        let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        let mut client = Client::connect(format!("http://{}", stage.chancery.xds)).await.map_err(unavailable)?;
        let (requests, sent) = mpsc::channel(8);
        let first = DeltaDiscoveryRequest {
            node: Some(node(pod, &stage.namespace)),
            type_url: Kind::Cluster.type_url().to_owned(),
            ..Default::default()
        };
        requests.send(first).await.expect("it is read below");
        let answers = client.delta_aggregated_resources(ReceiverStream::new(sent)).await?.into_inner();
        Ok(Self { requests, answers })
    }

    /// The next answer, which it accepts.
    pub async fn next(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let ended = || Status::ok("the stream has ended");
        let answer = self.answers.message().await?.ok_or_else(ended)?;
        let (type_url, response_nonce) = (answer.type_url.clone(), answer.nonce.clone());
        let accepts = DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() };
        _ = self.requests.send(accepts).await;
        Ok(answer)
    }

    /// How it ends, whatever comes before.
    pub async fn ended(mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

fn node(pod: &str, namespace: &str) -> Node {
    let text = |text: &str| Value { kind: Some(ValueKind::StringValue(text.to_owned())) };
    let fields = [("INTERCEPTION_MODE", "NONE"), ("OUTBOUND_BIND", "127.0.0.1")];
    let fields = fields.map(|(key, value)| (key.to_owned(), text(value))).into();
    let id = format!("sidecar~10.9.0.10~{pod}.{namespace}~{namespace}.svc.cluster.local");
    Node { id, metadata: Some(Struct { fields }), ..Node::default() }
}
