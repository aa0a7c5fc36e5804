//! The secure door: who has a token or a certificate is let in and gets its own secrets, nobody gets anything else.

use crate::secure::{
    DAY, Secure, all_secrets, asking, cart, inline, mesh, names_in, now, pair_in, request, secret_in, secrets,
    version_of,
};
use crate::stage::{Delta, NODE_ID, PATIENCE, until, value};
use chancery::ca::folder::Folder;
use chancery::ca::material::{Material, names};
use chancery::model::identity::Identity;
use chancery::model::mesh::Mesh;
use chancery::snapshot::kind::Kind;
use chancery::xds::limits::Options;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_door_to_ones_own_secrets_and_to_no_others() {
    let secure = Secure::new(DAY).await;
    let token = secure.token(&cart(), DAY);
    let mut client = secure.asks(&token, &["default", "ROOTCA", "kubernetes://bank", "other"], BTreeMap::new()).await;
    secure.place(&cart()).await;
    let first = all_secrets(&mut client).await.expect("secrets");
    let mut names = names_in(&first);
    names.sort_unstable();
    assert_eq!(names, ["ROOTCA", "default"], "and nothing under other names");
    let (chain, key) = pair_in(&first);
    let certificate = CertificateDer::from_pem_slice(chain.as_bytes()).expect("a certificate");
    let peer = chancery::ca::peer::read(&certificate).expect("one URI");
    assert_eq!(peer.uri, "spiffe://cluster.local/ns/shop/sa/cart");
    assert!(key.contains("PRIVATE KEY"));
    let Type::ValidationContext(roots) = secret_in(&first, "ROOTCA") else { unreachable!("ROOTCA is what is trusted") };
    assert_eq!(inline(&roots.trusted_ca), secure.read(names::ROOTS));

    // What was delivered is a credential as well.
    let channel = secure.channel(Some(&(chain, key))).await.expect("a connection");
    let mut second = Delta::begin(channel, None, request(&["default"], BTreeMap::new())).await.expect("a stream");
    let by_certificate = Identity::new("shop".into(), "cart".into());
    until("it joins", || secure.stage.board().seated() == 2).await;
    secure.place(&by_certificate).await;
    assert_eq!(names_in(&second.next().await.expect("secrets")), ["default"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_nothing_is_told_nothing() {
    let secure = Secure::new(DAY).await;
    let elsewhere = Secure::new(DAY).await;
    let (good, foreign) = (secure.token(&cart(), DAY), elsewhere.token(&cart(), DAY));
    let bank = secure.token(&Identity::new("bank".into(), "cart".into()), DAY);
    let refused = async |token: Option<&str>| {
        let channel = secure.channel(None).await.expect("a connection");
        match Delta::begin(channel, token, request(&["default"], BTreeMap::new())).await {
            Ok(mut stream) => stream.next().await.expect_err("no answer"),
            Err(status) => status,
        }
    };
    for token in [None, Some(""), Some("nonsense"), Some(foreign.as_str()), Some(&good[1..])] {
        let status = refused(token).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{token:?}: {status}");
        assert!(token.is_none_or(|token| token.is_empty() || !status.message().contains(token)), "{status}");
    }
    let status = refused(Some(&bank)).await;
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert!(status.message().contains("the node claims namespace shop, its credential is for bank"), "{status}");
    let metrics = secure.stage.metrics();
    for reason in ["no_credential", "token_malformed", "token_key_unknown", "denied"] {
        assert!(
            metrics.contains(&format!("chancery_xds_refusals_total{{reason=\"{reason}\"}}")),
            "{reason}: {metrics}"
        );
    }
    // A certificate of another authority ends the handshake.
    let token = elsewhere.token(&cart(), DAY);
    let mut client = elsewhere.asks(&token, &["default"], BTreeMap::new()).await;
    elsewhere.place(&cart()).await;
    let stolen = pair_in(&client.next().await.expect("secrets"));
    let failed = match secure.channel(Some(&stolen)).await {
        Ok(channel) => Delta::begin(channel, None, request(&[], BTreeMap::new())).await.is_err(),
        Err(_) => true,
    };
    assert!(failed, "a foreign certificate is no credential");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_keeps_its_certificate() {
    let secure = Secure::new(DAY).await;
    let token = secure.token(&cart(), DAY);
    let names = ["default", "ROOTCA"];
    let mut client = secure.asks(&token, &names, BTreeMap::new()).await;
    secure.place(&cart()).await;
    let first = secrets(&mut client, &names).await.expect("secrets");
    let held = |version: &str| {
        let roots = version_of(&first, "ROOTCA");
        BTreeMap::from([("default".to_owned(), version.to_owned()), ("ROOTCA".to_owned(), roots)])
    };
    let version = version_of(&first, "default");
    // What has no answer yet is not believed on the next stream.
    let acks = r#"chancery_xds_requests_total{outcome="ack",type="sds"}"#;
    until("each secret is accepted", || value(&secure.stage, acks) == names.len() as u64).await;
    drop(client);
    until_left(&secure).await;

    // As Envoy comes back: clusters first, with what it holds; another replica would do as well.
    let channel = secure.channel(None).await.expect("a connection");
    let mut client =
        Delta::begin(channel, Some(&token), asking(Kind::Cluster, NODE_ID, Vec::new())).await.expect("a stream");
    let clusters = client.next().await.expect("clusters");
    client.ack(&clusters).await;
    client.send(DeltaDiscoveryRequest { node: None, ..request(&names, held(&version)) }).await;
    let silence = tokio::time::timeout(Duration::from_millis(500), client.next()).await;
    assert!(silence.is_err(), "nothing is sent that it has: {silence:?}");
    let signed = |times| secure.stage.metrics().contains(&format!("\nchancery_ca_certificates_signed_total {times}\n"));
    assert!(signed(1), "nor made: {}", secure.stage.metrics());

    // The control: one that isn't ours, or is about to end, is replaced.
    let until = u128::from_str_radix(&version, 16).expect("a version") as u64;
    let foreign = format!("{:032x}", 7u128 << 64 | u128::from(until));
    let ending = format!("{:032x}", u128::from_str_radix(&version, 16).expect("a version") - 20 * 3600);
    for stated in [foreign, ending] {
        drop(client);
        until_left(&secure).await;
        client = secure.asks(&token, &["default"], held(&stated)).await;
        let again = client.next().await.expect("another one");
        assert_ne!(version_of(&again, "default"), stated);
    }
    assert!(signed(3), "{}", secure.stage.metrics());
}

async fn until_left(secure: &Secure) {
    until("it has left", || secure.stage.board().seated() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_at_half_their_life() {
    let secure = Secure::new(Duration::from_secs(4)).await;
    let token = secure.token(&cart(), DAY);
    let names = ["default", "ROOTCA"];
    let mut client = secure.asks(&token, &names, BTreeMap::new()).await;
    secure.place(&cart()).await;
    let mut last = secrets(&mut client, &names).await.expect("secrets");
    for _ in 0..2 {
        let next = client.next().await.expect("a renewed certificate");
        assert_eq!(names_in(&next), ["default"], "what is trusted is the same");
        assert_ne!(pair_in(&next).1, pair_in(&last).1, "with a new key");
        client.ack(&next).await;
        last = next;
    }
}

/// A client that has been given its secrets and acknowledged them.
async fn served(secure: &Secure) -> (Delta, DeltaDiscoveryResponse) {
    let token = secure.token(&cart(), DAY);
    let names = ["default", "ROOTCA"];
    let mut client = secure.asks(&token, &names, BTreeMap::new()).await;
    secure.place(&cart()).await;
    let first = secrets(&mut client, &names).await.expect("secrets");
    (client, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_takes_over_and_a_broken_one_does_not() {
    let secure = Secure::new(DAY).await;
    let (mut client, _) = served(&secure).await;
    let file = |name| secure.folder.path().join(name);
    let broken = || secure.stage.metrics().contains("\nchancery_ca_broken 1\n");
    let key = secure.read(names::KEY);
    fs::write(file(names::KEY), "garbage").expect("written");
    until("it is noticed", broken).await;
    fs::write(file(names::KEY), &key).expect("written");
    until("it is mended", || !broken()).await;
    fs::rename(file(names::KEY), file("away")).expect("renamed");
    until("it is noticed", broken).await;
    fs::rename(file("away"), file(names::KEY)).expect("renamed");
    until("what is in use is there again", || !broken()).await;
    fs::remove_file(file(names::KEY)).expect("removed");
    until("it is noticed", broken).await;

    let next = Material::self_signed(now()).expect("a root");
    // Both are trusted while one takes over from the other.
    fs::write(file(names::ROOTS), secure.read(names::ROOTS) + &next.roots).expect("written");
    fs::write(file(names::CERTIFICATE), &next.certificate).expect("written");
    let beside = file("beside");
    fs::write(&beside, next.key.expose()).expect("written");
    fs::set_permissions(&beside, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("changed");
    fs::rename(beside, file(names::KEY)).expect("renamed");
    let mut seen = Vec::new();
    while seen != ["ROOTCA", "default"] {
        let changed = tokio::time::timeout(PATIENCE, client.next()).await.expect("in time").expect("secrets");
        client.ack(&changed).await;
        seen.extend(names_in(&changed).into_iter().map(str::to_owned));
        seen.sort();
        seen.dedup();
    }
    assert!(!broken());
}

/// Those of the old one say who somebody was.
#[tokio::test(flavor = "multi_thread")]
async fn another_trust_domain_signs_anew_at_once() {
    let secure = Secure::new(DAY).await;
    let (mut client, first) = served(&secure).await;
    let uri = |response: &DeltaDiscoveryResponse| {
        let certificate = CertificateDer::from_pem_slice(pair_in(response).0.as_bytes()).expect("a certificate");
        chancery::ca::peer::read(&certificate).expect("one URI").uri
    };
    assert_eq!(uri(&first), "spiffe://cluster.local/ns/shop/sa/cart");
    // Settings that leave it as it is renew nothing.
    for domain in ["cluster.local", "example.org"] {
        secure.change(mesh(Mesh { trust_domain: domain.into(), ..Mesh::default() }));
    }
    let next = client.next().await.expect("another certificate");
    assert_eq!((names_in(&next), uri(&next).as_str()), (vec!["default"], "spiffe://example.org/ns/shop/sa/cart"));
    assert!(secure.stage.metrics().contains("\nchancery_ca_certificates_signed_total 2\n"), "the control: no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_before_its_token_does() {
    let secure = Secure::new(DAY).await;
    let token = secure.token(&cart(), Duration::from_secs(3));
    let mut client = secure.asks(&token, &["default"], BTreeMap::new()).await;
    secure.place(&cart()).await;
    let first = client.next().await.expect("secrets");
    client.ack(&first).await;
    let begun = std::time::Instant::now();
    client.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "it was told to come back with a new one");
}

/// It is told to come back while something is in flight, and does not answer. The control: it is not ended before that.
#[tokio::test]
async fn no_stream_outlives_its_token() {
    let secure = Secure::new(DAY).await;
    let lasts = Duration::from_secs(3);
    let mut client = secure.asks(&secure.token(&cart(), lasts), &["default"], BTreeMap::new()).await;
    let begun = std::time::Instant::now();
    secure.place(&cart()).await;
    client.next().await.expect("secrets");
    client.ended().await;
    let had = begun.elapsed();
    assert!(had < lasts + Duration::from_secs(1), "it was waited for its answer: {had:?}");
    assert!(had > lasts / 2, "the control: {had:?}");
}

#[tokio::test]
async fn a_directory_that_is_no_authority_is_an_error() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("identity");
    let folder = Folder::new(&path);
    folder.read_or(|| Material::self_signed(now())).expect("an authority");
    fs::write(path.join(names::CERTIFICATE), "garbage").expect("written");
    let error = Secure::at(place, &path, DAY, Options::default()).await.map(drop).expect_err("it is refused");
    let said = chancery::telemetry::logging::chain(&error);
    assert!(said.contains("ca-cert.pem: it is not a certificate in PEM"), "{said}");
}
