//! The PromQL of mutual TLS, that of the pages and that of the dashboards, put to a real Prometheus that scrapes real Envoys: some
//! are let in, others are refused, each for a reason of its own. What must come out is what the Envoys have counted themselves.

use crate::harness::authority::{Authority, Certificate, issued};
use crate::harness::caller::Caller;
use crate::harness::client::Client;
use crate::harness::envoy::Setup;
use crate::harness::metrics::Sample;
use crate::harness::monitoring;
use crate::harness::prometheus::Prometheus;
use crate::harness::scene::{NAMESPACE, SOON, Scene};
use crate::harness::{Failure, Outcome, deadline};
use crate::identity::authenticated;
use crate::queries::{queries, rate, targets};
use crate::{on, pages};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a listener counts of who is refused, and how many are: no two alike, so that none can stand for another.
const REFUSED: [(&str, u64); 5] = [
    ("envoy_listener_ssl_fail_verify_no_cert", 2),
    ("envoy_listener_ssl_fail_verify_san", 3),
    ("envoy_listener_ssl_fail_verify_error", 4),
    ("envoy_listener_ssl_connection_error", 5),
    ("envoy_listener_no_filter_chain_match", 6),
];
/// What is asked, by hand.
const HTTP: &str = "GET / HTTP/1.1\r\nhost: echo\r\n\r\n";
/// What proxies of the mesh say in ALPN.
const OURS: &[&str] = &["istio-http/1.1", "istio", "http/1.1"];
/// Requests through the mesh, and those to who understands no TLS.
const ANSWERED: u64 = 60;
const LOST: u64 = 7;

/// Whether an expression, or a metric, is about mutual TLS.
pub fn is_of_mutual_tls(text: &str) -> bool {
    text.contains("_ssl_") || text.contains("no_filter_chain_match")
}

/// A metric and all labels, the pod among them.
type Series = (String, BTreeMap<String, String>);
/// What proxies have counted of mutual TLS.
type Counts = BTreeMap<Series, u64>;

/// Each expression gives what was counted, as a rate: for who is let in, and for each reason not to be. The control: before
/// anybody was refused, those that ask for refusals give nothing.
pub async fn the_queries_of_mutual_tls_are_right(setup: Setup) -> Outcome<()> {
    let expressions = expressions()?;
    on(Scene::secured().await?, async |scene| {
        authenticated(scene, Setup { prompt: true, ..setup }, "1h").await?;
        let account = format!("spiffe://cluster.local/ns/{NAMESPACE}/sa/");
        let deaf = called("deaf", scene.echoes[0].http, &format!("{account}default"));
        let misnamed = called("misnamed", scene.pod(2), &format!("{account}other"));
        scene.folder.replace("called.yaml", &(deaf + "---\n" + &misnamed))?;
        scene.settled().await?;
        a_client_that_believes_nobody_is_counted_by_the_server(scene).await?;
        fails(scene, "deaf").await?;
        let prometheus = Prometheus::start(scene.subnet.free(1)?, &targets(scene), scene.files.path()).await?;
        let outcome = asked(scene, &prometheus, &expressions).await;
        outcome.map_err(|failure| failure.with(&prometheus.tail()))
    })
    .await
}

/// A client's proxy that doesn't find the name that a rule demands counts nothing of the kind, as the page says, and the server's
/// does.
async fn a_client_that_believes_nobody_is_counted_by_the_server(scene: &Scene) -> Outcome<()> {
    let failed = format!("listener.{}_8080;.ssl.connection_error", scene.pod(2).ip());
    let before = scene.envoys[1].stat(&failed).await?.unwrap_or_default();
    fails(scene, "misnamed").await?;
    let rises = async || (scene.envoys[1].stat(&failed).await.ok()?? > before).then_some(());
    deadline::until("the server counts it", SOON, rises).await?;
    for name in ["handshake", "connection_error"] {
        let name = format!("cluster.outbound|8080||misnamed.{NAMESPACE}.svc.cluster.local;.ssl.{name}");
        match scene.client().stat(&name).await? {
            Some(0) => {}
            other => return Err(Failure::new(format!("{name} is {other:?}"))),
        }
    }
    Ok(())
}

/// Where an expression stands, and what it is: first those of the dashboards, whose windows are shorter.
fn expressions() -> Outcome<Vec<(String, String)>> {
    let boards = monitoring::expressions()?.into_iter().map(|expression| (expression.place, expression.text));
    let pages = queries(&pages::documents())?.into_iter().map(|query| (query.page, query.expression));
    let all: Vec<_> = boards.chain(pages).filter(|(_, text)| is_of_mutual_tls(text)).collect();
    let page = pages::page("docs/reference/metrics.md");
    let code = page.split('`').skip(1).step_by(2);
    let documented: BTreeSet<&str> = code.filter(|code| code.starts_with("envoy_") && is_of_mutual_tls(code)).collect();
    if documented.len() != REFUSED.len() + 3 {
        return Err(Failure::new(format!("the page has other metrics than this test knows: {documented:?}")));
    }
    for metric in documented {
        let places = all.iter().filter(|(_, text)| text.contains(metric));
        let places: Vec<_> = places.map(|(place, _)| place.ends_with(".md")).collect();
        if !places.contains(&true) || !places.contains(&false) {
            return Err(Failure::new(format!("{metric} is in no query of a page, or on no dashboard")));
        }
    }
    Ok(all)
}

