//! Tokens about which the API server is asked: `--token-review`.

use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{Code, Status};

/// The call by which agents have keys signed: what it is answered first is whether the token is good.
const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";
/// A body that is none: who is believed is told so.
const NOTHING: &[u8] = &[0, 0, 0, 0, 0];

/// Somebody who connects to chancery and shows a token.
#[derive(Clone)]
pub struct Caller {
    address: SocketAddr,
    tls: TlsConnector,
}

impl Caller {
    /// One who trusts the roots of now.
    pub async fn new(cluster: &Cluster, stage: &Stage) -> Outcome<Self> {
        let path = "jsonpath={.data.root-cert\\.pem}";
        let secret = cluster.kubectl(&["get", "secret", "chancery-ca", "-n", &stage.namespace, "-o", path]).await?;
        let mut roots = RootCertStore::empty();
        let pem = BASE64_STANDARD.decode(secret)?;
        roots.add(CertificateDer::from_pem_slice(&pem).map_err(|error| Failure::new(error.to_string()))?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { address: stage.chancery.xds, tls: Arc::new(config).into() })
    }

    /// Connects anew and calls; what is said.
    async fn calls(&self, token: &str) -> Outcome<Status> {
        let socket = TcpStream::connect(self.address).await?;
        let stream = self.tls.connect(ServerName::try_from("chancery").expect("a name"), socket).await?;
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let driven = tokio::spawn(connection);
        let request = http::Request::post(format!("https://chancery{CREATE}"))
            .header("content-type", "application/grpc")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(Bytes::from_static(NOTHING)))?;
        let response = sender.send_request(request).await?;
        let at_once = Status::from_header_map(response.headers());
        let body = response.into_body().collect().await?;
        driven.abort();
        let status = at_once.or_else(|| Status::from_header_map(body.trailers()?));
        status.ok_or_else(|| Failure::new("there is no status"))
    }

    /// Fails unless a token is believed.
    pub async fn is_believed(&self, token: &str) -> Outcome<()> {
        let status = self.calls(token).await?;
        // What is to be signed is looked at, and is nothing.
        if status.code() == Code::InvalidArgument { Ok(()) } else { Err(Failure::new(format!("it is not: {status}"))) }
    }

    /// Fails unless a token is not believed, with these words.
    pub async fn is_refused(&self, token: &str, words: &str) -> Outcome<()> {
        let status = self.calls(token).await?;
        let refused = status.code() == Code::Unauthenticated && status.message().contains(words);
        if refused { Ok(()) } else { Err(Failure::new(format!("not refused with {words:?}: {status}"))) }
    }
}

/// A token that the API server issues.
pub async fn token(cluster: &Cluster, namespace: &str, account: &str, more: &[&str]) -> Outcome<String> {
    let issue = [&["create", "token", account, "-n", namespace, "--audience", "chancery"][..], more].concat();
    Ok(cluster.kubectl(&issue).await?.trim().to_owned())
}

/// Waits until the API server finds that a token is not good any more: it remembers for ten seconds that it was.
async fn forgotten(cluster: &Cluster, token: &str) -> Outcome<()> {
    let review = serde_json::json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["chancery"]},
    });
    let asked = ["create", "-f", "-", "-o", "jsonpath={.status.authenticated}"];
    deadline::until("the API server refuses it", Duration::from_secs(30), async || {
        let answer = cluster.try_kubectl(ADMIN, &asked, &review.to_string()).await.ok()?;
        (answer.success && answer.output.trim() != "true").then_some(())
    })
    .await
}

const OF_CLIENT: [&str; 4] = ["--bound-object-kind", "Pod", "--bound-object-name", "client"];

/// How often the API server was asked.
async fn reviews(stage: &Stage) -> Outcome<f64> {
    Ok(stage.chancery.api().metrics().await?.sum("chancery_token_reviews_total", &[]))
}

async fn reviewing(stage: &mut Stage) -> Outcome<()> {
    stage.secure();
    stage.chancery.flags.push("--token-review".into());
    stage.chancery.restart().await
}

