//! Policies and the real validation: what it refuses chancery has something to say about, and the policies of the golden
//! cases are such that it takes.

use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::{Outcome, tools};
use crate::shared;
use chancery::cli::analyze::{analyze, read};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

/// Kinds, and a `spec` that the definitions of Istio forbid for one reason each.
const FORBIDDEN: &[(&str, &str)] = &[
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"timeout":"100us","route":[{"destination":{"host":"echo"}}]}]}"#),
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"timeout":"-1s","route":[{"destination":{"host":"echo"}}]}]}"#),
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"timeout":"1d","route":[{"destination":{"host":"echo"}}]}]}"#),
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"timeout":5,"route":[{"destination":{"host":"echo"}}]}]}"#),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"match":[{"uri":{"exact":"/a","prefix":"/b"}}],"route":[{"destination":{"host":"echo"}}]}]}"#,
    ),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"match":[{"headers":{"x":{"exact":"a","regex":"b"}}}],"route":[{"destination":{"host":"echo"}}]}]}"#,
    ),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"match":[{"port":-1}],"route":[{"destination":{"host":"echo"}}]}]}"#,
    ),
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"route":[{"weight":1}]}]}"#),
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"route":[{"destination":{"subset":"v1"}}]}]}"#),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"route":[{"destination":{"host":"echo","port":{"number":-1}}}]}]}"#,
    ),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"route":[{"destination":{"host":"echo","port":{"number":4294967296}}}]}]}"#,
    ),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"retries":{"attempts":1,"perTryTimeout":"0s"},"route":[{"destination":{"host":"echo"}}]}]}"#,
    ),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"corsPolicy":{"maxAge":"0s"},"route":[{"destination":{"host":"echo"}}]}]}"#,
    ),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"mirror":{"subset":"a"},"route":[{"destination":{"host":"echo"}}]}]}"#,
    ),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"fault":{"delay":{"fixedDelay":"0s"}},"route":[{"destination":{"host":"echo"}}]}]}"#,
    ),
    ("VirtualService", r#"{"hosts":"echo","http":[{"route":[{"destination":{"host":"echo"}}]}]}"#),
    ("VirtualService", r#"{"hosts":["echo"],"tcp":[{"route":[{"weight":1}]}]}"#),
    ("VirtualService", r#"{"hosts":["echo"],"tls":[{"route":[{"destination":{"host":"echo"}}]}]}"#),
    ("VirtualService", r#"{"hosts":[1],"http":[{"route":[{"destination":{"host":"echo"}}]}]}"#),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"match":[{"ignoreUriCase":"yes"}],"route":[{"destination":{"host":"echo"}}]}]}"#,
    ),
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"route":[{"destination":{"host":"echo"},"weight":1.5}]}]}"#),
    ("VirtualService", r#"{"hosts":["echo"],"http":[null]}"#),
    (
        "VirtualService",
        r#"{"hosts":["echo"],"http":[{"route":[{"destination":{"host":"echo"}}],"headers":{"request":{"set":{"a":1}}}}]}"#,
    ),
    ("VirtualService", r#"[]"#),
    ("DestinationRule", r#"{"trafficPolicy":{}}"#),
    ("DestinationRule", r#"{"host":"echo","subsets":[{"labels":{"a":"b"}}]}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"connectionPool":{"http":{"idleTimeout":"0s"}}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"connectionPool":{"tcp":{"connectTimeout":"0s"}}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"connectionPool":{"tcp":{"connectTimeout":"1us"}}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"connectionPool":{"tcp":{"maxConnectionDuration":"0s"}}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"connectionPool":{"tcp":{"tcpKeepalive":{"probes":-1}}}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"connectionPool":{"tcp":{"tcpKeepalive":{"time":"0s"}}}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"connectionPool":{"tcp":{"maxConnections":"many"}}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"connectionPool":{"http":{"h2UpgradePolicy":"MAYBE"}}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"simple":"round_robin"}}}"#),
    (
        "DestinationRule",
        r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"simple":"RANDOM","consistentHash":{"useSourceIp":true}}}}"#,
    ),
    (
        "DestinationRule",
        r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"consistentHash":{"useSourceIp":true,"httpHeaderName":"x"}}}}"#,
    ),
    (
        "DestinationRule",
        r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"consistentHash":{"httpCookie":{"ttl":"1s"}}}}}"#,
    ),
    (
        "DestinationRule",
        r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"consistentHash":{"useSourceIp":true,"minimumRingSize":-1}}}}"#,
    ),
    (
        "DestinationRule",
        r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"consistentHash":{"useSourceIp":true,"maglev":{},"ringHash":{}}}}}"#,
    ),
    (
        "DestinationRule",
        r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"consistentHash":{"useSourceIp":true,"maglev":{"tableSize":-1}}}}}"#,
    ),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"warmupDurationSecs":"0s"}}}"#),
    (
        "DestinationRule",
        r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"warmup":{"duration":"1s","minimumPercent":101}}}}"#,
    ),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"outlierDetection":{"interval":"0s"}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"outlierDetection":{"baseEjectionTime":"0s"}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"outlierDetection":{"consecutive5xxErrors":-1}}}"#),
    (
        "DestinationRule",
        r#"{"host":"echo","trafficPolicy":{"outlierDetection":{"consecutiveGatewayErrors":4294967296}}}"#,
    ),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"portLevelSettings":[{"port":{"number":-1}}]}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"tls":{"mode":"MAYBE"}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"proxyProtocol":{"version":"V3"}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"retryBudget":{"percent":101}}}"#),
    ("DestinationRule", r#"{"host":"echo","workloadSelector":{"matchLabels":{"app":"a*"}}}"#),
    ("DestinationRule", r#"{"host":"echo","workloadSelector":{"matchLabels":{"":"a"}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"tunnel":{"targetHost":"a"}}}"#),
    ("DestinationRule", r#"{"host":"echo","exportTo":"."}"#),
    ("DestinationRule", r#"{"host":"echo","subsets":[{"name":"a","labels":{"v":1}}]}"#),
    ("Sidecar", r#"{"egress":[{"port":{"number":80,"protocol":"HTTP"}}]}"#),
    ("Sidecar", r#"{"egress":[{"hosts":["*/*"],"captureMode":"SOME"}]}"#),
    ("Sidecar", r#"{"egress":[{"hosts":["*/*"],"port":{"number":-1,"protocol":"HTTP"}}]}"#),
    ("Sidecar", r#"{"ingress":[{"defaultEndpoint":"127.0.0.1:80"}]}"#),
    (
        "Sidecar",
        r#"{"ingress":[{"captureMode":"SOME","defaultEndpoint":"127.0.0.1:80","port":{"number":80,"protocol":"HTTP"}}]}"#,
    ),
    ("Sidecar", r#"{"workloadSelector":{"labels":{"app":"a*"}},"egress":[{"hosts":["*/*"]}]}"#),
    (
        "Sidecar",
        r#"{"workloadSelector":{"labels":{"app":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},"egress":[{"hosts":["*/*"]}]}"#,
    ),
    ("Sidecar", r#"{"outboundTrafficPolicy":{"mode":"SOME"}}"#),
    ("Sidecar", r#"{"outboundTrafficPolicy":{"egressProxy":{"subset":"x"}}}"#),
    ("Sidecar", r#"{"inboundConnectionPool":{"tcp":{"connectTimeout":"0s"}}}"#),
    ("Sidecar", r#"{"inboundConnectionPool":{"http":{"idleTimeout":"0s"}}}"#),
    // Without end, as Envoy understands it; in a folder it can be said, with a warning.
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"timeout":"0s","route":[{"destination":{"host":"echo"}}]}]}"#),
    // Fields that are not in effect, with nothing in them.
    ("VirtualService", r#"{"hosts":["echo"],"http":[{"directResponse":{}}]}"#),
    ("PeerAuthentication", r#"{"mtls":{"mode":"MAYBE"}}"#),
    ("PeerAuthentication", r#"{"mtls":"STRICT"}"#),
    ("PeerAuthentication", r#"{"selector":{"matchLabels":{"app":"a*"}}}"#),
    ("PeerAuthentication", r#"{"selector":{"matchLabels":{"":"a"}}}"#),
    ("PeerAuthentication", r#"{"portLevelMtls":{"8080":{"mode":"STRICT"}}}"#),
    ("PeerAuthentication", r#"{"selector":{"matchLabels":{"app":"a"}},"portLevelMtls":{"0":{"mode":"STRICT"}}}"#),
    ("PeerAuthentication", r#"{"selector":{"matchLabels":{"app":"a"}},"portLevelMtls":{}}"#),
    ("PeerAuthentication", r#"{"selector":{"matchLabels":{"app":"a"}},"portLevelMtls":{"80":{"mode":"MAYBE"}}}"#),
    ("DestinationRule", r#"{"host":"echo","trafficPolicy":{"loadBalancer":{"warmup":{}}}}"#),
];

/// A policy of that kind and with that `spec`.
fn policy(kind: &str, name: &str, spec: &str) -> Outcome<Value> {
    let spec: Value = serde_json::from_str(spec)?;
    let metadata = json!({"name": name, "namespace": "default"});
    let group = if kind == "PeerAuthentication" { "security" } else { "networking" };
    let version = format!("{group}.istio.io/v1");
    Ok(json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}))
}

/// Which of the objects the API server takes, by position; the names of objects are their positions.
async fn taken(cluster: &Cluster, objects: &[Value]) -> Outcome<BTreeSet<usize>> {
    let stream: Vec<String> = objects.iter().map(Value::to_string).collect();
    let create = ["create", "--dry-run=server", "--validate=strict", "-f", "-", "-o", "name"];
    let answer = cluster.try_kubectl(ADMIN, &create, &stream.join("\n---\n")).await?;
    let positions = answer.output.lines().filter_map(|line| line.rsplit_once("/p")?.1.parse().ok());
    Ok(positions.collect())
}

/// Whether chancery has nothing to say about an object.
fn is_silent(object: &Value) -> Outcome<bool> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    fs::write(file.path(), object.to_string())?;
    Ok(analyze(read(&[file.path().into()])).findings().is_empty())
}

/// The last object is fine: the control that those before it are refused each for itself.
#[tokio::test]
async fn what_istio_forbids_chancery_reports() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let fine = ("VirtualService", r#"{"hosts":["echo"],"http":[{"route":[{"destination":{"host":"echo"}}]}]}"#);
    let all: Vec<_> = FORBIDDEN.iter().chain([&fine]).collect();
    let mut objects = Vec::new();
    for (position, (kind, spec)) in all.iter().enumerate() {
        objects.push(policy(kind, &format!("p{position}"), spec)?);
    }
    let last = objects.len() - 1;
    let stored = taken(&cluster, &objects).await?;
    assert_eq!(stored, [last].into(), "{:?}", stored.iter().map(|position| all[*position]).collect::<Vec<_>>());
    for (position, object) in objects.iter().enumerate() {
        assert_eq!(is_silent(object)?, position == last, "{object}");
    }
    Ok(())
}

/// The policies of all golden cases, named by their positions.
fn golden() -> Outcome<Vec<Value>> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(tools::root().join("integration/golden"))? {
        let path = entry?.path();
        if !path.to_string_lossy().ends_with(".in.yaml") {
            continue;
        }
        for text in fs::read_to_string(&path)?.split("\n---\n") {
            let Ok(mut object) = serde_yaml_ng::from_str::<Value>(text) else { continue };
            if object["apiVersion"].as_str().is_some_and(|version| version.starts_with("networking.istio.io/")) {
                object["metadata"]["name"] = format!("p{}", objects.len()).into();
                object["metadata"]["namespace"] = "default".into();
                objects.push(object);
            }
        }
    }
    Ok(objects)
}

#[tokio::test]
async fn policies_of_golden_cases_are_taken() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let objects = golden()?;
    assert!(objects.len() > 40, "{} policies are not all there are", objects.len());
    let stored = taken(&cluster, &objects).await?;
    let refused: Vec<_> = objects.iter().enumerate().filter(|(position, _)| !stored.contains(position)).collect();
    assert!(refused.is_empty(), "{refused:?}");
    Ok(())
}