async fn asked(scene: &Scene, prometheus: &Prometheus, expressions: &[(String, String)]) -> Outcome<()> {
    for (place, text) in expressions.iter().filter(|(_, text)| text.contains("> 0")) {
        let found = prometheus.query(text).await?;
        if !found.is_empty() {
            return Err(Failure::new(format!("the control: {place}: {text} gives {found:?} before anything happens")));
        }
    }
    let before = counted(scene).await?;
    happen(scene).await?;
    let grown = grown(&before, &counted(scene).await?);
    for (metric, count) in REFUSED {
        let seen: u64 = grown.iter().filter(|((name, _), _)| name == metric).map(|(_, count)| count).sum();
        if seen != count {
            return Err(Failure::new(format!("{metric} has grown by {seen}, and not by {count}: {grown:#?}")));
        }
    }
    for (place, text) in expressions {
        gives(prometheus, text, &grown).await.map_err(|failure| Failure::new(place).with(&failure.0))?;
    }
    Ok(())
}

/// What the proxies have counted.
async fn counted(scene: &Scene) -> Outcome<Counts> {
    let mut counts = Counts::new();
    for (envoy, target) in scene.envoys.iter().zip(targets(scene)) {
        for Sample { name, mut labels, value } in envoy.scrape().await?.0 {
            labels.insert("pod".to_owned(), target.pod.clone());
            if is_of_mutual_tls(&name) {
                counts.insert((name, labels), value as u64);
            }
        }
    }
    Ok(counts)
}

fn grown(before: &Counts, after: &Counts) -> Counts {
    let since = |series: &Series, count: u64| count - before.get(series).copied().unwrap_or_default();
    after.iter().map(|(series, count)| (series.clone(), since(series, *count))).collect()
}

/// Requests go through the mesh; who should not be served is refused, so and so often; and a server understands no TLS.
async fn happen(scene: &Scene) -> Outcome<()> {
    scene.requests(ANSWERED).run().await?.clean()?;
    let (name, elsewhere) = ("spiffe://cluster.local/ns/first-light/sa/default", "spiffe://other.example/ns/a/sa/b");
    let identity = scene.chancery.identity();
    let (good, foreign) = (issued(&identity, name)?, issued(&identity, elsewhere)?);
    let (address, unknown) = (scene.pod(2), Authority::new()?);
    if !is_served(address, Some((Some(&good), OURS))).await? {
        return Err(Failure::new("the control: who shows a good certificate is not served"));
    }
    let stranger = unknown.issue(name)?;
    let [nobody, other, unvouched, distrusting, plain] = REFUSED.map(|(_, count)| count);
    for (count, tls) in [
        (nobody, Some((None, OURS))),
        (other, Some((Some(&foreign), OURS))),
        (unvouched, Some((Some(&stranger), OURS))),
        (plain, None),
    ] {
        for _ in 0..count {
            if is_served(address, tls).await? {
                return Err(Failure::new("somebody was served who should not be"));
            }
        }
    }
    for _ in 0..distrusting {
        distrusts(address, &unknown).await?;
    }
    for _ in 0..LOST {
        asked_of(scene, "deaf").await?;
    }
    Ok(())
}

/// Whether somebody by hand is, who shows that, or speaks plain text.
async fn is_served(address: SocketAddr, tls: Option<(Option<&Certificate>, &[&str])>) -> Outcome<bool> {
    Ok(Caller { says: HTTP, tls }.call(address).await?.is_some_and(|text| text.contains(" 200 ")))
}

/// Somebody who believes another authority, and ends the handshake because of that.
async fn distrusts(address: SocketAddr, authority: &Authority) -> Outcome<()> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.certificate.as_bytes());
    roots.add(root.map_err(|error| Failure::new(error.to_string()))?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    match TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("any.example")?, stream).await {
        Ok(_) => Err(Failure::new("a server of the mesh is believed by who knows nothing of it")),
        Err(_) => Ok(()),
    }
}

/// What is answered for a host: the status, and the words.
async fn asked_of(scene: &Scene, host: &str) -> Outcome<(u16, String)> {
    let answer = Client::default().get(scene.http(), "/", &[("host", host)]).await?;
    Ok((answer.status.as_u16(), String::from_utf8_lossy(&answer.body).into_owned()))
}

/// Waits until requests for a host fail, as nobody else but its proxy could say.
async fn fails(scene: &Scene, host: &str) -> Outcome<()> {
    let (mut last, what) = (None, format!("requests for {host} fail"));
    let failed = deadline::until(&what, SOON, async || {
        let answer = last.insert(asked_of(scene, host).await.ok()?);
        (answer.0 == 503 && answer.1.starts_with("upstream connect error")).then_some(())
    });
    let failed = failed.await;
    failed.map_err(|failure| failure.with(&format!("the last answer: {last:?}")))
}

