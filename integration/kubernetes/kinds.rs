//! Kinds that are not there, that may not be seen, or that mean nothing yet.

use crate::harness::cluster::{ADMIN, Definitions, Options};
use crate::harness::timing::soak;
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage};
use crate::told::says;
use serde_json::{Value, json};
use std::time::Duration;

const VIRTUAL_SERVICES: &str = "virtualservices.networking.istio.io";

/// A route that only exists once its kind does.
const ROUTE: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: inside, namespace: late}
spec: {hosts: [inside], http: [{route: [{destination: {host: inside}}], timeout: 7s}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: locked, namespace: late}
spec: {}
";

/// Kinds that are installed later are picked up, and objects without effect are named.
#[tokio::test]
async fn missing_kinds_are_reported_and_picked_up() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { definitions: Vec::new(), ..Options::default() }).await?;
    let stage = Stage::open(&cluster, ADMIN, "late").await?;
    stage.is(VIRTUAL_SERVICES, "missing").await?;
    stage.is("services", "watching").await?;
    for definitions in Definitions::ALL {
        cluster.define(definitions).await?;
    }
    stage.is(VIRTUAL_SERVICES, "watching").await?;
    assert!(stage.chancery.api().is_ready().await, "it was ready before");
    cluster.apply(ROUTE).await?;
    deadline::until("the route is in effect", SOON, async || {
        let routes = stage.envoy().dump("dynamic_route_configs").await.ok()?;
        serde_json::to_string(&routes).ok()?.contains("\"7s\"").then_some(())
    })
    .await?;
    deadline::until("what has no effect is named", SOON, async || {
        let problems = stage.chancery.api().problems().await.ok()?;
        let named = |problem: &&crate::harness::api::Problem| {
            problem.object.as_deref() == Some("AuthorizationPolicy late/locked") && problem.severity == "error"
        };
        problems.iter().find(named).map(drop)
    })
    .await
}

/// What an older release of a kind serves is read, and written to, in that version.
#[tokio::test]
async fn kinds_of_an_older_release_are_read() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let printed = cluster.kubectl(&["get", "crd", VIRTUAL_SERVICES, "-o", "json"]).await?;
    let definition: Value = serde_json::from_str(&printed)?;
    let versions = definition["spec"]["versions"].as_array().into_iter().flatten().enumerate();
    let others = versions.filter(|(_, version)| version["name"] != "v1beta1");
    let unserved =
        others.map(|(at, _)| json!({"op": "replace", "path": format!("/spec/versions/{at}/served"), "value": false}));
    let patch = Value::from_iter(unserved).to_string();
    cluster.kubectl(&["patch", "crd", VIRTUAL_SERVICES, "--type=json", "-p", &patch]).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "older").await?;
    stage.write_status(15);
    stage.chancery.restart().await?;
    stage.connect().await?;
    stage.is(VIRTUAL_SERVICES, "watching").await?;
    let route = ROUTE.split("---").next().unwrap_or_default().replace("late", "older");
    let refused = cluster.apply(&route).await.expect_err("the control: it is not served any more").to_string();
    assert!(refused.contains("no matches for kind"), "{refused}");
    cluster.apply(&route.replace("networking.istio.io/v1", "networking.istio.io/v1beta1")).await?;
    says(&cluster, &stage, "virtualservice/inside", ("Programmed", "True Programmed")).await?;
    let routes = stage.envoy().dump("dynamic_route_configs").await?;
    assert!(serde_json::to_string(&routes)?.contains("\"7s\""));
    Ok(())
}

const USER: &str = "restricted";

fn role(rules: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {USER}}}\nrules: [{rules}]\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {USER}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {USER}}}\n\
         subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: {USER}}}]\n"
    )
}

const REQUIRED: &str = "{apiGroups: ['', discovery.k8s.io], verbs: [list, watch], \
                        resources: [namespaces, services, endpointslices, pods, configmaps]}";
/// What says how requests are protected, but for who may make them.
const PROTECTING: &str = "{apiGroups: [networking.istio.io], verbs: [list, watch], resources: [destinationrules]}";
const STRICT: &str = "{apiGroups: [security.istio.io], verbs: [list, watch], resources: [peerauthentications]}";
const POLICIES: &str = "{apiGroups: ['*'], verbs: [list, watch], resources: ['*']}";

/// Without a right to what is required nothing is served, and the reason is told; other kinds only are not in effect.
#[tokio::test]
async fn what_may_not_be_seen_is_told() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { users: vec![USER], ..Options::default() }).await?;
    let mut stage = Stage::set(&cluster, USER, "rights").await?;
    stage.chancery.launch()?;
    stage.is("pods", "denied").await?;
    let told = stage.chancery.api().readiness().await?;
    let reason = "pods is forbidden: User \"restricted\" cannot list resource \"pods\"";
    assert!(told.contains("waiting for") && told.contains(reason), "{told}");
    cluster.apply(&role(&format!("{REQUIRED}, {PROTECTING}, {STRICT}"))).await?;
    stage.chancery.ready(SOON).await?;
    stage.is(VIRTUAL_SERVICES, "denied").await?;
    stage.connect().await?;
    cluster.apply(&role(&format!("{REQUIRED}, {POLICIES}"))).await?;
    stage.is(VIRTUAL_SERVICES, "watching").await
}

