//! A headless service: its clients pick a Pod, by address or by the Pod's own name, and that Pod answers.

use crate::harness::network::v4;
use crate::harness::{Failure, Outcome};
use crate::speaker::Speaker;
use crate::stage::{Stage, get, say, talk};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

/// Its ports: of HTTP, of TCP, and one that says nothing.
const HTTP: u16 = 7777;
const TCP: u16 = 7778;
const ANY: u16 = 7779;
/// One of HTTP that the Pods have as [`HTTP`].
const ELSEWHERE: u16 = 7780;
/// The address of a service whose requests go to the headless one.
const FRONT: &str = "10.96.77.8";
/// How often each address is asked.
const TIMES: usize = 20;

/// Requests and connections reach the Pod that was picked, also where nothing unknown may be called, and those for another
/// service reach any. The controls: before the service is there, nothing is reached; once it has an address of its own,
/// any Pod answers.
pub async fn who_is_picked_answers(stage: &mut Stage) -> Outcome<()> {
    let _speakers = speakers(stage).await?;
    stage.restrict("outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n").await?;
    if let Ok(line) = say(&stage.client, v4(1), TCP, "hello").await {
        return Err(Failure::new(format!("nobody knows the port, and {line:?} was heard")));
    }
    listened(stage, &manifest("None", &[1, 2])).await?;
    for (last, name) in [(1, "first"), (2, "second")] {
        for host in ["db", "db-0.db", "db-0.db.capture.svc.cluster.local:7777"] {
            only(&asked(stage, v4(last), HTTP, host).await?, name)?;
        }
        only(&asked(stage, v4(last), ANY, "whatever").await?, name)?;
        only(&asked(stage, v4(last), ELSEWHERE, "db").await?, name)?;
        for port in [TCP, ANY] {
            let line = say(&stage.client, v4(last), port, "hello").await?;
            only(&[line.split(' ').next().unwrap_or_default().to_owned()].into(), name)?;
        }
    }
    both(&asked(stage, FRONT.parse()?, HTTP, "front").await?)?;
    listened(stage, &manifest("10.96.77.9", &[1, 2])).await?;
    both(&asked(stage, v4(1), HTTP, "db").await?)
}

/// A Pod that goes takes its own listener with it and no connection to another.
pub async fn pods_come_and_go_apart(stage: &mut Stage) -> Outcome<()> {
    let _speakers = speakers(stage).await?;
    listened(stage, &manifest("None", &[1, 2])).await?;
    let mut first = talk(&stage.client, v4(1), TCP).await?;
    first.say("hello").await?;
    stage.restrict("outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n").await?;
    say(&stage.client, v4(2), TCP, "hello").await?;
    listened(stage, &manifest("None", &[1])).await?;
    if let Ok(line) = say(&stage.client, v4(2), TCP, "hello").await {
        return Err(Failure::new(format!("the Pod is gone, and {line:?} was heard")));
    }
    listened(stage, &manifest("None", &[1, 2])).await?;
    say(&stage.client, v4(2), TCP, "hello").await?;
    first.say("still here").await.map(drop)
}

/// An application on the machine and one in the pod of the example, on every port.
async fn speakers(stage: &Stage) -> Outcome<Vec<Speaker>> {
    let mut speakers = Vec::new();
    for port in [HTTP, TCP, ANY] {
        speakers.push(Speaker::start("first", port).await?);
        speakers.push(stage.server.run(Speaker::start("second", port)).await?);
    }
    Ok(speakers)
}

/// Writes the manifest and waits until both sidecars have accepted other listeners.
async fn listened(stage: &Stage, text: &str) -> Outcome<()> {
    let api = stage.chancery.api();
    let before = api.accepted("lds").await?;
    stage.folder.replace("db.yaml", text)?;
    api.moved("lds", &before, Duration::from_secs(5)).await?;
    stage.settled().await
}

/// Who answers requests to an address.
async fn asked(stage: &Stage, ip: IpAddr, port: u16, host: &str) -> Outcome<BTreeSet<String>> {
    let mut seen = BTreeSet::new();
    for _ in 0..TIMES {
        let answer = get(&stage.client, ip, port, host).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        seen.insert(body.split(' ').next().unwrap_or_default().to_owned());
    }
    Ok(seen)
}

fn only(seen: &BTreeSet<String>, name: &str) -> Outcome<()> {
    if *seen == [name.to_owned()].into() { Ok(()) } else { Err(Failure::new(format!("{seen:?} answered, not {name}"))) }
}

fn both(seen: &BTreeSet<String>) -> Outcome<()> {
    let both = ["first", "second"].map(str::to_owned).into();
    if *seen == both { Ok(()) } else { Err(Failure::new(format!("only {seen:?} answered"))) }
}

/// The service at an address or at none, with Pods whose addresses end like this, and a route to it from another.
fn manifest(address: &str, pods: &[u8]) -> String {
    let pods: Vec<_> = pods.iter().map(|last| format!("{{addresses: [10.77.0.{last}]}}")).collect();
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: db, namespace: capture}}
spec: {{clusterIP: {address}, ports: [{{name: http, port: {HTTP}}}, {{name: tcp, port: {TCP}}}, {{name: any, port: {ANY}}},
  {{name: http-elsewhere, port: {ELSEWHERE}, targetPort: {HTTP}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: db-4, namespace: capture, labels: {{kubernetes.io/service-name: db}}}}
addressType: IPv4
ports: [{{name: http, port: {HTTP}}}, {{name: tcp, port: {TCP}}}, {{name: any, port: {ANY}}}, {{name: http-elsewhere, port: {HTTP}}}]
endpoints: [{}]
---
apiVersion: v1
kind: Service
metadata: {{name: front, namespace: capture}}
spec: {{clusterIP: {FRONT}, ports: [{{name: http, port: {HTTP}}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: front, namespace: capture}}
spec: {{hosts: [front], http: [{{route: [{{destination: {{host: db, port: {{number: {HTTP}}}}}}}]}}]}}
",
        pods.join(", ")
    )
}
