//! The PromQL of the documentation, put to a real Prometheus that scrapes real Envoys and chancery while requests travel.
//!
//! The expressions are those of the pages' `promql` blocks, one a line, known by the remark behind it. Here is only what
//! each must give.

use crate::handshakes::is_of_mutual_tls;
use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::metrics::{Metrics, Sample};
use crate::harness::prometheus::{Prometheus, Target};
use crate::harness::scene::{SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline};
use crate::{on, pages};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

const HOST: &str = "echo.first-light.svc.cluster.local";
/// Everybody goes to the first version, of which a connection and a waiting request are let in; who fails three times is
/// left out.
const RULES: [(&str, &str); 3] = [
    ("weight: 90\n", "weight: 100\n"),
    ("weight: 10\n", "weight: 0\n"),
    (
        "      tcp: {connectTimeout: 2s}\n",
        "      tcp: {maxConnections: 1, connectTimeout: 2s}\n      http: {http1MaxPendingRequests: 1}\n    outlierDetection: \
         {consecutive5xxErrors: 3, interval: 100ms, baseEjectionTime: 300s, maxEjectionPercent: 100}\n",
    ),
];
/// A mistake, and a port that can't be opened because somebody has it.
const TROUBLE: &str = "apiVersion: v1
kind: Service
metadata: {name: taken, namespace: first-light}
spec: {clusterIP: 10.96.77.9, ports: [{name: http, port: PORT}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: wrong, namespace: first-light}
spec: {host: taken, trafficPolicy: {connectionPool: {tcp: {connectTimeout: soon}}}}
";

/// The mistake, and the Service whose listener is rejected.
const ERRORS: u64 = 2;

/// Requests that are answered, by version, and the ones at once of which the breaker refuses some.
const ANSWERED: [u64; 2] = [20, 10];
const AT_ONCE: u64 = 10;
const LET_IN: u64 = 2;
/// Errors in a row after which an endpoint is left out.
const EJECTED: u64 = 3;
/// Of each version before anything counts: one answer, one error, one answer.
const FIRST: u64 = 3;
/// Scrapes of everything that counts, at least.
const SCRAPES: f64 = 10.0;

/// Each expression of the documentation gives what was done, and nothing when it asks for something else. Those of mutual TLS are
/// tried where there is any.
pub async fn the_queries_of_the_documents_are_right(setup: Setup) -> Outcome<()> {
    let mut queries = queries(&pages::documents())?;
    queries.retain(|query| !is_of_mutual_tls(&query.expression));
    on(Scene::open(Setup { prompt: true, ..setup }).await?, async |scene| {
        let prometheus = Prometheus::start(scene.subnet.free(1)?, &targets(scene), scene.files.path()).await?;
        let outcome = asked(&queries, scene, &prometheus).await;
        outcome.map_err(|failure| failure.with(&prometheus.tail()))
    })
    .await
}

async fn asked(queries: &[Query], scene: &Scene, prometheus: &Prometheus) -> Outcome<()> {
    begin(scene, prometheus).await?;
    let before = scrapes(prometheus).await?;
    let held = travel(scene, prometheus).await?;
    let rejected = trouble(scene, prometheus).await?;
    let enough = async || (scrapes(prometheus).await.ok()? >= before + SCRAPES).then_some(());
    deadline::until("everything is scraped several times", SOON, enough).await?;
    let expected = expected(held, rejected, &scene.chancery.api().metrics().await?)?;
    let mut known: BTreeSet<&str> = expected.iter().map(|(remark, _)| *remark).collect();
    for query in queries {
        let (_, rows) = expected.iter().find(|(remark, _)| *remark == query.remark).ok_or_else(|| {
            Failure::new(format!("{}: nobody says what this must give: {}", query.page, query.remark))
        })?;
        gives(prometheus, &query.expression, rows)
            .await
            .map_err(|failure| Failure::new(&query.page).with(&failure.0))?;
        for other in query.others() {
            gives(prometheus, &other, &[]).await.map_err(|failure| Failure::new("the control").with(&failure.0))?;
        }
        known.remove(query.remark.as_str());
    }
    if known.is_empty() { Ok(()) } else { Err(Failure::new(format!("no page has these queries: {known:?}"))) }
}

/// Waits until an expression gives these rows: a scrape that took too long hides a target until the next.
async fn gives(prometheus: &Prometheus, expression: &str, rows: &[Row]) -> Outcome<()> {
    let found = async || judged(&prometheus.query(expression).await.ok()?, rows).ok();
    let outcome = deadline::until(expression, SOON, found).await;
    let now = prometheus.query(expression).await?;
    outcome.map_err(|failure| failure.with(&judged(&now, rows).err().unwrap_or_else(|| Failure::new("now it does")).0))
}

/// How often each target has been scraped within the last minute, at least.
async fn scrapes(prometheus: &Prometheus) -> Outcome<f64> {
    let found = prometheus.query("min(count_over_time(up[1m]))").await?;
    found.first().map(|sample| sample.value).ok_or_else(|| Failure::new("nothing is scraped"))
}

/// An expression and where it stands.
pub struct Query {
    pub page: String,
    pub expression: String,
    /// What stands behind it.
    remark: String,
}

impl Query {
    /// The same expression, each time with another one of its labels' values that nothing has.
    fn others(&self) -> Vec<String> {
        let parts: Vec<&str> = self.expression.split('"').collect();
        let with = |at: usize| {
            let changed = parts.iter().enumerate().map(|(index, part)| if index == at { "nobody" } else { part });
            changed.collect::<Vec<_>>().join("\"")
        };
        (1..parts.len()).step_by(2).map(with).collect()
    }
}

/// Every expression of the pages; one that stands anywhere else is a mistake.
pub fn queries(pages: &[(String, String)]) -> Outcome<Vec<Query>> {
    let mut found = Vec::new();
    for (page, text) in pages {
        let lines: Vec<String> = pages::blocks(text, "promql")
            .iter()
            .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let astray = text.lines().find(|line| is_promql(line) && !lines.iter().any(|known| known == line));
        if let Some(line) = astray {
            return Err(Failure::new(format!("{page}: PromQL outside of a promql block isn't tried: {line}")));
        }
        for line in lines {
            let (expression, remark) =
                line.split_once(" # ").ok_or_else(|| Failure::new(format!("{page}: no remark behind {line}")))?;
            found.push(Query {
                page: page.clone(),
                expression: expression.trim().into(),
                remark: remark.trim().into(),
            });
        }
    }
    Ok(found)
}

fn is_promql(line: &str) -> bool {
    ["rate(", "increase(", "histogram_quantile(", "sum by", "sum("].iter().any(|sign| line.contains(sign))
        || line.contains("=\"") && (line.contains("envoy_") || line.contains("chancery_"))
}

/// The proxies, and chancery.
pub fn targets(scene: &Scene) -> Vec<Target> {
    let pod = |node: &str| node.split('~').nth(2).and_then(|name| name.split('.').next()).unwrap_or(node).to_owned();
    let proxies = scene.envoys.iter().map(|envoy| (envoy.metrics, "/stats/prometheus", pod(&envoy.node)));
    let all = proxies.chain([(scene.chancery.admin, "/metrics", "chancery".to_owned())]);
    all.map(|(address, path, pod)| Target { address, path, pod }).collect()
}

/// Sets the rules and lets every series begin: what Prometheus sees first is where a rate starts from.
async fn begin(scene: &Scene, prometheus: &Prometheus) -> Outcome<()> {
    let changed = RULES.iter().fold(scene.folder.read(TRAFFIC)?, |text, (from, to)| text.replace(from, to));
    scene.reroute(&changed).await?;
    scene.settled().await?;
    for failing in [false, true, false] {
        scene.echoes.iter().for_each(|echo| echo.fail(failing));
        scene.ask(&[]).await?;
        scene.ask(&[TESTER]).await?;
    }
    for (version, errors) in [("v1", 1), ("v2", 1)] {
        stored(prometheus, &outbound("rq_total", version, ""), FIRST).await?;
        stored(prometheus, &outbound("rq_xx", version, r#",envoy_response_code_class="5""#), errors).await?;
        stored(prometheus, &inbound(version), FIRST).await?;
        stored(prometheus, &outbound("rq_pending_overflow", version, ""), 0).await?;
    }
    stored(prometheus, "sum(envoy_cluster_upstream_rq_time_count{direction=\"outbound\"})", 2 * FIRST).await?;
    stored(prometheus, r#"sum(chancery_xds_requests_total{type="lds",outcome="nack"})"#, 0).await
}

const TESTER: (&str, &str) = ("x-user", "tester");

/// Sends requests: some that are answered, some that a breaker refuses, some that fail. Returns how long those that waited
/// for the application waited: at least, and at most.
async fn travel(scene: &Scene, prometheus: &Prometheus) -> Outcome<(Duration, Duration)> {
    Load { workers: 1, ..scene.requests(ANSWERED[0]) }.run().await?.clean()?;
    Load { workers: 1, ..scene.requests(ANSWERED[1]) }.header(TESTER.0, TESTER.1).run().await?.clean()?;
    scene.echoes[0].hold(true);
    let began = Instant::now();
    let load = Load { workers: AT_ONCE as usize, ..scene.requests(AT_ONCE) }.start();
    stored(prometheus, &outbound("rq_pending_overflow", "v1", ""), AT_ONCE - LET_IN).await?;
    // All are there from here on: none of them is new to the proxy any more.
    let all = Instant::now();
    stored(prometheus, &outbound("rq_pending_active", "v1", ""), 1).await?;
    let least = all.elapsed();
    scene.echoes[0].hold(false);
    load.finished().await?;
    let most = began.elapsed();
    scene.echoes[1].fail(true);
    Load { workers: 1, ..scene.requests(EJECTED) }.header(TESTER.0, TESTER.1).run().await?;
    let totals = [ANSWERED[0] + LET_IN, ANSWERED[1] + EJECTED].map(|count| FIRST + count);
    for (version, total) in ["v1", "v2"].into_iter().zip(totals) {
        stored(prometheus, &outbound("rq_total", version, ""), total).await?;
        stored(prometheus, &inbound(version), total).await?;
    }
    stored(prometheus, "sum(envoy_cluster_upstream_rq_time_count{direction=\"outbound\"})", totals.iter().sum())
        .await?;
    stored(prometheus, "sum(envoy_cluster_outlier_detection_ejections_active)", 1).await?;
    Ok((least, most))
}

/// Makes a manifest wrong and a proxy reject something. Returns how often it has.
async fn trouble(scene: &Scene, prometheus: &Prometheus) -> Outcome<u64> {
    let taken = TcpListener::bind(scene.outbound(0))?;
    let port = taken.local_addr()?.port().to_string();
    scene.folder.replace("trouble.yaml", &TROUBLE.replace("PORT", &port))?;
    stored(prometheus, r#"sum(chancery_problems{severity="error"})"#, ERRORS).await?;
    let nacks = async || {
        let metrics = scene.chancery.api().metrics().await.ok()?;
        let count = metrics.sum("chancery_xds_requests_total", &[("outcome", "nack")]);
        (count > 0.0).then_some(count as u64)
    };
    let count = deadline::until("a proxy rejects a listener", SOON, nacks).await?;
    stored(prometheus, r#"sum(chancery_xds_requests_total{outcome="nack"})"#, count).await?;
    drop(taken);
    Ok(count)
}

fn outbound(name: &str, version: &str, more: &str) -> String {
    format!(
        r#"sum(envoy_cluster_upstream_{name}{{direction="outbound",service_host="{HOST}",subset="{version}"{more}}})"#
    )
}

fn inbound(version: &str) -> String {
    format!(r#"sum(envoy_cluster_upstream_rq_total{{direction="inbound",pod="echo-{version}"}})"#)
}

/// Waits until Prometheus has this value, exactly.
async fn stored(prometheus: &Prometheus, expression: &str, value: u64) -> Outcome<()> {
    let what = format!("Prometheus has {value} for {expression}");
    let found = async || {
        let found = prometheus.query(expression).await.ok()?;
        (found.len() == 1 && found[0].value == value as f64).then_some(())
    };
    let outcome = deadline::until(&what, SOON, found).await;
    let now = prometheus.query(expression).await;
    outcome.map_err(|failure| failure.with(&format!("it has {now:?}")))
}

/// Labels that a row must have, and what its value may be.
type Row = (Vec<(&'static str, &'static str)>, RangeInclusive<f64>);

/// What each expression must give, by its remark.
fn expected(held: (Duration, Duration), rejected: u64, own: &Metrics) -> Outcome<Vec<(&'static str, Vec<Row>)>> {
    let subset = |name: &'static str| vec![("service_host", HOST), ("subset", name)];
    let pod = |name: &'static str| vec![("pod", name)];
    let (one, two) = (ANSWERED[0] + LET_IN, ANSWERED[1] + EJECTED);
    let refused = AT_ONCE - LET_IN;
    let slowest = bucket(own, "chancery_change_to_ack_seconds_bucket")?;
    Ok(vec![
        (
            "requests a second to each subset of each service",
            vec![(subset("v1"), rate(one, 60)), (subset("v2"), rate(two, 60))],
        ),
        (
            "errors a second, those of the proxy itself among them",
            vec![(subset("v1"), rate(refused, 60)), (subset("v2"), rate(EJECTED, 60))],
        ),
        ("who calls a service", vec![(pod("client"), rate(one + two, 60))]),
        ("requests a second into each pod", vec![(pod("echo-v1"), rate(one, 60)), (pod("echo-v2"), rate(two, 60))]),
        (
            "milliseconds within which 99 of 100 requests are answered",
            vec![(vec![("service_host", HOST)], milliseconds(held))],
        ),
        ("a breaker refuses requests", vec![([&subset("v1")[..], &pod("client")].concat(), rate(refused, 60))]),
        ("an endpoint is left out", vec![([&subset("v2")[..], &pod("client")].concat(), 1.0..=1.0)]),
        ("a proxy rejects what it is sent", vec![(vec![("type", "lds")], rate(rejected, 300))]),
        ("manifests have errors", vec![(vec![("severity", "error")], ERRORS as f64..=ERRORS as f64)]),
        ("seconds within which 99 of 100 changes are accepted", vec![(vec![], slowest)]),
    ])
}

/// What `count` in a window of so many seconds may look like: Prometheus extends what it has seen by up to 1.6 times the
/// time between two scrapes.
pub fn rate(count: u64, window: u64) -> RangeInclusive<f64> {
    let least = count as f64 / window as f64;
    0.999 * least..=(1.0 + 2.0 / SCRAPES) * least
}

/// Where times lie that Envoy counts in milliseconds, by the edges of its buckets.
fn milliseconds((least, most): (Duration, Duration)) -> RangeInclusive<f64> {
    const EDGES: [f64; 12] = [1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0];
    let [least, most] = [least, most].map(|time| time.as_secs_f64() * 1000.0);
    let low = EDGES.into_iter().rfind(|edge| *edge <= least).unwrap_or(0.0);
    low..=EDGES.into_iter().find(|edge| *edge >= most).unwrap_or(f64::INFINITY)
}

/// Where the samples of a histogram lie, by its buckets.
fn bucket(metrics: &Metrics, name: &str) -> Outcome<RangeInclusive<f64>> {
    let edge = |sample: &Sample| Some((sample.labels.get("le")?.parse::<f64>().ok()?, sample.value));
    let edges: Vec<(f64, f64)> = metrics.of(name).filter_map(edge).collect();
    let all = edges.last().map(|(_, count)| *count).filter(|count| *count > 0.0);
    let all = all.ok_or_else(|| Failure::new(format!("{name} is empty")))?;
    let low = edges.iter().rfind(|(_, count)| *count == 0.0).map_or(0.0, |(edge, _)| *edge);
    let high = edges.iter().find(|(_, count)| *count == all).map_or(f64::INFINITY, |(edge, _)| *edge);
    Ok(low..=high)
}

/// Fails unless there is one sample for each row, and no other.
fn judged(found: &[Sample], rows: &[Row]) -> Outcome<()> {
    let fits = |sample: &&Sample, (labels, value): &Row| {
        value.contains(&sample.value)
            && labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|given| given == value))
    };
    let each = rows.iter().all(|row| found.iter().filter(|sample| fits(sample, row)).count() == 1);
    if each && found.len() == rows.len() {
        return Ok(());
    }
    Err(Failure::new(format!("it must give {rows:?}, not {found:#?}")))
}

/// The control: a row too many, one too few, another label or another value is seen.
#[test]
fn a_wrong_result_is_seen() {
    let sample = |version: &str, value: f64| Sample {
        name: String::new(),
        labels: [("subset".to_owned(), version.to_owned())].into(),
        value,
    };
    let rows: Vec<Row> = vec![(vec![("subset", "v1")], rate(60, 60)), (vec![("subset", "v2")], rate(120, 60))];
    let right = [sample("v1", 1.1), sample("v2", 2.0)];
    assert!(judged(&right, &rows).is_ok());
    assert!(judged(&right[..1], &rows).is_err() && judged(&right, &rows[..1]).is_err() && judged(&[], &rows).is_err());
    assert!(judged(&[sample("v1", 2.0), sample("v2", 1.1)], &rows).is_err());
    assert!(judged(&[sample("v3", 1.1), sample("v2", 2.0)], &rows).is_err());
    assert!(judged(&right, &[]).is_err());
}

/// The control: PromQL that would not be tried is seen.
#[test]
fn a_query_outside_of_a_block_is_seen() {
    let page = |text: &str| queries(&[("page.md".to_owned(), text.to_owned())]);
    let found = page("```promql\nsum by (a) (rate(b{c=\"d\", e=\"f\"}[1m])) > 0   # one\n```\n").unwrap_or_default();
    let [one] = &found[..] else { panic!("one query is there") };
    assert_eq!(
        (one.expression.as_str(), one.remark.as_str()),
        ("sum by (a) (rate(b{c=\"d\", e=\"f\"}[1m])) > 0", "one")
    );
    assert_eq!(
        one.others(),
        ["sum by (a) (rate(b{c=\"nobody\", e=\"f\"}[1m])) > 0", "sum by (a) (rate(b{c=\"d\", e=\"nobody\"}[1m])) > 0"]
    );
    assert!(page("```\nrate(b[1m])\n```\n").is_err() && page("`chancery_problems{severity=\"error\"}`").is_err());
    assert!(page("```promql\nrate(b[1m])\n```\n").is_err(), "it has no remark");
}
