//! Each metric of security rises when its cause happens. Which there are, and which reasons, is read from the sources, so that a
//! new one fails here until somebody has seen it rise.

use crate::broken::{ending, put};
use crate::certificates::{asked, key, wanting};
use crate::secure::{DAY, Secure, asking, cart};
use crate::stage::{self, Delta, NODE_ID, Stage, until, value};
use crate::visitors::Port;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chancery::admin::guard::{Guard, Operators};
use chancery::app::security::issuers::{Issuers, Known, issuer};
use chancery::app::security::reviews::{FOR_PROXIES, Reviewer};
use chancery::app::security::signer::BySigningRequest;
use chancery::app::security::verifier::{Believed, ByTokenOrCertificate};
use chancery::ca::authority::Authority;
use chancery::ca::material::{Material, names};
use chancery::ca::request::MAX_REQUEST;
use chancery::clock::Clock;
use chancery::model::identity::Identity;
use chancery::snapshot::board::MOST_FORMS;
use chancery::snapshot::kind::Kind;
use chancery::xds::limits::Options;
use chancery::xds::session::MAX_NAMES;
use chancery::xds::trust::{Examiner, Security};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs;
use std::future::{Ready, ready};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::transport::Channel;
use tower_service::Service;

/// The sources of the metrics of security, and the metrics of others that tell of it.
const METRICS: &str = "src/telemetry/security.rs";
const BESIDE: [&str; 2] = ["chancery_xds_refusals_total", "chancery_xds_handshakes"];
/// Metrics with a label, that label, and the sources with the words that it may be.
const LABELLED: [(&str, &str, &[&str]); 4] = [
    (
        "chancery_xds_refusals_total",
        "reason",
        &[
            "src/xds/refusal.rs",
            "src/xds/connection.rs",
            "src/xds/certificate.rs",
            "src/tokens.rs",
            "src/ca/request.rs",
            "src/app/security/verifier.rs",
        ],
    ),
    ("chancery_admin_refusals_total", "reason", &["src/admin/guard.rs"]),
    ("chancery_ca_expiry_timestamp_seconds", "certificate", &["src/app/security/authority.rs"]),
    ("chancery_token_reviews_total", "result", &["src/app/security/reviews.rs"]),
];
/// What stands before such a word.
const SIGNS: [&str; 8] = [
    "=> \"",
    "reason: \"",
    ".refused(\"",
    "unknown(\"",
    ".expires(\"",
    "token_reviewed(\"",
    "{ \"",
    "disbelieved(text, \"",
];
/// Where somebody may be refused, and what stands before the word for it in any source there.
const ROOMS: [&str; 5] = ["src/xds", "src/tokens", "src/ca", "src/app/security", "src/admin"];
const SAID: [&str; 3] = ["reason: \"", ".refused(\"", "Refused::unknown(\""];
/// The word that both ports have for who is not looked at any more: where it is, and what stands before it.
const THROTTLED: (&str, &str) = ("src/xds/trust.rs", "THROTTLED: &str = \"");
/// What takes half a minute, of a clock that is moved.
const SLOW: &str = "silent";

fn now() -> u64 {
    Clock::system().now()
}

/// The words in a source, behind one of these signs.
fn words(text: &str, signs: &[&str]) -> BTreeSet<String> {
    let behind = signs.iter().flat_map(|sign| text.split(sign).skip(1));
    let words = behind.filter_map(|rest| rest.split_once('"')).map(|(word, _)| word);
    let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    words.filter(is_word).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path.as_ref())).unwrap_or_else(|_| panic!("{:?}", path.as_ref()))
}

