//! The same of kinds besides Services and rules: what nobody could have written through the API server is told, and harms nobody else.

use crate::harness::cluster::{ADMIN, Cluster, Definitions, Options};
use crate::harness::{Outcome, deadline};
use crate::invalid::{metadata, said};
use crate::shared;
use crate::stage::{SOON, Stage, slice};
use crate::told::{events, says};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::time::Duration;

/// The namespace that the helpers write to.
const NAMESPACE: &str = "invalid";

/// An object of a kind as it is stored, below a path.
fn object(path: &str, (version, kind): (&str, &str), name: &str, number: usize, more: &Value) -> (String, Value) {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": metadata(name, number)});
    for (field, value) in more.as_object().into_iter().flatten() {
        match field.as_str() {
            "labels" => object["metadata"]["labels"] = value.clone(),
            _ => object[field] = value.clone(),
        }
    }
    (format!("{path}/{NAMESPACE}/{name}"), object)
}

fn pod(name: &str, number: usize, labels: &Value, ip: &str) -> (String, Value) {
    let spec = json!({"nodeName": "node", "containers": [{"name": "client", "image": "client"}]});
    let status = json!({"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]});
    object("pods", ("v1", "Pod"), name, number, &json!({"labels": labels, "spec": spec, "status": status}))
}

/// Objects that say nothing that can be understood, each with what it is called.
fn broken() -> [((String, Value), &'static str); 4] {
    let mut node = object("minions", ("v1", "Node"), "nowhere", 42, &json!({}));
    node.0 = "minions/nowhere".to_owned();
    node.1["metadata"]["namespace"].take();
    node.1["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "not a zone\u{7}".repeat(40)});
    let [certificate, key] = ["no certificate", "no key"].map(|text| BASE64_STANDARD.encode(text));
    let data = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": certificate, "tls.key": key}});
    [
        (pod("crooked", 41, &json!({"app": "not a label!"}), "nowhere"), "Pod invalid/crooked"),
        (node, "Node nowhere"),
        (object("secrets", ("v1", "Secret"), "broken", 43, &data), "Secret invalid/broken"),
        (
            object("configmaps", ("v1", "ConfigMap"), "chancery", 44, &json!({"data": {"mesh": "a: ["}})),
            "MeshConfig mesh",
        ),
    ]
}

/// Objects of kinds without effect that no validation would let through, each with what it is called.
fn without_effect() -> [((String, Value), &'static str); 4] {
    let spec = |spec: Value| json!({"spec": spec});
    let (gateway, istio) = ("gateway.networking.k8s.io", "networking.istio.io");
    [
        (
            object(&format!("{istio}/gateways"), ("networking.istio.io/v1", "Gateway"), "edge", 45, &spec(json!([7]))),
            "Gateway invalid/edge",
        ),
        (
            object(
                &format!("{gateway}/httproutes"),
                ("gateway.networking.k8s.io/v1", "HTTPRoute"),
                "path",
                46,
                &spec(json!("words")),
            ),
            "HTTPRoute invalid/path",
        ),
        (
            object(
                &format!("{gateway}/gateways"),
                ("gateway.networking.k8s.io/v1", "Gateway"),
                "door",
                47,
                &spec(Value::Null),
            ),
            "Gateway invalid/door",
        ),
        (
            object(
                "split.smi-spec.io/trafficsplits",
                ("split.smi-spec.io/v1alpha4", "TrafficSplit"),
                "shares",
                48,
                &spec(json!({"service": 7, "backends": "all"})),
            ),
            "TrafficSplit invalid/shares",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_of_any_kind_harms_nobody_else() -> Outcome<()> {
    let (cluster, _held) =
        shared::own(Options { definitions: Definitions::ALL.to_vec(), ..Options::default() }).await?;
    let mut stage = Stage::set(&cluster, ADMIN, NAMESPACE).await?;
    stage.write_status(15);
    stage.chancery.flags.extend(["--secret-namespaces", NAMESPACE].map(str::to_owned));
    stage.record().await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    assert_eq!(said(&stage).await?, [], "the control: nothing is wrong before");
    let before = held(&stage).await?;
    let load = stage.traffic(Duration::from_secs(120)).start();
    let (broken, without_effect) = (broken(), without_effect());
    let names: Vec<&str> = broken.iter().chain(&without_effect).map(|(_, name)| *name).collect();
    let objects: Vec<_> = broken.iter().chain(&without_effect).map(|(object, _)| object.clone()).collect();
    cluster.write(&objects).await?;
    let mut found = Vec::new();
    let told = deadline::until("each is told", 4 * SOON, async || {
        found = said(&stage).await.ok()?;
        names.iter().all(|name| found.iter().any(|(of, _)| of == name)).then_some(())
    });
    told.await.map_err(|failure| failure.with(&format!("{found:#?}")).with(&stage.chancery.tail()))?;
    for (object, text) in &found {
        assert!(names.contains(&&**object), "{object}: {text}");
        // Each kind without effect says so, whatever is in the object; nothing shows what is in a Secret.
        let aside = without_effect.iter().any(|(_, name)| name == object);
        assert_eq!(aside, text.contains("is not in effect"), "{object}: {text}");
        assert!(!text.contains("no key"), "{text}");
    }
    for (_, name) in &broken {
        is_told_with_an_event(&cluster, &stage, name).await?;
    }
    for name in ["edge", "path", "client"] {
        assert_eq!(events(&cluster, NAMESPACE, "Invalid", name).await?, [""; 0], "the control: {name}");
    }
    says(&cluster, &stage, "gateway.networking.istio.io/edge", ("Accepted", "False NotInEffect")).await?;
    assert_eq!(held(&stage).await?, before, "proxies have what they had");
    cluster.apply(&slice(NAMESPACE, "inside", &["10.9.0.25"])).await?;
    stage.has_endpoints("inside", &["10.9.0.25"]).await?;
    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}

/// An object without a status of ours has one Event, in its namespace; what is in none has it where the API server takes it.
async fn is_told_with_an_event(cluster: &Cluster, stage: &Stage, object: &str) -> Outcome<()> {
    let (namespace, name) = match object.split_once(' ').expect("a kind and a name") {
        ("MeshConfig", _) => (NAMESPACE, "chancery"),
        (_, name) => name.split_once('/').unwrap_or(("default", name)),
    };
    let mut notes = Vec::new();
    let told = deadline::until("there is an Event", SOON, async || {
        notes = events(cluster, namespace, "Invalid", name).await.ok()?;
        (!notes.is_empty()).then_some(())
    });
    told.await.map_err(|failure| failure.with(object).with(&stage.chancery.tail()))?;
    assert!(notes.len() == 1 && !notes[0].contains("no key"), "{object}: {notes:?}");
    Ok(())
}

/// What the client's Envoy holds besides endpoints, with the time at which it was applied.
async fn held(stage: &Stage) -> Outcome<Vec<Value>> {
    let mut held = Vec::new();
    for resource in ["dynamic_active_clusters", "dynamic_listeners", "dynamic_route_configs"] {
        held.extend(stage.envoy().dump(resource).await?);
    }
    assert!(!held.is_empty());
    Ok(held)
}
