//! What objects of a cluster were told: their conditions, and the Events about them, as kubectl shows them.

use crate::harness::api::Problem;
use crate::harness::chancery::Chancery;
use crate::harness::cluster::Cluster;
use crate::harness::{Outcome, deadline};
use crate::stage::{SOON, Stage};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Instant;

/// An object.
#[derive(Clone, Debug)]
pub struct Told(pub Value);

impl Told {
    /// An object as it is now.
    pub async fn of(cluster: &Cluster, namespace: &str, object: &str) -> Outcome<Self> {
        let printed = cluster.kubectl(&["get", object, "-n", namespace, "-o", "json"]).await?;
        Ok(Self(serde_json::from_str(&printed)?))
    }

    /// `status reason` of a condition of the object's generation; empty if there is none.
    pub fn says(&self, r#type: &str) -> String {
        let generation = &self.0["metadata"]["generation"];
        let condition = self.condition(r#type).filter(|found| found["observedGeneration"] == *generation);
        let text = |found: &Value, field: &str| found[field].as_str().unwrap_or_default().to_owned();
        condition.map(|found| format!("{} {}", text(found, "status"), text(found, "reason"))).unwrap_or_default()
    }

    /// The message of a condition.
    pub fn message(&self, r#type: &str) -> String {
        let message = self.condition(r#type).and_then(|found| found["message"].as_str());
        message.unwrap_or_default().to_owned()
    }

    /// The state of the object.
    pub fn version(&self) -> String {
        self.0["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned()
    }

    fn condition(&self, r#type: &str) -> Option<&Value> {
        self.0["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == *r#type)
    }
}

/// Waits until an object says this; returns it and when the question was asked that was answered so.
pub async fn says(
    cluster: &Cluster,
    stage: &Stage,
    object: &str,
    (r#type, expected): (&str, &str),
) -> Outcome<(Told, Instant)> {
    says_in(cluster, (stage, &stage.namespace), object, (r#type, expected)).await
}

/// The same of an object in another namespace.
pub async fn says_in(
    cluster: &Cluster,
    (stage, namespace): (&Stage, &str),
    object: &str,
    (r#type, expected): (&str, &str),
) -> Outcome<(Told, Instant)> {
    let mut last = None;
    let what = format!("{object} says {type} {expected}");
    let same = deadline::until(&what, SOON, async || {
        let asked = Instant::now();
        last = Told::of(cluster, namespace, object).await.ok();
        last.clone().filter(|told| told.says(r#type) == expected).map(|told| (told, asked))
    });
    let same = same.await;
    same.map_err(|failure| {
        let status = last.map(|told| told.0["status"].to_string()).unwrap_or_default();
        failure.with(&status).with(&stage.chancery.tail())
    })
}

/// The notes of Events with a reason about an object.
pub async fn events(cluster: &Cluster, namespace: &str, reason: &str, name: &str) -> Outcome<Vec<String>> {
    let printed = cluster.kubectl(&["get", "events.events.k8s.io", "-n", namespace, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&printed)?;
    let about = |event: &&Value| event["reason"] == *reason && event["regarding"]["name"] == *name;
    let events = list["items"].as_array().into_iter().flatten().filter(about);
    Ok(events.map(|event| event["note"].as_str().unwrap_or_default().to_owned()).collect())
}

/// A port that somebody else has, where a Sidecar wants a listener.
pub fn wants(namespace: &str, taken: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: busy, namespace: {namespace}}}\n\
         spec: {{ports: [{{name: http, port: {port}}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: own, namespace: {namespace}}}\n\
         spec: {{egress: [{{port: {{number: {port}, protocol: HTTP, name: http}}, bind: {ip}, hosts: ['./*']}}, \
         {{hosts: ['./*']}}]}}\n",
        port = taken.port(),
        ip = taken.ip(),
    )
}

/// Waits until a chancery knows that a proxy rejects what that Sidecar wants; the problem, and when it was told.
pub async fn rejection(chancery: &Chancery, namespace: &str) -> Outcome<(Problem, Instant)> {
    let object = format!("Sidecar {namespace}/own");
    let known = deadline::until("the rejection is known", SOON, async || {
        let problems = chancery.api().problems().await.ok()?;
        let rejected =
            |problem: &&Problem| problem.object.as_deref() == Some(&object) && problem.text.contains("rejects");
        problems.iter().find(rejected).map(|problem| (problem.clone(), Instant::now()))
    });
    known.await.map_err(|failure| failure.with(&chancery.tail()))
}
