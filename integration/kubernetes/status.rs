//! What becomes of objects is written on them, once, and as far as there is a right to.

use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, slice};
use crate::told::{Told, events, rejection, says, wants};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// For how long nothing may be written.
const QUIET: Duration = Duration::from_secs(4);

/// One object for each thing that there is to say. The API server takes the regular expression that Envoy would refuse.
const OBJECTS: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: good, namespace: told}
spec: {hosts: [inside], http: [{route: [{destination: {host: inside}}], timeout: 7s}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: nowhere, namespace: told}
spec: {hosts: [outside], http: [{route: [{destination: {host: nobody}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad, namespace: told}
spec: {hosts: [other], http: [{match: [{uri: {regex: 'a**'}}], route: [{destination: {host: inside}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: inside, namespace: told}
spec: {host: inside, trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: locked, namespace: told}
spec: {}
";

const NAMES: [&str; 5] = [
    "virtualservice/good",
    "virtualservice/nowhere",
    "virtualservice/bad",
    "destinationrule/inside",
    "authorizationpolicy/locked",
];

async fn versions(cluster: &Cluster) -> Outcome<Vec<String>> {
    let mut versions = Vec::new();
    for name in NAMES {
        versions.push(Told::of(cluster, "told", name).await?.version());
    }
    Ok(versions)
}

/// How many statuses a chancery has tried to write since it was started.
async fn writes(stage: &Stage) -> Outcome<f64> {
    Ok(stage.chancery.api().metrics().await?.sum("chancery_status_writes_total", &[]))
}

/// Waits until chancery leads and has nothing to write.
async fn settled(stage: &Stage) -> Outcome<()> {
    let there = deadline::until("it leads and has nothing to write", SOON, async || {
        let status = stage.chancery.api().status().await.ok()?;
        (status.state == "leading" && status.waiting == 0).then_some(())
    });
    there.await.map_err(|failure| failure.with(&stage.chancery.tail()))
}

/// Conditions say what became of each object; whoever starts anew finds nothing to write.
#[tokio::test]
async fn objects_are_told_what_became_of_them_once() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "told").await?;
    stage.write_status(15);
    stage.chancery.restart().await?;
    stage.connect().await?;
    cluster.apply(OBJECTS).await?;
    let (good, _) = says(&cluster, &stage, NAMES[0], ("Accepted", "True Accepted")).await?;
    assert_eq!(good.says("ResolvedRefs"), "True ResolvedRefs");
    let (good, _) = says(&cluster, &stage, NAMES[0], ("Programmed", "True Programmed")).await?;
    assert_eq!(good.message("Programmed"), "in effect at the one proxy that it concerns");
    let (nowhere, _) = says(&cluster, &stage, NAMES[1], ("ResolvedRefs", "False NotFound")).await?;
    assert_eq!(nowhere.says("Accepted"), "True Accepted");
    let message = nowhere.message("ResolvedRefs");
    assert!(
        message.starts_with("spec.http[0].route[0].destination.host: no Service has the host nobody."),
        "{message}"
    );
    let (bad, _) = says(&cluster, &stage, NAMES[2], ("Accepted", "False Invalid")).await?;
    assert!(bad.message("Accepted").starts_with("spec.http[0].match[0].uri"), "{}", bad.message("Accepted"));
    assert_eq!(bad.0["status"]["validationMessages"][0]["type"]["code"], "IST0106");
    assert_eq!(bad.says("Programmed"), "False Invalid");
    says(&cluster, &stage, NAMES[3], ("Programmed", "True Programmed")).await?;
    let (locked, _) = says(&cluster, &stage, NAMES[4], ("Accepted", "False NotInEffect")).await?;
    assert!(locked.message("Accepted").contains("it protects nothing"), "{}", locked.message("Accepted"));
    cluster.apply(&OBJECTS.replace("a**", "a*")).await?;
    // No Service has its host, so it concerns nobody.
    says(&cluster, &stage, NAMES[2], ("Programmed", "True NoProxies")).await?;
    settled(&stage).await?;
    nothing_is_written_again(&cluster, &mut stage).await
}

async fn nothing_is_written_again(cluster: &Cluster, stage: &mut Stage) -> Outcome<()> {
    let (before, count) = (versions(cluster).await?, writes(stage).await?);
    assert!(count >= 5.0, "{count}");
    let quiet = async || writes(stage).await.ok() == Some(count);
    // Neither when nothing happens nor when Pods come and go.
    deadline::throughout("nothing is written", QUIET, &quiet).await?;
    cluster.apply(&slice("told", "inside", &["10.9.0.30"])).await?;
    stage.has_endpoints("inside", &["10.9.0.30"]).await?;
    deadline::throughout("nothing is written", QUIET / 2, &quiet).await?;
    // Lease and all: the next one has it at once, and knows what is stored.
    let ended = Instant::now();
    stage.chancery.terminate(SOON).await?;
    stage.chancery.restart().await?;
    settled(stage).await?;
    assert!(ended.elapsed() < Duration::from_secs(12), "it was given back: {:?}", ended.elapsed());
    let quiet = async || writes(stage).await.ok() == Some(0.0);
    deadline::throughout("nothing is written by the next", QUIET, quiet).await?;
    assert_eq!(versions(cluster).await?, before);
    // The control: somebody takes it away, and it is written again.
    let patch = r#"{"status":{"conditions":[]}}"#;
    let spoil = ["patch", NAMES[0], "-n", "told", "--subresource=status", "--type=merge", "-p", patch];
    cluster.kubectl(&spoil).await?;
    says(cluster, stage, NAMES[0], ("Accepted", "True Accepted")).await?;
    assert!(writes(stage).await? >= 1.0);
    Ok(())
}

/// What a real Envoy rejects is told to the object within a second of being known, with an Event; and when it is over.
#[tokio::test]
async fn a_rejection_reaches_its_object() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "rejected").await?;
    stage.write_status(15);
    stage.chancery.restart().await?;
    stage.connect().await?;
    cluster.apply(&OBJECTS.replace("told", "rejected")).await?;
    says(&cluster, &stage, NAMES[0], ("Accepted", "True Accepted")).await?;
    let taken = TcpListener::bind((stage.vacant(), 0))?;
    let address = taken.local_addr()?;
    cluster.apply(&wants("rejected", address)).await?;
    let (problem, known) = rejection(&stage.chancery, "rejected").await?;
    assert_eq!(problem.severity, "error", "{problem:?}");
    let (own, asked) = says(&cluster, &stage, "sidecar/own", ("Programmed", "False Rejected")).await?;
    let late = asked.saturating_duration_since(known);
    assert!(late < Duration::from_secs(1), "{late:?}: {}", stage.chancery.tail());
    println!("from being known to being stored: less than {:?}", known.elapsed());
    assert!(own.message("Programmed").contains("cannot bind"), "{}", own.message("Programmed"));
    let told = deadline::until("there is an Event", SOON, async || {
        events(&cluster, "rejected", "Rejected", "own").await.ok().filter(|told| !told.is_empty())
    });
    let told = told.await?;
    assert!(told.len() == 1 && told[0].contains("cannot bind"), "{told:?}");
    // Another state, which is not rejected: the port is let go of, and the listener is another.
    drop(taken);
    let elsewhere = SocketAddr::new(address.ip(), if address.port() > 2_000 { address.port() - 1 } else { 2_001 });
    cluster.apply(&wants("rejected", elsewhere)).await?;
    deadline::until("it is over", SOON, async || {
        let own = Told::of(&cluster, "rejected", "sidecar/own").await.ok()?;
        let now = own.says("Programmed");
        (now == "True Programmed").then_some(())
    })
    .await?;
    let told = events(&cluster, "rejected", "Rejected", "own").await?;
    assert_eq!(told.len(), 1, "{told:?}");
    Ok(())
}

const READER: &str = "reader";

/// Rights to read everything, and none to write.
const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules: [{apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]
";

/// What lets it keep a Lease, and no more.
const LEASES: &str = "{apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}";
/// What lets it write status, too.
const STATUS: &str = "{apiGroups: ['*'], resources: ['*/status'], verbs: [patch]}";

/// What lets it tell with Events, too.
const EVENTS: &str = "{apiGroups: [events.k8s.io], resources: [events], verbs: [create]}";
/// How long it may take until an Event is tried again that could not be written for as long as this test lasts until then.
const RETRIED: Duration = Duration::from_secs(70);

fn may(rules: &[&str]) -> String {
    let read = "{apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}";
    let rules = [&[read], rules].concat().join(", ");
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {READER}}}\nrules: [{rules}]\n"
    )
}

/// Without the rights, or if it is not wanted, nothing is written and proxies are served; rights that come later count.
#[tokio::test]
async fn without_rights_proxies_are_served() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { users: vec![READER], ..Options::default() }).await?;
    cluster.apply(RIGHTS).await?;
    let mut stage = Stage::set(&cluster, READER, "told").await?;
    // Requests have to arrive.
    cluster.apply(&OBJECTS.replace("hosts: [outside]", "hosts: [other]")).await?;
    stage.chancery.restart().await?;
    stage.connect().await?;
    assert_eq!(stage.chancery.api().status().await?.state, "off");
    stage.chancery.terminate(SOON).await?;
    stage.write_status(3);
    stage.chancery.restart().await?;
    is(&stage, "denied").await?;
    let reason = stage.chancery.api().status().await?.reason;
    assert!(reason.contains("leases.coordination.k8s.io"), "{reason}");
    assert_eq!(cluster.kubectl(&["get", "leases", "-n", "told", "-o", "name"]).await?, "");
    stage.load(20).run().await?.clean()?;
    cluster.apply(&may(&[LEASES])).await?;
    is(&stage, "leading").await?;
    deadline::until("it is told what may not be written", SOON, async || {
        let status = stage.chancery.api().status().await.ok()?;
        status.denied.iter().any(|denied| denied["resource"] == "virtualservices.networking.istio.io").then_some(())
    })
    .await?;
    let good = Told::of(&cluster, "told", NAMES[0]).await?;
    assert_eq!(good.0.get("status"), None, "nothing was written");
    stage.load(20).run().await?.clean()?;
    cluster.apply(&may(&[LEASES, STATUS])).await?;
    says(&cluster, &stage, NAMES[0], ("Accepted", "True Accepted")).await?;
    let refused = async || {
        let metrics = stage.chancery.api().metrics().await.ok()?;
        (metrics.sum("chancery_status_events_total", &[("result", "denied")]) >= 1.0).then_some(())
    };
    deadline::until("an Event may not be written", SOON, refused).await?;
    assert_eq!(events(&cluster, "told", "Invalid", "bad").await?, Vec::<String>::new());
    cluster.apply(&may(&[LEASES, STATUS, EVENTS])).await?;
    deadline::until("it is written once it may be", RETRIED, async || {
        (events(&cluster, "told", "Invalid", "bad").await.ok()?.len() == 1).then_some(())
    })
    .await
    .map_err(|failure| failure.with(&stage.chancery.tail()))
}

async fn is(stage: &Stage, state: &str) -> Outcome<()> {
    let what = format!("the state is {state}");
    let same =
        deadline::until(&what, SOON, async || (stage.chancery.api().status().await.ok()?.state == state).then_some(()));
    same.await.map_err(|failure| failure.with(&stage.chancery.tail()))
}
