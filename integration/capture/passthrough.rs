//! A service that asks for no balancing: what a client connected to is where its requests go.

use crate::harness::network::v4;
use crate::harness::{Failure, Outcome};
use crate::speaker::Speaker;
use crate::stage::{Stage, get};
use std::collections::BTreeSet;
use std::time::Duration;

/// A service of two endpoints, on a port of its own.
const CROWD: &str = "apiVersion: v1
kind: Service
metadata: {name: crowd, namespace: capture}
spec: {clusterIP: 10.96.77.5, ports: [{name: http, port: 7777}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: crowd-4, namespace: capture, labels: {kubernetes.io/service-name: crowd}}
addressType: IPv4
ports: [{name: http, port: 7777}]
endpoints: [{addresses: [10.77.0.1]}, {addresses: [10.77.0.2]}]
";
/// The rule under test.
const RULE: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: crowd, namespace: capture}
spec: {host: crowd, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}
";
/// How often each address is asked.
const TIMES: usize = 20;

/// With PASSTHROUGH a request for an endpoint's address reaches that endpoint, every time; the control, before the rule
/// is there, is that both endpoints answer for either address.
pub async fn a_request_goes_where_it_was_sent(stage: &mut Stage) -> Outcome<()> {
    let _first = Speaker::start("first", 7777).await?;
    let _second = stage.server.run(Speaker::start("second", 7777)).await?;
    added(stage, "crowd.yaml", CROWD).await?;
    for last in [1, 2] {
        let seen = answered(stage, last).await?;
        if seen.len() != 2 {
            return Err(Failure::new(format!("without the rule {last} is answered by {seen:?}")));
        }
    }
    added(stage, "rule.yaml", RULE).await?;
    for (last, name) in [(1, "first"), (2, "second")] {
        let seen = answered(stage, last).await?;
        if seen != [name.to_owned()].into() {
            return Err(Failure::new(format!("{last} is answered by {seen:?} and not by {name}")));
        }
    }
    Ok(())
}

/// Adds a file and waits until both sidecars have accepted other clusters.
async fn added(stage: &Stage, name: &str, text: &str) -> Outcome<()> {
    let api = stage.chancery.api();
    let before = api.accepted("cds").await?;
    stage.folder.replace(name, text)?;
    api.moved("cds", &before, Duration::from_secs(5)).await?;
    stage.settled().await
}

/// Who answers requests to that address.
async fn answered(stage: &Stage, last: u8) -> Outcome<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for _ in 0..TIMES {
        let answer = get(&stage.client, v4(last), 7777, "crowd:7777").await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        seen.insert(body.split(' ').next().unwrap_or_default().to_owned());
    }
    Ok(seen)
}
