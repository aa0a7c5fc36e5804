//! The relay passes everything until it is told to withhold endpoints, and then everything but those.

use crate::harness::Outcome;
use crate::harness::addresses::Subnet;
use crate::harness::relay::Relay;
use chancery::snapshot::kind::Kind;
use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient as Client;
use discovery::aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer};
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers every request with an empty response of its type.
struct Parrot;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Parrot {
    type StreamAggregatedResourcesStream = Messages<discovery::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Messages<discovery::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        requests: Request<Streaming<discovery::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        let answers = requests
            .into_inner()
            .map(|request| Ok(discovery::DiscoveryResponse { type_url: request?.type_url, ..Default::default() }));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn delta_aggregated_resources(
        &self,
        requests: Request<Streaming<discovery::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let answers = requests
            .into_inner()
            .map(|request| Ok(discovery::DeltaDiscoveryResponse { type_url: request?.type_url, ..Default::default() }));
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tokio::test]
async fn a_relay_withholds_endpoints_and_nothing_else() -> Outcome<()> {
    let subnet = Subnet::take()?;
    let listener = tokio::net::TcpListener::bind(subnet.free(1)?).await?;
    let upstream = listener.local_addr()?;
    let server = tonic::transport::Server::builder().add_service(AggregatedDiscoveryServiceServer::new(Parrot));
    let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let relay = Relay::start(subnet.free(1)?, upstream).await?;
    let (requests, sent) = mpsc::channel(8);
    let mut client = Client::connect(format!("http://{}", relay.address)).await?;
    let mut answers = client.delta_aggregated_resources(ReceiverStream::new(sent)).await?.into_inner();
    let mut ask = async |kinds: [Kind; 2]| -> Outcome<Vec<String>> {
        for kind in kinds {
            let request = discovery::DeltaDiscoveryRequest { type_url: kind.type_url().into(), ..Default::default() };
            requests.send(request).await?;
        }
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != kinds[1].type_url()) {
            let answer = timeout(Duration::from_secs(5), answers.next()).await?.ok_or(Status::aborted("the end"))??;
            seen.push(answer.type_url);
        }
        Ok(seen)
    };
    let both = [Kind::Endpoint, Kind::Cluster];
    assert_eq!(ask(both).await?, both.map(Kind::type_url), "everything passes");
    relay.withhold(Kind::Endpoint);
    assert_eq!(ask(both).await?, [Kind::Cluster.type_url()], "endpoints do not");
    assert_eq!(relay.swallowed(), 1);
    relay.pass(Kind::Endpoint);
    assert_eq!(ask(both).await?, both.map(Kind::type_url), "everything passes again");
    assert_eq!(relay.first_asked(), [Kind::Endpoint.type_url()]);
    serving.abort();
    Ok(())
}
