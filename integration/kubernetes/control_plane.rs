//! The control plane itself: kinds and versions, the real validation, the real controllers.

use crate::harness::cluster::{Cluster, Definitions, Options};
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use chancery::source::kubernetes::kinds::KINDS;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a controller may take.
const SOON: Duration = Duration::from_secs(30);

/// Versions that are served, and kinds in each.
const SERVED: &[(&str, &[&str])] = &[
    ("discovery.k8s.io/v1", &["endpointslices"]),
    ("networking.istio.io/v1", &["destinationrules", "gateways", "serviceentries", "sidecars", "virtualservices"]),
    ("networking.istio.io/v1beta1", &["destinationrules", "sidecars", "virtualservices", "proxyconfigs"]),
    ("networking.istio.io/v1alpha3", &["destinationrules", "sidecars", "virtualservices", "envoyfilters"]),
    ("security.istio.io/v1", &["authorizationpolicies", "peerauthentications", "requestauthentications"]),
    ("telemetry.istio.io/v1", &["telemetries"]),
    ("gateway.networking.k8s.io/v1", &["gatewayclasses", "gateways", "grpcroutes", "httproutes"]),
    ("gateway.networking.k8s.io/v1alpha2", &["tcproutes", "tlsroutes"]),
    ("split.smi-spec.io/v1alpha4", &["trafficsplits"]),
    ("split.smi-spec.io/v1alpha2", &["trafficsplits"]),
];

#[tokio::test]
async fn every_kind_is_served() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut missing = Vec::new();
    for (version, kinds) in SERVED {
        let answer = cluster.kubectl(&["get", "--raw", &format!("/apis/{version}")]).await?;
        let list: Value = serde_json::from_str(&answer)?;
        let names: Vec<&str> =
            list["resources"].as_array().into_iter().flatten().filter_map(|kind| kind["name"].as_str()).collect();
        missing.extend(kinds.iter().filter(|kind| !names.contains(kind)).map(|kind| format!("{kind} in {version}")));
    }
    assert!(missing.is_empty(), "{missing:?}");
    Ok(())
}

/// Whatever is served of the groups that people write policies of is watched, if only to say that it is not in effect.
#[tokio::test]
async fn no_kind_of_their_groups_is_overlooked() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let groups: BTreeSet<&str> =
        KINDS.iter().map(|kind| kind.group).filter(|group| group.contains("istio.io")).collect();
    let (mut overlooked, mut seen) = (Vec::new(), 0);
    let others = ["gateway.networking.k8s.io", "gateway.networking.x-k8s.io", "split.smi-spec.io"];
    for group in groups.into_iter().chain(others) {
        let answer: Value =
            serde_json::from_str(&cluster.kubectl(&["get", "--raw", &format!("/apis/{group}")]).await?)?;
        for version in answer["versions"].as_array().into_iter().flatten() {
            let path = format!("/apis/{}", version["groupVersion"].as_str().unwrap_or_default());
            let list: Value = serde_json::from_str(&cluster.kubectl(&["get", "--raw", &path]).await?)?;
            let names = list["resources"].as_array().into_iter().flatten().filter_map(|kind| kind["name"].as_str());
            for name in names.filter(|name| !name.contains('/')) {
                seen += 1;
                let is_known = KINDS.iter().any(|kind| kind.group == group && kind.plural == name);
                overlooked.extend((!is_known).then(|| format!("{name} of {path}")));
            }
        }
    }
    assert!(overlooked.is_empty(), "{overlooked:?}");
    assert!(seen > 25, "the control: {seen} are served");
    Ok(())
}

fn rule(namespace: &str, name: &str, timeout: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  hosts: [echo]\n  http:\n  - timeout: {timeout}\n    route:\n    - destination: {{host: echo}}\n"
    )
}

#[tokio::test]
async fn what_istio_forbids_is_refused() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    cluster.namespace("validation").await?;
    cluster.apply(&rule("validation", "good", "5s")).await?;
    let refusal = cluster.apply(&rule("validation", "bad", "5 minutes")).await.expect_err("not a duration").0;
    assert!(refusal.contains("spec.http[0].timeout") && refusal.contains("must be a valid duration"), "{refusal}");
    let stored = cluster.kubectl(&["get", "virtualservices", "-n", "validation", "-o", "name"]).await?;
    assert_eq!(stored, "virtualservice.networking.istio.io/good\n");
    Ok(())
}

/// A Service, and a Pod that it selects.
const ECHO: &str = "
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: slices}
spec:
  selector: {app: echo}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: echo-1, namespace: slices, labels: {app: echo}}
spec:
  nodeName: node
  containers: [{name: echo, image: echo}]
";

/// Addresses of the slices of a namespace, each with whether it is ready, and their ports.
async fn slices(cluster: &Cluster, namespace: &str) -> Outcome<Vec<(String, bool, u64)>> {
    let answer = cluster.kubectl(&["get", "endpointslices", "-n", namespace, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&answer)?;
    let items = list["items"].as_array().ok_or_else(|| Failure::new(format!("no list: {answer}")))?;
    let of = |slice: &Value| {
        let port = slice.pointer("/ports/0/port").and_then(Value::as_u64).unwrap_or_default();
        let endpoints = slice["endpoints"].as_array().cloned().unwrap_or_default();
        let found = endpoints.into_iter().map(move |endpoint| {
            let address = endpoint.pointer("/addresses/0").and_then(Value::as_str).unwrap_or_default().to_owned();
            (address, endpoint.pointer("/conditions/ready") == Some(&Value::Bool(true)), port)
        });
        found.collect::<Vec<_>>()
    };
    Ok(items.iter().flat_map(of).collect())
}

#[tokio::test]
async fn a_controller_keeps_endpoint_slices() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    cluster.namespace("slices").await?;
    cluster.apply(ECHO).await?;
    for ready in [true, false] {
        cluster.set_pod("slices", "echo-1", "10.1.2.3", ready).await?;
        let expected = vec![("10.1.2.3".to_owned(), ready, 8080)];
        deadline::until("the Pod's state is in the slice", SOON, async || {
            (slices(&cluster, "slices").await.ok()? == expected).then_some(())
        })
        .await?;
    }
    cluster.kubectl(&["delete", "pod", "echo-1", "-n", "slices", "--force"]).await?;
    deadline::until("the slice is empty", SOON, async || {
        slices(&cluster, "slices").await.ok()?.is_empty().then_some(())
    })
    .await
}

/// What is not known yet is refused, and known as soon as it is defined.
#[tokio::test]
async fn kinds_can_come_later() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { definitions: Vec::new(), ..Options::default() }).await?;
    let split = "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {name: echo, namespace: default}\n\
                 spec: {service: echo, backends: [{service: echo-v1, weight: 1}]}\n";
    let refusal = cluster.apply(split).await.expect_err("no such kind").0;
    assert!(refusal.contains("no matches for kind"), "{refusal}");
    cluster.define(Definitions::Smi).await?;
    cluster.apply(split).await
}