/// Who may list what is required and not follow it would hear of no change: nothing is served, the right is named, and the kind is not
/// listed again and again. The control: with that right everything is served.
#[tokio::test]
async fn what_may_not_be_followed_is_waited_for() -> Outcome<()> {
    const REASON: &str = "pods is forbidden: User \"restricted\" cannot watch resource \"pods\"";
    let (cluster, _held) = shared::own(Options { users: vec![USER], ..Options::default() }).await?;
    let mut stage = Stage::set(&cluster, USER, "unfollowed").await?;
    let without = REQUIRED.replace(", pods", "");
    let listed = "{apiGroups: [''], verbs: [list], resources: [pods]}";
    cluster.apply(&role(&format!("{without}, {listed}, {PROTECTING}, {STRICT}"))).await?;
    stage.chancery.launch()?;
    let told = async || stage.chancery.api().readiness().await.ok()?.contains(REASON).then_some(());
    deadline::until("the right is named", SOON, told).await.map_err(|failure| failure.with(&stage.chancery.tail()))?;
    let lists = async || {
        let asked = [("resource", "pods"), ("verb", "LIST")];
        Ok::<_, Failure>(cluster.metrics().await?.sum("apiserver_request_total", &asked))
    };
    // It is asked twice within the first second or two, and every ten seconds then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = lists().await?;
    let waits = async || !stage.chancery.api().is_ready().await;
    deadline::throughout("nothing is served", Duration::from_secs(8), waits).await?;
    let more = lists().await? - before;
    assert!(before > 0.0 && more <= 2.0, "it was listed {before} times, and {more} times more in eight seconds");
    cluster.apply(&role(&format!("{REQUIRED}, {PROTECTING}, {STRICT}"))).await?;
    stage.chancery.ready(SOON).await?;
    stage.connect().await
}

/// Rights to everything that come together: what is optional is asked for again before anything is served, for what was
/// refused with the rest was nobody's decision.
#[tokio::test]
async fn rights_that_come_together_are_seen_together() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { users: vec![USER], ..Options::default() }).await?;
    let mut stage = Stage::set(&cluster, USER, "together").await?;
    let route = ROUTE.replace("late", "together");
    cluster.apply(&route).await?;
    stage.chancery.launch()?;
    stage.is("pods", "denied").await?;
    stage.is(VIRTUAL_SERVICES, "denied").await?;
    cluster.apply(&role(&format!("{REQUIRED}, {POLICIES}"))).await?;
    stage.chancery.ready(Duration::from_secs(30)).await?;
    let kind = stage.chancery.api().kind(VIRTUAL_SERVICES).await?;
    assert_eq!((&*kind.state, kind.objects), ("watching", 1), "{kind:?}");
    Ok(())
}

const PEER_AUTHENTICATIONS: &str = "peerauthentications.security.istio.io";
const LOCK: &str = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: lock, namespace: guarded}\n\
                    spec: {mtls: {mode: STRICT}}\n";

/// Fails unless nothing is served for want of the right to see who may talk, and for nothing else.
async fn waits_for_the_right(stage: &Stage) -> Outcome<()> {
    let reason = "denied: peerauthentications.security.istio.io is forbidden";
    let alone = deadline::until("it waits for that right alone", SOON, async || {
        let told = stage.chancery.api().readiness().await.ok()?;
        (told.contains(reason) && told.matches(" (").count() == 1).then_some(())
    });
    alone.await.map_err(|failure| failure.with(&stage.chancery.tail()))?;
    let waits = async || !stage.chancery.api().is_ready().await;
    deadline::throughout("nothing is served", soak(2), waits).await
}

/// Without the right to see what may keep somebody out nothing is served, for nobody would be kept out. Taken away later it changes nothing
/// for those that are served, until chancery starts again. The control is the test above: without VirtualServices it serves.
#[tokio::test]
async fn a_right_to_what_protects_is_waited_for() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options { users: vec![USER], ..Options::default() }).await?;
    let mut stage = Stage::set(&cluster, USER, "guarded").await?;
    cluster.apply(LOCK).await?;
    cluster.apply(&role(&format!("{REQUIRED}, {PROTECTING}"))).await?;
    stage.chancery.launch()?;
    waits_for_the_right(&stage).await?;
    cluster.apply(&role(&format!("{REQUIRED}, {PROTECTING}, {STRICT}"))).await?;
    stage.chancery.ready(SOON).await?;
    stage.is(PEER_AUTHENTICATIONS, "watching").await?;
    stage.connect().await?;
    let known = async || stage.chancery.api().kind(PEER_AUTHENTICATIONS).await.is_ok_and(|kind| kind.objects == 1);
    assert!(known().await, "the lock is known");
    cluster.apply(&role(&format!("{REQUIRED}, {PROTECTING}"))).await?;
    stage.is(PEER_AUTHENTICATIONS, "denied").await?;
    let kept = async || known().await && stage.chancery.api().is_ready().await;
    deadline::throughout("what was known is kept", soak(2), kept).await?;
    stage.chancery.kill()?;
    stage.chancery.launch()?;
    waits_for_the_right(&stage).await
}
