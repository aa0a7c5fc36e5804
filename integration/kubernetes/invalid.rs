//! What can be stored without validation arrives here, too: each object that is broken is told, and harms nobody else.

use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage};
use crate::told::{Told, events, says};
use serde_json::{Map, Value, json};

const NAMESPACE: &str = "invalid";

/// What the API server would say of an object of that name, which is the one of that number.
pub fn metadata(name: &str, number: usize) -> Value {
    json!({"name": name, "namespace": NAMESPACE, "uid": format!("00000000-0000-4000-8000-{number:012}"), "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z"})
}

fn policy(plural: &str, kind: &str, name: &str, number: usize, spec: Value) -> (String, Value) {
    let object =
        json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata(name, number), "spec": spec});
    (format!("networking.istio.io/{plural}/{NAMESPACE}/{name}"), object)
}

/// A PeerAuthentication for Pods that there are none of, whose mode can't be read.
fn lock(name: &str, number: usize) -> (String, Value) {
    let spec = json!({"selector": {"matchLabels": {"app": "nobody"}}, "mtls": "words"});
    let object = json!({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": metadata(name, number), "spec": spec});
    (format!("security.istio.io/peerauthentications/{NAMESPACE}/{name}"), object)
}

fn service(name: &str, number: usize, spec: Value) -> (String, Value) {
    let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(name, number), "spec": spec});
    (format!("services/specs/{NAMESPACE}/{name}"), object)
}

/// An EndpointSlice with so many endpoints.
fn slice(service: &str, number: usize, endpoints: usize) -> (String, Value) {
    let mut metadata = metadata(&format!("{service}-1"), number);
    metadata["labels"] = json!({"kubernetes.io/service-name": service});
    let endpoints: Vec<_> = (0..endpoints)
        .map(|index| json!({"addresses": [format!("10.20.{}.{}", index / 250, index % 250 + 1)], "conditions": {"ready": true}}))
        .collect();
    let object = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": "IPv4", "ports": [{"name": "http", "protocol": "TCP", "port": 8080}], "endpoints": endpoints});
    (format!("endpointslices/{NAMESPACE}/{service}-1"), object)
}

fn port(number: i64) -> Value {
    json!([{"name": "http", "protocol": "TCP", "port": number, "targetPort": 8080}])
}

/// What etcd takes in one request, but for some of what is around an object.
const LIMIT: usize = 1_572_864 - 300;

/// The same, with a route whose name is that long.
fn named((path, mut object): (String, Value), length: usize) -> (String, Value) {
    object["spec"]["http"][0]["name"] = "x".repeat(length).into();
    (path, object)
}

/// The longest name of an object of most kinds; no part of it has to be short.
fn long() -> String {
    format!("long.{}", "n".repeat(248))
}

/// More levels than most readers of JSON go into.
const DEEP: usize = 140;

/// The same with something in its status that is nested so deep.
fn nested((path, mut object): (String, Value)) -> (String, Value) {
    object["status"]["more"] = (0..DEEP).fold(json!(1), |inside, _| json!({"deeper": inside}));
    (path, object)
}

