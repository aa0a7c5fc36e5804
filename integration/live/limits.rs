//! Limits and ejections, as an application sees them and as Envoy's own metrics say.

use crate::harness::envoy::{Envoy, Setup};
use crate::harness::load::Load;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline};
use crate::{logging, on};
use std::collections::BTreeMap;

/// The labels of the cluster for one subset, and of the one for the whole service.
const SUBSET: &[(&str, &str)] =
    &[("direction", "outbound"), ("service_host", HOST), ("service_port", "8080"), ("subset", "v1")];
const WHOLE: &[(&str, &str)] = &[("cluster_name", "outbound|8080||echo.first-light.svc.cluster.local")];
const HOST: &str = "echo.first-light.svc.cluster.local";
/// How the log ends for requests to the subset.
const CLUSTER: &str = "HTTP/1.1 outbound|8080|v1|echo.first-light.svc.cluster.local";

/// How many requests come at once while the application answers none.
const AT_ONCE: u64 = 10;
/// One is on the only connection, one waits for it.
const LET_IN: u64 = 2;

/// Where limits are put in the example.
const POOL: &str = "tcp: {connectTimeout: 2s}";

/// Beyond one connection and one waiting request everything is refused at once, which the log calls UO, and the gauges say that
/// it is full; when the application answers again, so does everything.
pub async fn a_breaker_opens_and_closes(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let limits = format!("{POOL}\n      http: {{http1MaxPendingRequests: 1}}")
            .replace("connectTimeout", "maxConnections: 1, connectTimeout");
        logging::log(scene, logging::TEXT).await?;
        first_only(scene, &limits).await?;
        // The connection is there from now on: a request that waits for one to open counts as pending as well.
        scene.ask(&[]).await?;
        scene.echoes[0].hold(true);
        let load = Load { workers: AT_ONCE as usize, ..scene.requests(AT_ONCE) }.start();
        let refused = (AT_ONCE - LET_IN) as f64;
        shows(scene.client(), &[("upstream_rq_pending_overflow", refused)], SUBSET).await?;
        let full = ["cx_open", "rq_pending_open"].map(|name| (name, 1.0));
        let nothing = ["remaining_cx", "remaining_pending"].map(|name| (name, 0.0));
        breakers(scene.client(), &[full, nothing].concat()).await?;
        let answer = scene.ask(&[("x-test", "full")]).await?;
        logging::entry(scene.client(), "full", &format!("503 UO {CLUSTER}")).await?;
        if answer.status != 503 || answer.headers.get("x-envoy-overloaded").is_none() {
            return Err(Failure::new(format!("refused differently: {} {:?}", answer.status, answer.headers)));
        }
        scene.echoes[0].hold(false);
        let tally = load.finished().await?;
        if tally.statuses != [(200, LET_IN), (503, AT_ONCE - LET_IN)].into() {
            return Err(Failure::new(format!("let in {LET_IN} of {AT_ONCE}, and this was seen: {tally:?}")));
        }
        let open = ["cx_open", "rq_pending_open"].map(|name| (name, 0.0));
        breakers(scene.client(), &[&open[1..], &[("remaining_pending", 1.0)]].concat()).await?;
        shows(scene.client(), &[("upstream_rq_xx", refused + 1.0)], &with_class(SUBSET, "5")).await?;
        Load { workers: 1, ..scene.requests(20) }.run().await?.clean()?;
        // One made the connection, before anything was full.
        let answered = 1 + LET_IN + 20;
        logged(scene, &[("200 -", answered), ("503 UO", AT_ONCE - LET_IN)]).await
    })
    .await
}

/// The control: without limits everything that comes at once waits and is answered, and both proxies count it.
pub async fn without_limits_no_breaker_opens(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        logging::log(scene, logging::TEXT).await?;
        first_only(scene, POOL).await?;
        scene.echoes[0].hold(true);
        let load = Load { workers: AT_ONCE as usize, ..scene.requests(AT_ONCE) }.start();
        let all = async || (scene.echoes[0].requests() == AT_ONCE).then_some(());
        deadline::until("every request reaches the application", SOON, all).await?;
        shows(scene.client(), &[("upstream_rq_pending_overflow", 0.0)], SUBSET).await?;
        breakers(scene.client(), &[("cx_open", 0.0), ("rq_pending_open", 0.0)]).await?;
        scene.echoes[0].hold(false);
        load.finished().await?.clean()?;
        logged(scene, &[("200 -", AT_ONCE)]).await?;
        let served = [("upstream_rq_xx", AT_ONCE as f64)];
        shows(scene.client(), &served, &with_class(SUBSET, "2")).await?;
        shows(&scene.envoys[1], &served, &with_class(&[("direction", "inbound"), ("service_port", "8080")], "2")).await
    })
    .await
}

