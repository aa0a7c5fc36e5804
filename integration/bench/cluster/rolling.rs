//! A Service of a thousand Pods is replaced, Pod by Pod, in a real API server, before a real Envoy: what is told, what is sent,
//! and what that costs.

use super::super::figures::Row;
use super::super::harness::addresses::{Subnet, ports};
use super::super::harness::chancery::Chancery;
use super::super::harness::client::Client as Http;
use super::super::harness::cluster::{ADMIN, Cluster, Options};
use super::super::harness::envoy::{Envoy, Seat, Wire};
use super::super::harness::spawner::Place;
use super::super::harness::{Failure, Outcome, deadline};
use super::super::rollout::cpu;
use super::changes::patch;
use super::objects::of_pod;
use chancery::source::kubernetes::access::Access;
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// EndpointSlices, and endpoints of each.
const SLICES: usize = 10;
const EACH: usize = 100;
/// How far apart the replacements in one slice are; all slices are changed at once.
const APART: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(30);
const CLUSTER: &str = "outbound|80||rolled.roll.svc.cluster.local";

pub async fn measure() -> Outcome<Vec<Row>> {
    let cluster = Cluster::start(Options::default()).await?;
    fill(&cluster).await?;
    let access = Access { kubeconfig: Some(cluster.kubeconfig(ADMIN)), ..Access::default() };
    let client = access.client().await?;
    let (subnet, folder) = (Subnet::take()?, tempfile::tempdir()?);
    let log = folder.path().join("chancery.log");
    let mut chancery = Chancery::of_cluster(&subnet, 1, &cluster.kubeconfig(ADMIN), log)?;
    chancery.restart().await?;
    let ip = subnet.ip(10);
    let metadata = vec![format!("OUTBOUND_BIND={}", subnet.ip(110))];
    let (ports, place, asks) = (ports(ip)?, Place::default(), Http::default());
    let seat = Seat {
        pod: "client".into(),
        namespace: "roll".into(),
        ip,
        metadata,
        ports,
        credential: None,
        place,
        client: asks,
    };
    let envoy = Envoy::start(&seat, chancery.xds, Wire::Delta.into(), folder.path()).await?;
    all_are(&envoy, "10.90.").await?;
    let pid = chancery.pid().ok_or_else(|| Failure::new("chancery isn't running"))?;
    let costs = async || Ok::<_, Failure>((cpu(pid)?, cpu(envoy.pid())?, chancery.api().metrics().await?));
    let (before, began) = (costs().await?, Instant::now());
    replace(&client).await?;
    let replaced = began.elapsed();
    all_are(&envoy, "10.91.").await?;
    let arrived = began.elapsed();
    let after = costs().await?;
    let grown = |name: &str, labels: &[(&str, &str)]| after.2.sum(name, labels) - before.2.sum(name, labels);
    let row = Row::new("cluster rollout", format!("{} Pods", SLICES * EACH))
        .also("time", replaced.as_secs_f64(), "s")
        .also("until the last is there", (arrived - replaced).as_secs_f64() * 1e3, "ms")
        // A Pod that comes, runs and goes, and its slice, for each.
        .also("events", (4 * SLICES * EACH) as f64, "")
        .also("pushes", grown("chancery_xds_responses_total", &[("type", "eds")]), "")
        .also("bytes", grown("chancery_xds_response_bytes_total", &[]) / 1e6, "MB")
        .also("our CPU", after.0 - before.0, "ms")
        .also("Envoy's CPU", after.1 - before.1, "ms");
    Ok(vec![row])
}

/// Waits until Envoy has as many endpoints as there are Pods, all of them at addresses that begin so.
async fn all_are(envoy: &Envoy, prefix: &str) -> Outcome<()> {
    deadline::until(&format!("Envoy has all endpoints at {prefix}"), SOON, async || {
        let found = envoy.endpoints(CLUSTER).await.ok()?;
        let all = found.len() == SLICES * EACH && found.iter().all(|one| one.ip().to_string().starts_with(prefix));
        all.then_some(())
    })
    .await
}

fn address(generation: usize, index: usize) -> String {
    format!("10.9{generation}.{}.{}", index / 250, index % 250 + 1)
}

fn pod(generation: usize, index: usize) -> (String, Value) {
    let name = format!("rolled-{generation}-{index}");
    of_pod("roll", "rolled", &name, &address(generation, index), generation * 1_000_000 + index)
}

fn endpoint(generation: usize, index: usize) -> Value {
    json!({"addresses": [address(generation, index)], "nodeName": "node",
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {"kind": "Pod", "namespace": "roll", "name": format!("rolled-{generation}-{index}")}})
}

async fn fill(cluster: &Cluster) -> Outcome<()> {
    cluster.namespace("roll").await?;
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: rolled, namespace: roll}\n\
                   spec: {ports: [{name: http, port: 80, targetPort: 8080}]}\n";
    cluster.apply(service).await?;
    for slice in 0..SLICES {
        let endpoints: Vec<_> = (slice * EACH..(slice + 1) * EACH).map(|index| endpoint(0, index)).collect();
        let object = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": format!("rolled-{slice}"), "namespace": "roll",
                "labels": {"kubernetes.io/service-name": "rolled"}},
            "endpoints": endpoints, "ports": [{"name": "http", "protocol": "TCP", "port": 8080}]});
        cluster.apply(&object.to_string()).await?;
    }
    let mut pods: Vec<_> = (0..SLICES * EACH).map(|index| pod(0, index)).collect();
    pods.push(of_pod("roll", "client", "client", "10.89.0.1", 9_000_000));
    cluster.write(&pods).await
}

/// Each Pod gives way to a new one: that is made, and runs; then the endpoint is another, and then the old one goes.
async fn replace(client: &Client) -> Outcome<()> {
    let mut slices = JoinSet::new();
    for slice in 0..SLICES {
        slices.spawn(replace_slice(client.clone(), slice));
    }
    while let Some(replaced) = slices.join_next().await {
        replaced??;
    }
    Ok(())
}

async fn replace_slice(client: Client, slice: usize) -> Outcome<()> {
    const PODS: &str = "/api/v1/namespaces/roll/pods";
    let mut ticks = tokio::time::interval(APART);
    let (first, end) = (slice * EACH, (slice + 1) * EACH);
    for index in first..end {
        ticks.tick().await;
        let (_, mut object) = pod(1, index);
        let status = object["status"].take();
        object["metadata"] =
            json!({"name": format!("rolled-1-{index}"), "namespace": "roll", "labels": {"app": "rolled"}});
        ask(&client, Request::post(PODS).body(serde_json::to_vec(&object)?)?).await?;
        patch(&client, &format!("{PODS}/rolled-1-{index}/status"), &json!({"status": status})).await?;
        let endpoints: Vec<_> = (first..end).map(|at| endpoint(usize::from(at <= index), at)).collect();
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/roll/endpointslices/rolled-{slice}");
        patch(&client, &path, &json!({"endpoints": endpoints})).await?;
        let now = Request::delete(format!("{PODS}/rolled-0-{index}?gracePeriodSeconds=0")).body(Vec::new())?;
        ask(&client, now).await?;
    }
    Ok(())
}

async fn ask(client: &Client, request: Request<Vec<u8>>) -> Outcome<()> {
    let answer = client.request_text(request).await;
    answer.map(drop).map_err(|error| Failure::new(error.to_string()))
}
