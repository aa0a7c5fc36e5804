//! Certificate signing requests: of those that are taken only the key is, and what is wrong with the others is said.
//!
//! The requests in `requests/` are made by `openssl req`. Each asks for the name of an admin, for a DNS name, for a subject in
//! `system:masters`, and to be an authority.

use super::authority::{DAY, NOW, first, material, takes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chancery::ca::authority::Authority;
use chancery::ca::material::Material;
use chancery::ca::peer;
use chancery::ca::request::{MAX_REQUEST, RequestedKey};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType};
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
const RSA: &str = include_str!("requests/rsa-2048.pem");
const P384: &str = include_str!("requests/p-384.pem");

/// A request with a key of the curve P-256, which asks for as much as the others.
fn p256() -> String {
    let mut params = CertificateParams::default();
    params.subject_alt_names =
        vec![SanType::URI("spiffe://cluster.local/ns/kube-system/sa/admin".try_into().expect("a URI"))];
    params.distinguished_name.push(DnType::CommonName, "admin");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    params.serialize_request(&key).expect("a request").pem().expect("PEM")
}

/// What is encoded in a PEM text of one block.
fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(lines).expect("base 64")
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", STANDARD.encode(der))
}

fn key(pem: &str) -> RequestedKey {
    RequestedKey::of_pem(pem).expect("a good request")
}

#[test]
fn of_a_request_only_the_key_is_taken() {
    let authority = Authority::new(&material(), NOW).expect("an authority");
    for request in [RSA, P384, &p256()] {
        let chain = authority.certify(&key(request), CART, NOW, NOW + DAY).expect("a certificate");
        assert_eq!((chain.len(), chain.last()), (2, Some(&authority.roots().to_owned())), "itself, then the root");
        let certificate = first(&chain[0]);
        assert_eq!(peer::read(&certificate), Some(peer::Peer { uri: CART.into(), until: NOW + DAY }));
        let (_, signed) = X509Certificate::from_der(&certificate).expect("a certificate");
        let names = signed.subject_alternative_name().expect("readable").expect("names");
        assert_eq!((names.value.general_names.len(), signed.subject().iter().count()), (1, 0));
        assert!(!signed.is_ca());
        let request = der(request);
        let (_, request) = X509CertificationRequest::from_der(&request).expect("a request");
        assert!(request.requested_extensions().is_some_and(|asked| asked.count() > 1), "the control: it asks for more");
        assert_eq!(signed.public_key().raw, request.certification_request_info.subject_pki.raw);
        assert!(takes(&authority, &chain[0], NOW));
    }
}

#[test]
fn nothing_that_is_signed_outlives_the_authority() {
    let authority = Authority::new(&material(), NOW).expect("an authority");
    let chain = authority.certify(&key(RSA), CART, NOW, u64::from(u32::MAX)).expect("a certificate");
    assert_eq!(peer::read(&first(&chain[0])).map(|peer| peer.until), Some(authority.until()));
}

#[test]
fn what_is_between_comes_one_by_one_and_all_roots_in_the_last() {
    let (root, other) = (material(), material());
    let intermediate = super::authority::intermediate(&root);
    // As Istio's cert-chain.pem may: it leads up to the root.
    let chain = format!("{}{}", intermediate.certificate, root.certificate);
    let roots = format!("# ours\n{}# of a friend\n{}", root.roots, other.roots);
    let authority = Authority::new(&Material { roots, chain, ..intermediate.clone() }, NOW).expect("an authority");
    let signed = authority.certify(&key(RSA), CART, NOW, NOW + DAY).expect("a certificate");
    assert_eq!(signed[1..], [intermediate.certificate, root.roots + &other.roots]);
    assert!(takes(&authority, &signed[..2].concat(), NOW));
    assert_eq!(authority.bundle(), signed[2]);
    assert!(!takes(&authority, &signed[0], NOW), "the control: without it there is no way to the root");
}

#[test]
fn every_other_request_is_refused_with_a_reason() {
    let good = p256();
    let altered = |at: usize| {
        let mut der = der(&good);
        let at = if at == 0 { der.len() - 1 } else { at };
        der[at] ^= 1;
        pem(&der)
    };
    // The request's name is near its beginning, its signature at the end.
    let name = der(&good).windows(5).position(|bytes| bytes == b"admin").expect("a name");
    let trailing = pem(&[der(&good), vec![0]].concat());
    let cases = [
        ("csr_malformed", String::new()),
        ("csr_malformed", "garbage".to_owned()),
        ("csr_malformed", pem(b"garbage")),
        ("csr_malformed", trailing),
        ("csr_malformed", good.clone() + &good),
        ("csr_malformed", good.replace("CERTIFICATE REQUEST", "CERTIFICATE")),
        ("csr_too_long", good.clone() + &" ".repeat(MAX_REQUEST)),
        ("csr_signature", altered(name)),
        ("csr_signature", altered(0)),
        ("csr_signature", include_str!("requests/rsa-sha1.pem").to_owned()),
        ("csr_key", include_str!("requests/rsa-1024.pem").to_owned()),
        ("csr_key", include_str!("requests/p-521.pem").to_owned()),
        ("csr_key", include_str!("requests/ed25519.pem").to_owned()),
    ];
    for (expected, request) in cases {
        let error = RequestedKey::of_pem(&request).expect_err(&request);
        assert_eq!(error.reason(), expected, "{error}: {request}");
        assert!(error.to_string().len() < 200, "{error}");
    }
    assert!(RequestedKey::of_pem(&good).is_ok(), "the control");
    let small = RequestedKey::of_pem(include_str!("requests/rsa-1024.pem")).expect_err("a small key");
    assert_eq!(small.to_string(), "its RSA key has 1024 bits; at least 2048 and at most 8192 are taken");
}