/// After three errors in a row an endpoint gets nothing for a while; then it is tried again.
pub async fn an_endpoint_that_fails_is_ejected_and_returns(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        const RULE: &str = "    outlierDetection: {consecutive5xxErrors: 3, interval: 100ms, baseEjectionTime: 2s, \
                            maxEjectionPercent: 100}\n";
        everybody(scene, RULE).await?;
        scene.echoes[1].fail(true);
        // An ejection takes effect a moment after the error that causes it.
        let errors = Load { workers: 1, rate: Some(50.0), ..scene.requests(20) }.run().await?;
        if errors.statuses != [(200, 17), (503, 3)].into() {
            return Err(Failure::new(format!("three errors eject it, and this was seen: {errors:?}")));
        }
        shows(scene.client(), &[("outlier_detection_ejections_active", 1.0)], WHOLE).await?;
        scene.echoes[1].fail(false);
        shows(scene.client(), &[("outlier_detection_ejections_active", 0.0)], WHOLE).await?;
        shows(scene.client(), &[("outlier_detection_ejections_enforced_total", 1.0)], WHOLE).await?;
        let after = scene.requests(40).run().await?;
        after.clean()?;
        if after.of("v2") == 20 { Ok(()) } else { Err(Failure::new(format!("it did not return: {after:?}"))) }
    })
    .await
}

/// The control: without the rule the endpoint keeps its share and its errors.
pub async fn without_the_rule_nothing_is_ejected(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        everybody(scene, "").await?;
        scene.echoes[1].fail(true);
        let errors = Load { workers: 1, ..scene.requests(40) }.run().await?;
        if errors.statuses != [(200, 20), (503, 20)].into() {
            return Err(Failure::new(format!("every other request fails, and this was seen: {errors:?}")));
        }
        shows(scene.client(), &[("outlier_detection_ejections_active", 0.0)], WHOLE).await
    })
    .await
}

/// Sends everybody to the first version, with this connection pool.
async fn first_only(scene: &Scene, pool: &str) -> Outcome<()> {
    let text = reweighted(&scene.folder.read(TRAFFIC)?.replace(POOL, pool), &[("v1", 100), ("v2", 0)]);
    scene.reroute(&text).await?;
    scene.settled().await
}

/// Sends everybody to the service as a whole, with this added to its policy.
async fn everybody(scene: &Scene, policy: &str) -> Outcome<()> {
    let text = scene.folder.read(TRAFFIC)?.replace(", subset: v1}", "}").replace(", subset: v2}", "}");
    scene.reroute(&text.replace("    connectionPool:\n", &format!("{policy}    connectionPool:\n"))).await?;
    scene.settled().await
}

/// Waits until the client's proxy has logged so many requests with these answers and flags, and no others.
async fn logged(scene: &Scene, expected: &[(&str, u64)]) -> Outcome<()> {
    let expected = expected.iter().map(|(flags, count)| (format!("{flags} {CLUSTER}"), *count));
    let expected: BTreeMap<String, u64> = expected.collect();
    let count = || {
        let mut seen: BTreeMap<String, u64> = BTreeMap::new();
        logging::entries(scene.client(), "-").into_iter().for_each(|entry| *seen.entry(entry).or_default() += 1);
        seen
    };
    let all = async || (count() == expected).then_some(());
    let logged = deadline::until("the log says what became of each", SOON, all).await;
    logged.map_err(|failure| failure.with(&format!("{:?}", count())))
}

fn with_class<'l>(labels: &[(&'l str, &'l str)], class: &'l str) -> Vec<(&'l str, &'l str)> {
    labels.iter().copied().chain([("envoy_response_code_class", class)]).collect()
}

/// Waits until the breakers of the subset show these values.
async fn breakers(envoy: &Envoy, expected: &[(&str, f64)]) -> Outcome<()> {
    let names: Vec<String> = expected.iter().map(|(name, _)| format!("circuit_breakers_default_{name}")).collect();
    let expected: Vec<(&str, f64)> =
        names.iter().map(String::as_str).zip(expected.iter().map(|(_, value)| *value)).collect();
    shows(envoy, &expected, SUBSET).await
}

/// Waits until Envoy's metrics of a cluster, as Prometheus reads them, are these.
async fn shows(envoy: &Envoy, expected: &[(&str, f64)], labels: &[(&str, &str)]) -> Outcome<()> {
    let what = format!("the metrics {labels:?} say {expected:?}");
    let found = async || {
        let metrics = envoy.scrape().await.ok()?;
        let sum = |name: &str| metrics.sum(&format!("envoy_cluster_{name}"), labels);
        expected.iter().all(|(name, value)| sum(name) == *value).then_some(())
    };
    deadline::until(&what, SOON, found).await
}
