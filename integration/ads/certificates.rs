//! `CreateCertificate`, as an Istio agent calls it: a key of one's own is signed for who one is, and what is signed opens the
//! door.

use crate::secure::{DAY, Secure, asking, cart, cart_pod, names_in, now, pair_in};
use crate::stage::{Delta, NODE_ID, PATIENCE, until};
use bytes::Bytes;
use chancery::ca::peer;
use chancery::ca::request::RequestError;
use chancery::model::identity::Identity;
use chancery::snapshot::kind::Kind;
use chancery::xds::certificate::{CREATE, CertificateRequest};
use chancery::xds::refusal::Refusal;
use chancery::xds::trust::Distrusted;
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use http_body_util::{BodyExt, Full, StreamBody};
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::convert::Infallible;
use std::time::Duration;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tower_service::Service;

/// `IstioCertificateResponse`.
#[derive(Clone, PartialEq, Message)]
struct CertificateResponse {
    #[prost(string, repeated, tag = "1")]
    cert_chain: Vec<String>,
}

/// A key, and a request for it that asks for the name of somebody else.
pub fn key() -> (KeyPair, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["bank.example".to_owned()]).expect("a name");
    let request = params.serialize_request(&key).expect("a request").pem().expect("PEM");
    (key, request)
}

pub fn wanting(csr: &str) -> CertificateRequest {
    CertificateRequest { csr: csr.to_owned(), validity_duration: 0, metadata: None }
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a small message").to_be_bytes();
    [&[0], length.as_slice(), message].concat().into()
}

/// Calls; what is answered.
async fn call(mut channel: Channel, token: Option<&str>, body: Body) -> Result<Vec<String>, Status> {
    let mut request = http::Request::post(CREATE).header("content-type", "application/grpc");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
    let answered = tokio::time::timeout(PATIENCE, channel.call(request.body(body).expect("a request"))).await;
    let response = answered.expect("an answer in time").expect("an answer");
    let at_once = Status::from_header_map(response.headers());
    let whole = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect("an end in time");
    let whole = whole.expect("a whole body");
    let status = at_once.or_else(|| Status::from_header_map(whole.trailers()?)).expect("a status");
    match status.code() {
        Code::Ok => Ok(CertificateResponse::decode(&whole.to_bytes()[5..]).expect("a response").cert_chain),
        _ => Err(status),
    }
}

pub async fn asked(channel: Channel, token: Option<&str>, request: &CertificateRequest) -> Result<Vec<String>, Status> {
    call(channel, token, Body::new(Full::new(framed(&request.encode_to_vec())))).await
}

/// When a certificate ends, in seconds since 1970.
fn ends(pem: &str) -> u64 {
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    peer::read(&certificate).expect("one URI").until
}