/// Objects that no validation would let through, and some that are only large.
fn objects() -> Vec<(String, Value)> {
    let route = |weight: Value| json!({"hosts": ["inside"], "http": [{"route": [{"destination": {"host": "inside"}, "weight": weight}]}]});
    let other = json!({"hosts": ["other"], "http": [{"route": [{"destination": {"host": "inside"}}]}]});
    let large = named(policy("virtualservices", "VirtualService", "large", 5, other.clone()), 1_500_000);
    let full = policy("virtualservices", "VirtualService", "full", 14, other.clone());
    let deep = nested(policy("virtualservices", "VirtualService", "deep", 17, other));
    // An API server drops fields that a definition doesn't know, and keeps lists in lists: these alone are told of.
    let mut buried = policy("virtualservices", "VirtualService", "buried", 18, route(100.into()));
    let lists = (0..DEEP).fold(json!("inside"), |lists, _| json!([lists]));
    buried.1["spec"]["hosts"] = json!(["inside", lists]);
    let room = LIMIT - named(full.clone(), 0).1.to_string().len();
    let mut astray = slice("astray", 15, 1);
    astray.1["endpoints"][0]["addresses"] = json!(["nowhere"]);
    let mut labelled =
        service("labelled", 8, json!({"clusterIP": "10.96.30.8", "clusterIPs": ["10.96.30.8"], "ports": port(80)}));
    let labels: Map<_, _> = (0..5_000).map(|index| (format!("label-{index}"), "value".into())).collect();
    labelled.1["metadata"]["labels"] = labels.into();
    let mut ending =
        service("ending", 9, json!({"clusterIP": "10.96.30.9", "clusterIPs": ["10.96.30.9"], "ports": port(80)}));
    ending.1["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    ending.1["metadata"]["finalizers"] = json!(["example.test/never"]);
    vec![
        policy("virtualservices", "VirtualService", "words", 1, route("ninety".into())),
        policy("virtualservices", "VirtualService", "nothing", 2, Value::Null),
        policy("virtualservices", "VirtualService", "list", 3, json!([1, 2])),
        policy("destinationrules", "DestinationRule", "hostless", 4, json!({"trafficPolicy": {"tls": 7}})),
        large,
        named(full, room),
        astray,
        deep,
        buried,
        policy("virtualservices", "VirtualService", &long(), 16, route("ninety".into())),
        policy(
            "sidecars",
            "Sidecar",
            "slashless",
            6,
            json!({"workloadSelector": {"labels": {"app": "nobody"}}, "egress": [{"hosts": ["everything"]}]}),
        ),
        lock("lock", 19),
        service("no-ports", 7, json!({"clusterIP": "10.96.30.7", "clusterIPs": ["10.96.30.7"]})),
        labelled,
        ending,
        service(
            "odd-port",
            10,
            json!({"clusterIP": "10.96.30.10", "clusterIPs": ["10.96.30.10"], "ports": port(70_000)}),
        ),
        service(
            &"n".repeat(63),
            11,
            json!({"clusterIP": "10.96.30.11", "clusterIPs": ["10.96.30.11"], "ports": port(80)}),
        ),
        service("many", 12, json!({"clusterIP": "10.96.30.12", "clusterIPs": ["10.96.30.12"], "ports": port(80)})),
        slice("many", 13, 10_000),
    ]
}

/// The objects that something is said of, each with what is said.
pub async fn said(stage: &Stage) -> Outcome<Vec<(String, String)>> {
    let problems = stage.chancery.api().problems().await?;
    Ok(problems.into_iter().map(|problem| (problem.object.unwrap_or_default(), problem.text)).collect())
}

#[tokio::test]
async fn what_is_stored_past_validation_harms_nobody_else() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, NAMESPACE).await?;
    stage.write_status(15);
    stage.record().await?;
    assert_eq!(said(&stage).await?, [], "the control: nothing is wrong before");
    cluster.write(&objects()).await?;
    let long = format!("VirtualService invalid/{}", long());
    let broken = [
        "VirtualService invalid/words",
        "VirtualService invalid/nothing",
        "VirtualService invalid/list",
        "DestinationRule invalid/hostless",
        "Sidecar invalid/slashless",
        "PeerAuthentication invalid/lock",
        "Service invalid/no-ports",
        "Service invalid/odd-port",
        "EndpointSlice invalid/astray-1",
        &long,
    ];
    // Who reads its status here could not read that one's.
    let buried = ("VirtualService invalid/buried".to_owned(), "is a list; a string is expected".to_owned());
    let mut found = Vec::new();
    let told = deadline::until("every broken object is told", 4 * SOON, async || {
        found = said(&stage).await.ok()?;
        let all = broken.iter().all(|object| found.iter().any(|(of, _)| of == object));
        (all && found.contains(&buried)).then_some(())
    });
    told.await.map_err(|failure| failure.with(&format!("{found:#?}")).with(&stage.chancery.tail()))?;
    for one in &found {
        let (object, text) = one;
        // What is only large names a host that nobody has, which is a warning of its own.
        let aside = text.starts_with("no Service has the host other");
        assert!(broken.contains(&&**object) || *one == buried || aside, "{object}: {text}");
    }
    // What is only large, about to go, or has a long name is in effect.
    for name in ["labelled", "ending", &"n".repeat(63)] {
        let cluster = stage.cluster_of(name);
        deadline::until("the Service is in effect", SOON, async || {
            stage.envoy().endpoints(&cluster).await.ok().map(drop)
        })
        .await?;
    }
    let many = stage.cluster_of("many");
    deadline::until("ten thousand endpoints arrive", 4 * SOON, async || {
        (stage.envoy().endpoints(&many).await.ok()?.len() == 10_000).then_some(())
    })
    .await?;
    authors_are_told(&cluster, &stage, &broken).await?;
    another_of_the_same_name(&cluster, &stage).await?;
    // Everything else goes on.
    cluster.apply(&crate::stage::slice(NAMESPACE, "inside", &["10.9.0.60"])).await?;
    stage.has_endpoints("inside", &["10.9.0.60"]).await?;
    stage.load(20).run().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}