/// All files in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|_| panic!("{folder:?}"));
    let paths = entries.map(|entry| entry.expect("a readable entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Every series that there can be.
fn all() -> BTreeSet<String> {
    let text = read(METRICS);
    let own = text.split('"').filter(|part| part.starts_with("chancery_"));
    let mut series = BTreeSet::new();
    for word in words(&read(THROTTLED.0), &[THROTTLED.1]) {
        series.extend(["admin", "xds"].map(|port| format!("chancery_{port}_refusals_total{{reason=\"{word}\"}}")));
    }
    for name in own.chain(BESIDE) {
        match LABELLED.iter().find(|(metric, ..)| *metric == name) {
            None => _ = series.insert(name.to_owned()),
            Some((_, label, sources)) => {
                let words = sources.iter().flat_map(|source| words(&read(source), &SIGNS));
                series.extend(words.map(|word| format!("{name}{{{label}=\"{word}\"}}")));
            }
        }
    }
    series
}

fn refusal(reason: &str) -> String {
    format!("chancery_xds_refusals_total{{reason=\"{reason}\"}}")
}

/// The series that were seen to rise.
#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    /// Has a cause happen, with which each of these has to rise. What is left of it is returned.
    async fn rise<T>(&mut self, stage: &Stage, series: &[&str], cause: impl Future<Output = T>) -> T {
        let before: Vec<u64> = series.iter().map(|name| value(stage, name)).collect();
        let left = cause.await;
        for (name, before) in series.iter().zip(before) {
            until(&format!("{name} rises"), || value(stage, name) > before).await;
            self.0.insert((*name).to_owned());
        }
        left
    }

    /// The same of a reason to refuse.
    async fn refused<T>(&mut self, stage: &Stage, reason: &str, cause: impl Future<Output = T>) -> T {
        self.rise(stage, &[&refusal(reason)], cause).await
    }
}

/// Opens a stream, which is kept.
async fn begin(channel: Channel, token: Option<&str>) -> Option<Delta> {
    Delta::begin(channel, token, asking(Kind::Cluster, NODE_ID, Vec::new())).await.ok()
}

/// What is shown and not believed.
async fn credentials(seen: &mut Seen) {
    let (secure, elsewhere) = (Secure::new(DAY).await, Secure::new(DAY).await);
    let (stage, issuer) = (&secure.stage, issuer(&secure.folder).expect("an issuer"));
    let issued = |audience: &str, at: u64| issuer.issue(&cart(), audience, at, DAY).expect("a token");
    let good = secure.token(&cart(), DAY);
    for (reason, token) in [
        ("token_malformed", "nonsense".to_owned()),
        ("token_too_long", "a".repeat(9000)),
        ("token_key_unknown", elsewhere.token(&cart(), DAY)),
        ("token_signature", good[..good.len() - 8].to_owned() + "AAAAAAAA"),
        ("token_expired", issued("chancery", now() - 3 * DAY.as_secs())),
        ("token_early", issued("chancery", now() + 7200)),
        ("token_audience", issued("other", now())),
    ] {
        let channel = secure.channel(None).await.expect("a connection");
        seen.refused(stage, reason, begin(channel, Some(&token))).await;
    }
    let channel = secure.channel(None).await.expect("a connection");
    seen.refused(stage, "no_credential", begin(channel, None)).await;
    let authority = Authority::new(&secure.folder.read_all().expect("an authority"), now()).expect("an authority");
    let other = authority.issue("spiffe://other.example/ns/shop/sa/cart", now(), now() + 60).expect("a certificate");
    let shown = (other.chain, String::from_utf8(other.key.expose().to_vec()).expect("text"));
    let channel = secure.channel(Some(&shown)).await.expect("a connection");
    seen.refused(stage, "certificate", begin(channel, None)).await;
    let bank = secure.token(&Identity::new("bank".into(), "cart".into()), DAY);
    let channel = secure.channel(None).await.expect("a connection");
    seen.refused(stage, "denied", begin(channel, Some(&bank))).await;
    let hostile = secure.channel_from(Ipv4Addr::new(127, 0, 0, 11)).await;
    seen.refused(stage, "throttled", async {
        while value(stage, &refusal("throttled")) == 0 {
            begin(hostile.clone(), Some("nonsense")).await;
        }
    })
    .await;
    let mut many = Vec::new();
    seen.refused(stage, "too_many_streams", async {
        while value(stage, &refusal("too_many_streams")) == 0 {
            many.push(begin(secure.channel(None).await.expect("a connection"), Some(&good)).await);
        }
    })
    .await;
    drop(many);
    until("they have ended", || value(stage, "chancery_xds_streams") == 0).await;
    let socket = seen.rise(stage, &["chancery_xds_handshakes"], TcpStream::connect(stage.address)).await;
    let mut socket = socket.expect("a connection");
    seen.refused(stage, "handshake", socket.write_all(b"GET / HTTP/1.1\r\n\r\n")).await.expect("room");
    let mut socket = secure.socket().await;
    seen.refused(stage, "protocol", socket.write_all(b"GET / HTTP/1.1\r\n\r\n and no HTTP/2")).await.expect("room");
    let brief = Secure::with(Options { admitted_within: Duration::from_millis(200), ..Options::default() }).await;
    seen.refused(&brief.stage, "idle", brief.socket()).await;
    // Whoever could come by all this without a cause has none left: the good one is let in.
    assert!(begin(secure.channel(None).await.expect("a connection"), Some(&good)).await.is_some(), "the control");
}

/// An API server that says the same of every token.
#[derive(Clone)]
struct Says(Option<Value>);

impl Service<http::Request<kube::client::Body>> for Says {
    type Response = http::Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<kube::client::Body>) -> Self::Future {
        let code = if self.0.is_some() { 201 } else { 500 };
        let status = self.0.clone().unwrap_or_default();
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": ""},
            "status": status,
        });
        let answer = http::Response::builder().status(code).body(Full::from(review.to_string()));
        ready(Ok(answer.expect("an answer")))
    }
}