/// The same, in seconds from now.
fn lasts(pem: &str) -> u64 {
    ends(pem) - now()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_signed_for_who_calls_and_opens_the_door() {
    let secure = Secure::new(DAY).await;
    let ((key, csr), token) = (key(), secure.token(&cart(), DAY));
    let channel = secure.channel(None).await.expect("a connection");
    let chain = asked(channel, Some(&token), &wanting(&csr)).await.expect("a certificate");
    assert_eq!(chain.len(), 2, "itself, and the root");
    let certificate = CertificateDer::from_pem_slice(chain[0].as_bytes()).expect("a certificate");
    assert_eq!(peer::read(&certificate).expect("one URI").uri, "spiffe://cluster.local/ns/shop/sa/cart");

    // By it a stream is opened.
    let channel = secure.channel(Some(&(chain[0].clone(), key.serialize_pem()))).await.expect("a connection");
    let first = asking(Kind::Secret, NODE_ID, vec!["ROOTCA".into()]);
    let mut stream = Delta::begin(channel.clone(), None, first).await.expect("a stream");
    until("it joins", || secure.stage.board().seated() == 1).await;
    secure.place(&Identity::new("shop".into(), "cart".into())).await;
    assert_eq!(names_in(&stream.next().await.expect("secrets")), ["ROOTCA"]);
}

/// Who has a certificate gets no other one by it that lasts longer, whichever way; who shows a token does, also beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_gets_nobody_another_one() {
    const HOUR: u64 = 3600;
    let secure = Secure::new(DAY).await;
    let ((key, csr), token) = (key(), secure.token(&cart(), DAY));
    let channel = secure.channel(None).await.expect("a connection");
    let brief = CertificateRequest { validity_duration: HOUR as i64, ..wanting(&csr) };
    let chain = asked(channel, Some(&token), &brief).await.expect("a certificate");
    let shown = (chain[0].clone(), key.serialize_pem());
    let refused = asked(secure.channel(Some(&shown)).await.expect("a connection"), None, &wanting(&csr)).await;
    let refused = refused.expect_err("nothing is signed");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("for who shows a token"), "{refused}");
    let again = asked(secure.channel(Some(&shown)).await.expect("a connection"), Some(&token), &wanting(&csr)).await;
    let again = again.expect("the control: with a token it is signed");
    assert!(lasts(&again[0]) > 2 * HOUR, "{}", lasts(&again[0]));

    // What a stream is given that it has opened ends with it.
    let given = async |shown: Option<&(String, String)>, token: Option<&str>, who: Identity| {
        let channel = secure.channel(shown).await.expect("a connection");
        let first = asking(Kind::Secret, NODE_ID, vec!["default".into()]);
        let mut stream = Delta::begin(channel, token, first).await.expect("a stream");
        until("it joins", || secure.stage.board().seated() == 1).await;
        secure.place(&who).await;
        pair_in(&stream.next().await.expect("a certificate")).0
    };
    let by_certificate = given(Some(&shown), None, Identity::new("shop".into(), "cart".into())).await;
    assert_eq!(ends(&by_certificate), ends(&chain[0]));
    until("it has left", || secure.stage.board().seated() == 0).await;
    let by_token = given(None, Some(&token), cart()).await;
    assert!(ends(&by_token) > ends(&chain[0]) + HOUR, "the control: by a token it is one that lasts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_lasts_as_long_as_is_asked_for_within_bounds() {
    let secure = Secure::new(DAY).await;
    let token = secure.token(&cart(), DAY);
    let lasting = async |seconds| {
        let channel = secure.channel(None).await.expect("a connection");
        let request = CertificateRequest { validity_duration: seconds, ..wanting(&key().1) };
        lasts(&asked(channel, Some(&token), &request).await.expect("a certificate")[0])
    };
    let day = DAY.as_secs();
    // A few seconds may have passed.
    for (wanted, given) in [(0, day), (-7, day), (i64::MAX, day), (3600, 3600), (1, 60)] {
        let lasts = lasting(wanted).await;
        assert!((given - 20..=given + 1).contains(&lasts), "{wanted}: {lasts}, not {given}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_nothing_is_refused_before_anything_is_read() {
    let secure = Secure::new(DAY).await;
    let token = secure.token(&cart(), DAY);
    for shown in [None, Some("nonsense")] {
        let channel = secure.channel(None).await.expect("a connection");
        // A body of which nothing ever comes.
        let nothing = tokio_stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>();
        let status = call(channel, shown, Body::new(StreamBody::new(nothing))).await.expect_err("a refusal");
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    let channel = secure.channel(None).await.expect("a connection");
    let garbage = Body::new(Full::new(framed(b"\xff\xff")));
    let status = call(channel, Some(&token), garbage).await.expect_err("a refusal");
    assert_eq!(status.code(), Code::InvalidArgument, "the control: with a token it is read, and is {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_is_refused_with_a_reason_and_counted() {
    let secure = Secure::new(DAY).await;
    let token = secure.token(&cart(), DAY);
    let refused = async |request: &CertificateRequest| {
        let channel = secure.channel(None).await.expect("a connection");
        asked(channel, Some(&token), request).await.expect_err("a refusal")
    };
    let small = include_str!("../identity/requests/rsa-1024.pem");
    let large = "x".repeat(100 * 1024);
    for (csr, reason) in [("garbage", "csr_malformed"), (small, "csr_key"), (&large, "csr_too_long")] {
        let status = refused(&wanting(csr)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(!status.message().is_empty() && !status.message().contains(csr), "{status}");
        let counted = format!("chancery_xds_refusals_total{{reason=\"{reason}\"}} 1");
        until(reason, || secure.stage.metrics().contains(&counted)).await;
    }
    let admin = Value { kind: Some(ValueKind::StringValue("spiffe://cluster.local/ns/bank/sa/admin".into())) };
    let fields = [("ImpersonatedIdentity".to_owned(), admin)].into_iter().collect();
    let status = refused(&CertificateRequest { metadata: Some(Struct { fields }), ..wanting(&key().1) }).await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_for_a_pod_that_is_not_known() {
    let secure = Secure::impatient(DAY).await;
    let csr = key().1;
    let asked_by = async |identity: &Identity| {
        let channel = secure.channel(None).await.expect("a connection");
        asked(channel, Some(&secure.token(identity, DAY)), &wanting(&csr)).await
    };
    let unbound = Identity::new("shop".into(), "cart".into());
    assert!(asked_by(&cart()).await.is_ok(), "the control: a certificate");
    assert!(asked_by(&unbound).await.is_ok(), "there is a Pod of that service account");
    for other in [Identity::new("shop".into(), "bank".into()), Identity::new("bank".into(), "cart".into())] {
        let status = asked_by(&other).await.expect_err("a refusal");
        assert_eq!(status.code(), Code::Unavailable, "{status}");
    }
    let (pod, _) = cart_pod();
    secure.change((pod, None));
    for identity in [cart(), unbound] {
        let status = asked_by(&identity).await.expect_err("a refusal");
        assert!(status.message().contains("no Pod of service account shop/cart"), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_comes_late_is_waited_for() {
    let secure = Secure::new(DAY).await;
    let (pod, _) = cart_pod();
    secure.change((pod, None));
    let (csr, token) = (key().1, secure.token(&cart(), DAY));
    let channel = secure.channel(None).await.expect("a connection");
    let request = wanting(&csr);
    let mut waiting = std::pin::pin!(asked(channel, Some(&token), &request));
    let early = tokio::time::timeout(Duration::from_millis(300), waiting.as_mut()).await;
    assert!(early.is_err(), "it waits");
    secure.change(cart_pod());
    assert_eq!(waiting.await.expect("a certificate").len(), 2);
}

/// The page says with which code each is refused, and how it is counted.
#[test]
fn codes_and_reasons_are_those_of_the_page() {
    let names = [
        (Code::Unauthenticated, "UNAUTHENTICATED"),
        (Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
        (Code::PermissionDenied, "PERMISSION_DENIED"),
        (Code::InvalidArgument, "INVALID_ARGUMENT"),
        (Code::Internal, "INTERNAL"),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (Code::Unavailable, "UNAVAILABLE"),
    ];
    let requests = [
        RequestError::TooLong,
        RequestError::Malformed,
        RequestError::UnknownKey,
        RequestError::Size(1),
        RequestError::UnknownSignature,
        RequestError::Signature,
    ];
    let unsigned = requests.map(|error| Refusal::Unsigned { text: String::new(), reason: error.reason() });
    let distrusted = ["certificate", "no_credential"]
        .map(|reason| Refusal::Distrusted(Distrusted { text: String::new(), reason, aside: None, judged: true }));
    let others = [
        Refusal::Throttled,
        Refusal::Denied(String::new()),
        Refusal::Garbage(String::new()),
        Refusal::Silent(Duration::ZERO),
        Refusal::Unknown(String::new()),
        Refusal::Unable(String::new()),
        Refusal::NotReady(String::new()),
        Refusal::Short,
        Refusal::ShuttingDown,
    ];
    let is_said = |page: &str, refusal: &Refusal| {
        let (_, name) = names.iter().find(|(code, _)| *code == refusal.code()).expect("a code of the table");
        let rows = page.lines().filter(|row| row.starts_with(&format!("| `{name}` |")));
        rows.into_iter().any(|row| row.contains(&format!("`{}`", refusal.reason())))
    };
    let page = include_str!("../../docs/reference/identity.md");
    for refusal in unsigned.iter().chain(&distrusted).chain(&others) {
        assert!(is_said(page, refusal), "{:?} with {:?}", refusal.reason(), refusal.code());
        let without = page.replace(&format!("`{}`", refusal.reason()), "");
        assert!(!is_said(&without, refusal), "the control: {:?}", refusal.reason());
    }
}

/// The numbers of the fields in `proto/certificate.proto` are those that are read.
#[test]
fn the_messages_are_as_they_are_written_down() {
    let written = include_str!("../../proto/certificate.proto");
    let fields = [
        "string csr = 1;",
        "int64 validity_duration = 3;",
        "google.protobuf.Struct metadata = 4;",
        "repeated string cert_chain = 1;",
    ];
    assert!(fields.iter().all(|field| written.contains(field)));
    let metadata = Some(Struct::default());
    let request = CertificateRequest { csr: "a".into(), validity_duration: 5, metadata };
    assert_eq!(request.encode_to_vec(), [1 << 3 | 2, 1, b'a', 3 << 3, 5, 4 << 3 | 2, 0]);
}

/// A token that has just ended is believed for a little while, because clocks differ, and a certificate would last a day. The
/// control: one that is about to end gets one.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_for_a_token_that_is_over() {
    let secure = Secure::new(DAY).await;
    let (_, csr) = key();
    let ends_in = |seconds: i64| {
        let ago = Duration::from_secs(3600);
        secure.token_of_then(&cart(), ago, Duration::from_secs(3600_u64.saturating_add_signed(seconds)))
    };
    let signed = async |token: &str| {
        let channel = secure.channel(None).await.expect("a connection");
        asked(channel, Some(token), &wanting(&csr)).await
    };
    let refused = signed(&ends_in(-20)).await.expect_err("nothing is signed");
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert!(refused.message().contains("the time of the token is over"), "{refused}");
    assert!(signed(&ends_in(30)).await.is_ok(), "the control");
}