/// Each broken object has one Event, and those of our kinds the reason in their status, as far as the API server takes one.
async fn authors_are_told(cluster: &Cluster, stage: &Stage, broken: &[&str]) -> Outcome<()> {
    for object in broken {
        let (kind, name) = object.split_once(" invalid/").expect("a kind and a name");
        let mut notes = Vec::new();
        let told = deadline::until("there is an Event", SOON, async || {
            notes = events(cluster, NAMESPACE, "Invalid", name).await.ok()?;
            (!notes.is_empty()).then_some(())
        });
        told.await.map_err(|failure| failure.with(object).with(&stage.chancery.tail()))?;
        assert_eq!(notes.len(), 1, "{object}: {notes:?}");
        if !["Service", "EndpointSlice"].contains(&kind) {
            let named = format!("{}/{name}", kind.to_lowercase());
            let (told, _) = says(cluster, stage, &named, ("Accepted", "False Invalid")).await?;
            assert_eq!(told.message("Accepted"), notes[0]);
            assert_eq!(kind == "PeerAuthentication", notes[0].contains("STRICT"), "what is in effect: {notes:?}");
        }
    }
    // The controls: of what is good there is none, and it is told so; but for what is too large for etcd with a status.
    for name in ["large", "full", "labelled", "inside"] {
        assert_eq!(events(cluster, NAMESPACE, "Invalid", name).await?, [""; 0], "{name}");
    }
    says(cluster, stage, "virtualservice/large", ("Accepted", "True Accepted")).await?;
    let full = Told::of(cluster, NAMESPACE, "virtualservice/full").await?;
    assert_eq!(full.0.get("status"), None, "there is no room for it");
    Ok(())
}

/// A good rule is deleted and made again, broken, under the same name: nothing of the first is left.
async fn another_of_the_same_name(cluster: &Cluster, stage: &Stage) -> Outcome<()> {
    let timeout = |time: &str| json!({"hosts": ["inside"], "http": [{"timeout": time, "route": [{"destination": {"host": "inside"}}]}]});
    let has = async |time: &str| {
        let routes = format!("{:?}", stage.envoy().dump("dynamic_route_configs").await.ok()?);
        Some(routes.contains(&format!("\"timeout\": String(\"{time}\")")))
    };
    cluster.write(&[policy("virtualservices", "VirtualService", "again", 20, timeout("7s"))]).await?;
    deadline::until("the rule is in effect", SOON, async || has("7s").await?.then_some(())).await?;
    // A mistake in the same object leaves what was read before.
    let mut changed = policy("virtualservices", "VirtualService", "again", 20, timeout("soon"));
    changed.1["metadata"]["generation"] = 2.into();
    cluster.write(&[changed]).await?;
    let object = "VirtualService invalid/again";
    deadline::until("the mistake is told", SOON, async || {
        said(stage).await.ok()?.iter().any(|(of, _)| of == object).then_some(())
    })
    .await?;
    assert_eq!(has("7s").await, Some(true));
    // Another object of that name never had that.
    cluster.write(&[policy("virtualservices", "VirtualService", "again", 21, timeout("soon"))]).await?;
    deadline::until("the rule is gone", SOON, async || (!has("7s").await?).then_some(())).await
}