/// What others say of tokens: the API server, or that somebody else issues them.
async fn others_say(seen: &mut Seen) {
    let secure = Secure::new(DAY).await;
    let (metrics, token) = (secure.stage.context.metrics.security.clone(), secure.token(&cart(), DAY));
    let reviewed = |status| {
        Believed::There(Box::new(Reviewer::new(
            Client::new(Says(status), "shop"),
            metrics.clone(),
            Clock::system(),
            FOR_PROXIES,
        )))
    };
    let issuer = issuer(&secure.folder).expect("an issuer");
    let issuers = Issuers { keys: issuer.keys(), issuer: Some("somebody else".to_owned()) };
    let known = Known { newest: watch::channel(Arc::new(issuers)).1, unknown_key: Arc::default() };
    let good = json!({"authenticated": true, "audiences": ["chancery"],
        "user": {"username": "system:serviceaccount:shop:cart"}});
    let review = |result: &str| format!("chancery_token_reviews_total{{result=\"{result}\"}}");
    for (tokens, series) in [
        (Believed::Here(known), vec![refusal("token_issuer")]),
        (reviewed(Some(good)), vec![review("accepted")]),
        (reviewed(Some(json!({"authenticated": false}))), vec![review("refused"), refusal("token_refused")]),
        (reviewed(None), vec![review("failed"), refusal("token_unreviewed")]),
    ] {
        let states = secure.states.subscribe();
        let verifier =
            Arc::new(ByTokenOrCertificate { tokens, audience: "chancery".to_owned(), states, clock: Clock::system() });
        let examiner = Examiner { verifier, mistrust: Arc::default() };
        let door = secure.door(|security| Security { examiner, ..security }).await;
        let channel = secure.channel_at(door).await;
        let series: Vec<&str> = series.iter().map(String::as_str).collect();
        seen.rise(&secure.stage, &series, begin(channel, Some(&token))).await;
    }
}

/// What is to be signed, and whether it can be.
async fn requests(seen: &mut Seen) {
    let secure = Secure::new(DAY).await;
    let ((_, csr), token) = (key(), secure.token(&cart(), DAY));
    let sign =
        async |csr: &str| asked(secure.channel(None).await.expect("a connection"), Some(&token), &wanting(csr)).await;
    let lines: String = csr.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = STANDARD.decode(lines).expect("base 64");
    *der.last_mut().expect("a request") ^= 1;
    let altered = STANDARD.encode(der);
    let altered = format!("-----BEGIN CERTIFICATE REQUEST-----\n{altered}\n-----END CERTIFICATE REQUEST-----\n");
    for (reason, csr) in [
        ("csr_malformed", "garbage"),
        ("csr_too_long", &" ".repeat(MAX_REQUEST + 1)),
        ("csr_key", include_str!("../identity/requests/rsa-1024.pem")),
        ("csr_signature", &altered),
    ] {
        seen.refused(&secure.stage, reason, sign(csr)).await.expect_err(reason);
    }
    let signed = seen.rise(&secure.stage, &["chancery_ca_certificates_signed_total"], sign(&csr)).await;
    assert!(signed.is_ok(), "the control: a good one is signed");
    let signer = Arc::new(BySigningRequest {
        authorities: watch::channel(None).1,
        states: secure.states.subscribe(),
        lasts: DAY,
        clock: Clock::system(),
        metrics: secure.stage.context.metrics.security.clone(),
    });
    let door = secure.door(|security| Security { signer, ..security }).await;
    let channel = secure.channel_at(door).await;
    let series = ["chancery_ca_signing_failures_total", &refusal("signing")];
    seen.rise(&secure.stage, &series, asked(channel, Some(&token), &wanting(&csr))).await.expect_err("no authority");
}

