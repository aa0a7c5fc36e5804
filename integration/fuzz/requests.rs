//! Calls for certificates that nobody made: whatever they hold, a key is taken only where its owner has signed for it, and what
//! is signed for it says what it should and nothing else.

use crate::mutation::fuzz;
use chancery::ca::authority::Authority;
use chancery::ca::material::Material;
use chancery::ca::peer::{self, Peer};
use chancery::ca::request::RequestedKey;
use chancery::xds::certificate::{CertificateRequest, decode};
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use std::cell::RefCell;
use std::collections::BTreeSet;

const NOW: u64 = 1_800_000_000;
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";
const RSA: &str = include_str!("../identity/requests/rsa-2048.pem");
const SMALL: &str = include_str!("../identity/requests/rsa-1024.pem");
const P384: &str = include_str!("../identity/requests/p-384.pem");

fn p256() -> String {
    let mut params = CertificateParams::new(["bank.example".to_owned()]).expect("a name");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request").pem().expect("PEM")
}

#[test]
fn certificate_signing_requests_of_any_bytes() {
    let authority = Authority::new(&Material::self_signed(NOW).expect("a root"), NOW).expect("an authority");
    let texts = [RSA.to_owned(), SMALL.to_owned(), P384.to_owned(), p256()];
    // As they are encoded, too: a text that is altered is mostly no base 64 any more.
    let encoded = |text: &String| CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).expect("one").to_vec();
    let corpus = texts.iter().map(encoded).chain(texts.iter().map(|text| text.clone().into_bytes())).collect();
    let (reasons, taken) = (RefCell::new(BTreeSet::new()), RefCell::new(0));
    fuzz("certificate signing requests", corpus, |bytes| {
        let written = pem(bytes);
        for text in [std::str::from_utf8(bytes).unwrap_or_default(), &written] {
            match RequestedKey::of_pem(text) {
                Ok(key) => {
                    *taken.borrow_mut() += 1;
                    let chain = authority.certify(&key, CART, NOW, NOW + 60).expect("a certificate");
                    let certificate = CertificateDer::from_pem_slice(chain[0].as_bytes()).expect("a certificate");
                    assert_eq!(peer::read(&certificate), Some(Peer { uri: CART.into(), until: NOW + 60 }));
                }
                Err(error) => _ = reasons.borrow_mut().insert(error.reason()),
            }
        }
    });
    let reasons = reasons.into_inner();
    assert!(reasons.len() >= 4, "only refused for {reasons:?}");
    assert!(taken.into_inner() > 5, "hardly any was taken");
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

#[test]
fn calls_for_certificates_of_any_bytes() {
    let message = CertificateRequest { csr: RSA.into(), validity_duration: 3600, metadata: None }.encode_to_vec();
    let framed = [&[0], (message.len() as u32).to_be_bytes().as_slice(), &message].concat();
    let read = RefCell::new(0);
    fuzz("calls for certificates", vec![framed, vec![0; 5]], |bytes| match decode(bytes) {
        Ok(_) => *read.borrow_mut() += 1,
        Err(refusal) => assert!(refusal.to_string().len() < 200, "{refusal}"),
    });
    assert!(read.into_inner() > 20, "hardly any was read");
}