#[tokio::test]
async fn a_fleet_that_comes_back_costs_the_api_server_little() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, "reviews").await?;
    reviewing(&mut stage).await?;
    let caller = Caller::new(&cluster, &stage).await?;
    let first = token(&cluster, "reviews", "default", &OF_CLIENT).await?;
    for _ in 0..50 {
        let [a, b, c, d] = [(); 4].map(|()| caller.is_believed(&first));
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        a.and(b).and(c).and(d)?;
    }
    let asked = reviews(&stage).await?;
    assert!((1.0..=8.0).contains(&asked), "200 calls cost {asked} reviews");
    for _ in 0..5 {
        caller.is_believed(&token(&cluster, "reviews", "default", &OF_CLIENT).await?).await?;
    }
    assert_eq!(reviews(&stage).await?, asked + 5.0, "the control: each new token costs one");

    // Nobody is asked about a token that is meant for somebody else, or is none.
    let other = cluster.kubectl(&["create", "token", "default", "-n", "reviews", "--audience", "other"]).await?;
    caller.is_refused(other.trim(), "is not meant for audience \"chancery\"").await?;
    caller.is_refused("nonsense", "is not one of a Kubernetes service account").await?;
    assert_eq!(reviews(&stage).await?, asked + 5.0);
    // About one that somebody has altered somebody is.
    let altered = first[..first.len() - 8].to_owned() + "AAAAAAAA";
    caller.is_refused(&altered, "the API server does not take the token").await?;
    caller.is_refused(&altered, "the API server does not take the token").await?;
    assert_eq!(reviews(&stage).await?, asked + 6.0, "once");
    stage.hand_token(&cluster, "chancery").await?;
    stage.connect().await
}

#[tokio::test]
async fn a_token_whose_service_account_or_pod_is_gone_is_refused() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, "reviews-gone").await?;
    reviewing(&mut stage).await?;
    let caller = Caller::new(&cluster, &stage).await?;
    cluster.kubectl(&["create", "serviceaccount", "passing", "-n", "reviews-gone"]).await?;
    let of_account = token(&cluster, "reviews-gone", "passing", &[]).await?;
    let of_pod = token(&cluster, "reviews-gone", "default", &OF_CLIENT).await?;
    for good in [&of_account, &of_pod] {
        caller.is_believed(good).await?;
    }
    cluster.kubectl(&["delete", "serviceaccount", "passing", "-n", "reviews-gone"]).await?;
    cluster.kubectl(&["delete", "pod", "client", "-n", "reviews-gone", "--grace-period=0", "--force"]).await?;
    // As one that has asked about neither, once the API server has forgotten what it found itself.
    stage.chancery.terminate(SOON).await?;
    forgotten(&cluster, &of_account).await?;
    forgotten(&cluster, &of_pod).await?;
    stage.chancery.restart().await?;
    for gone in [&of_account, &of_pod] {
        caller.is_refused(gone, "or what it is bound to is gone").await?;
    }
    // The control: whoever only verifies signatures believes it.
    stage.chancery.terminate(SOON).await?;
    stage.chancery.flags.pop();
    stage.chancery.restart().await?;
    deadline::until("the keys are known", SOON, async || caller.is_believed(&of_account).await.ok()).await
}

#[tokio::test]
async fn nobody_new_is_let_in_where_the_api_server_does_not_answer() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, "reviews-silent").await?;
    let passage = stage.by_way_of_a_passage(&cluster, ADMIN).await?;
    reviewing(&mut stage).await?;
    let caller = Caller::new(&cluster, &stage).await?;
    let known = token(&cluster, "reviews-silent", "default", &OF_CLIENT).await?;
    let new = token(&cluster, "reviews-silent", "default", &OF_CLIENT).await?;
    caller.is_believed(&known).await?;
    passage.silence();
    caller.is_refused(&new, "it is not known whether the token is good").await?;
    caller.is_believed(&known).await?;
    passage.open();
    deadline::until("it is let in", SOON, async || caller.is_believed(&new).await.ok()).await
}