/// What becomes of the authority.
async fn authority(seen: &mut Seen) {
    let secure = Secure::of(ending(3600)).await;
    let expiry = |of: &str| format!("chancery_ca_expiry_timestamp_seconds{{certificate=\"{of}\"}}");
    let next = Material::self_signed(now()).expect("a root");
    let ends = [expiry("authority"), expiry("server")];
    seen.rise(&secure.stage, &[&ends[0], &ends[1]], async { put(&secure, &next) }).await;
    let removed = async { fs::remove_file(secure.folder.path().join(names::KEY)) };
    seen.rise(&secure.stage, &["chancery_ca_broken"], removed).await.expect("removed");
}

/// Who asks at the admin port.
async fn visitors(seen: &mut Seen) {
    let refused = |reason: &str| format!("chancery_admin_refusals_total{{reason=\"{reason}\"}}");
    let port = Port::guarded().await;
    let (stage, any) = (&port.secure.stage, port.token("shop", "any"));
    seen.rise(stage, &[&refused("no_credential")], port.get("/api/v1/kinds", None)).await;
    seen.rise(stage, &[&refused("denied")], port.get("/api/v1/kinds", Some(&any))).await;
    let crowd = Port::guarded().await;
    seen.rise(&crowd.secure.stage, &[&refused("throttled")], async {
        while value(&crowd.secure.stage, &refused("throttled")) == 0 {
            crowd.get("/api/v1/kinds", Some("nonsense")).await;
        }
    })
    .await;
    let shut = Port::open(|_| Guard::Asking { examiner: None, operators: Operators::new() }).await;
    seen.rise(&shut.secure.stage, &[&refused("no_verifier")], shut.get("/api/v1/kinds", Some(&any))).await;
}

/// Streams that keep to no rules, or come when they can't be taken.
async fn streams(seen: &mut Seen) {
    let stage = Stage::new().await;
    stage.post(&[("a", b"1")], None);
    let mut good = Delta::open(&stage).await.expect("a stream");
    stage.place().await;
    good.next().await.expect("the control: somebody is served");
    let first = || asking(Kind::Cluster, NODE_ID, Vec::new());
    let long = vec!["x".repeat(1 << 20)];
    let many = (0..=MAX_NAMES).map(|number| number.to_string()).collect();
    for (reason, request) in [
        ("no_node", DeltaDiscoveryRequest { node: None, ..first() }),
        ("no_type", DeltaDiscoveryRequest { type_url: String::new(), ..first() }),
        ("identity", DeltaDiscoveryRequest { node: Some(stage::node("anybody")), ..first() }),
        ("name_too_long", asking(Kind::Endpoint, NODE_ID, long)),
        ("too_many_names", asking(Kind::Endpoint, NODE_ID, many)),
        ("too_large", asking(Kind::Endpoint, NODE_ID, vec!["x".repeat(17 << 20)])),
    ] {
        let channel = stage.channel().await;
        seen.refused(&stage, reason, Delta::begin(channel, None, request)).await.ok();
    }
    let mut forms = Vec::new();
    for last in 1..=MOST_FORMS {
        // Each says something else of one Pod; the one that is served says one thing more.
        let node = Some(stage::bound(NODE_ID, &format!("127.0.1.{last}")));
        let begin = Delta::begin(stage.channel().await, None, DeltaDiscoveryRequest { node, ..first() });
        match last {
            MOST_FORMS => drop(seen.refused(&stage, "crowded", begin).await),
            _ => forms.push(begin.await),
        }
    }
    let channel = stage.channel().await;
    seen.refused(&stage, "garbage", stage::raw(channel, b"garbage")).await;
    stage.context.admission.shut(true);
    seen.refused(&stage, "memory", Delta::open(&stage)).await.err().expect("a refusal");
    stage.context.admission.shut(false);
    let token = stage.context.readiness.block("a first load");
    seen.refused(&stage, "not_ready", Delta::open(&stage)).await.err().expect("a refusal");
    drop(token);
    seen.refused(&stage, "shutdown", async { stage.shutdown.cancel() }).await;
    let impatient = Stage::with(Options { pod_wait: Duration::from_millis(50), ..Options::default() }).await;
    seen.refused(&impatient, "unknown_proxy", Delta::open(&impatient)).await.ok();
}