/// A Service whose one server is called with mutual TLS and has to be somebody.
fn called(host: &str, at: SocketAddr, who: &str) -> String {
    let (ip, port) = (at.ip(), at.port());
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {host}, namespace: {NAMESPACE}}}
spec: {{ports: [{{name: http, port: 8080, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {host}-1, namespace: {NAMESPACE}, labels: {{kubernetes.io/service-name: {host}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}, protocol: TCP}}]
endpoints: [{{addresses: [{ip}], conditions: {{ready: true}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host}, namespace: {NAMESPACE}}}
spec:
  host: {host}
  trafficPolicy:
    tls: {{mode: ISTIO_MUTUAL, subjectAltNames: [\"{who}\"]}}
"
    )
}

/// Waits until an expression gives what has grown, a second, by the first label that it sums by: a row for each value, of which
/// one at least says that something happened.
async fn gives(prometheus: &Prometheus, text: &str, grown: &Counts) -> Outcome<()> {
    let (label, window) = (label(text), window(text)?);
    let names = prometheus.selectors(text).await?.into_iter().map(|selector| selector.name);
    let expected = rows(text, (label, &names.collect::<Vec<_>>()), grown);
    if !expected.values().any(|count| *count > 0) {
        return Err(Failure::new(format!("nothing happened that it is about: {text}")));
    }
    let mut found = BTreeMap::new();
    let right = deadline::until(text, SOON, async || {
        let samples = prometheus.query(text).await.ok()?;
        let value = |sample: &Sample| label.and_then(|label| sample.labels.get(label).cloned()).unwrap_or_default();
        found = samples.iter().map(|sample| (value(sample), sample.value)).collect();
        let fits = |(value, count): (&String, &u64)| {
            found.get(value).is_some_and(|found: &f64| rate(*count, window).contains(found))
        };
        (samples.len() == expected.len() && expected.iter().all(fits)).then_some(())
    });
    let right = right.await;
    right.map_err(|failure| failure.with(&format!("it gives {found:?}, {expected:?} in {window} s were counted")))
}

/// The first label that an expression sums by.
fn label(text: &str) -> Option<&str> {
    text.split_once("sum by (").and_then(|(_, rest)| rest.split([',', ')']).next())
}

/// How many seconds it looks back.
fn window(text: &str) -> Outcome<u64> {
    let length = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(length, _)| length);
    let seconds = match length.and_then(|length| length.split_at_checked(length.len() - 1)) {
        Some((number, "s")) => number.parse().ok(),
        Some((number, "m")) => number.parse::<u64>().ok().map(|minutes| 60 * minutes),
        _ => None,
    };
    seconds.ok_or_else(|| Failure::new(format!("over which time is this: {text}")))
}

/// What has grown of the metrics of an expression, by the values of the label.
fn rows(text: &str, (label, metrics): (Option<&str>, &[String]), grown: &Counts) -> BTreeMap<String, u64> {
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for ((name, labels), count) in grown {
        let outbound = labels.get("direction").is_some_and(|direction| direction == "outbound");
        if metrics.contains(name) && (outbound || !text.contains("direction=\"outbound\"")) {
            *rows.entry(label.and_then(|label| labels.get(label).cloned()).unwrap_or_default()).or_default() += count;
        }
    }
    rows.retain(|_, count| *count > 0 || !text.contains("> 0"));
    rows
}

/// The control: rows are told apart by the label, zeros are left out where they are asked to be, and other metrics count for
/// nothing.
#[test]
fn what_is_expected_follows_from_the_expression() {
    let series = |name: &str, labels: &[(&str, &str)]| {
        (name.to_owned(), labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    };
    let grown = Counts::from([
        (series("a_ssl_b", &[("pod", "one"), ("x", "1")]), 2),
        (series("a_ssl_b", &[("pod", "one"), ("x", "2")]), 3),
        (series("a_ssl_b", &[("pod", "two"), ("direction", "outbound")]), 0),
        (series("a_ssl_c", &[("pod", "one")]), 7),
    ]);
    let rows = |text: &str| rows(text, (label(text), &["a_ssl_b".to_owned()]), &grown).into_iter().collect::<Vec<_>>();
    let row = |value: &str, count: u64| (value.to_owned(), count);
    assert_eq!(rows("sum by (pod, x) (rate(a_ssl_b[1m]))"), [row("one", 5), row("two", 0)]);
    assert_eq!(rows("sum by (pod) (rate(a_ssl_b[1m])) > 0"), [row("one", 5)]);
    assert_eq!(rows("sum(rate(a_ssl_b{direction=\"outbound\"}[1m]))"), [row("", 0)]);
    assert_eq!(
        (window("rate(a[30s])").ok(), window("rate(a[5m])").ok(), window("a").ok()),
        (Some(30), Some(300), None)
    );
}