/// Whatever there is to be counted has a cause here, and rises with it.
#[tokio::test(flavor = "multi_thread")]
async fn each_metric_of_security_rises_with_its_cause() {
    let mut seen = Seen::default();
    credentials(&mut seen).await;
    others_say(&mut seen).await;
    requests(&mut seen).await;
    authority(&mut seen).await;
    visitors(&mut seen).await;
    streams(&mut seen).await;
    let mut all = all();
    assert!(all.remove(&refusal(SLOW)), "it has a test of its own");
    let nobody: Vec<_> = all.difference(&seen.0).collect();
    assert!(nobody.is_empty(), "nobody has seen these rise: {nobody:#?}");
    let strange: Vec<_> = seen.0.difference(&all).collect();
    assert!(strange.is_empty(), "the sources have none of these: {strange:#?}");
}

/// Somebody who opens a stream and says nothing.
async fn silent(mut channel: Channel) {
    const METHOD: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let nothing = tokio_stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
    let request = http::Request::post(METHOD).header("content-type", "application/grpc");
    let request = request.body(Body::new(StreamBody::new(nothing))).expect("a request");
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
    let response = channel.call(request).await.expect("an answer");
    tokio::time::pause();
    response.into_body().collect().await.expect("an end");
}

/// It takes half a minute, so the clock is moved.
#[tokio::test]
async fn silence_is_counted() {
    let day = Duration::from_secs(24 * 3600);
    let stage = Stage::with(Options { keepalive_interval: day, max_age: day, ..Options::default() }).await;
    let channel = stage.channel().await;
    let mut seen = Seen::default();
    seen.refused(&stage, SLOW, silent(channel)).await;
    assert!(all().is_superset(&seen.0));
}

/// A word that is said in another source than those that are read would be missed.
#[test]
fn no_source_is_overlooked() {
    let known: BTreeSet<String> =
        LABELLED.iter().flat_map(|(.., sources)| *sources).flat_map(|source| words(&read(source), &SIGNS)).collect();
    let mut said = 0;
    for path in ROOMS.iter().flat_map(|room| files(&root().join(room))) {
        let words = words(&read(&path), &SAID);
        said += words.len();
        let strange: Vec<_> = words.difference(&known).collect();
        assert!(strange.is_empty(), "{path:?} is not read, and says {strange:?}");
    }
    assert!(said > 6, "the control: something is said, {said} times");
}

/// The control: a new word is one of those that somebody has to see.
#[test]
fn a_new_reason_is_not_overlooked() {
    let old = "            Refusal::NoNode => \"no_node\",\n";
    let new = words(&(old.to_owned() + "            Refusal::Dull => \"dull\",\n"), &SIGNS);
    assert_eq!(new.difference(&words(old, &SIGNS)).collect::<Vec<_>>(), ["dull"]);
    assert_eq!(
        words("Distrusted { text, reason: \"odd\", judged: true }; #[error(\"no word\")]", &SIGNS),
        ["odd".to_owned()].into()
    );
    let all: BTreeMap<&str, usize> = LABELLED
        .iter()
        .map(|(metric, ..)| (*metric, all().iter().filter(|series| series.starts_with(metric)).count()))
        .collect();
    assert!(all.values().all(|words| *words > 1), "{all:?}");
}
