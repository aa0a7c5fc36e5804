//! What the authority signs, what it refuses to be made of, and that what is on disk is for its owner's eyes only.

use chancery::ca::authority::Authority;
use chancery::ca::folder::Folder;
use chancery::ca::material::{Form, Material, names};
use chancery::ca::peer;
use chancery::model::sensitive::Sensitive;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};

pub const NOW: u64 = 1_800_000_000;
pub const DAY: u64 = 24 * 3600;
const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

pub fn material() -> Material {
    Material::self_signed(NOW).expect("a root")
}

fn reason(material: &Material, now: u64) -> String {
    Authority::new(material, now).map(drop).expect_err("it is refused").to_string()
}

pub fn first(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// Whether somebody who trusts an authority takes a certificate at a time.
pub fn takes(authority: &Authority, chain: &str, at: u64) -> bool {
    let provider = rustls::crypto::ring::default_provider().into();
    let verifier = WebPkiClientVerifier::builder_with_provider(authority.root_store().into(), provider);
    let verifier = verifier.build().expect("roots");
    let mut chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().expect("certificates");
    let leaf = chain.remove(0);
    verifier.verify_client_cert(&leaf, &chain, UnixTime::since_unix_epoch(Duration::from_secs(at))).is_ok()
}

#[test]
fn a_certificate_says_one_uri_and_nothing_else() {
    let authority = Authority::new(&material(), NOW).expect("an authority");
    let issued = authority.issue(CART, NOW, NOW + DAY).expect("a certificate");
    let der = first(&issued.chain);
    assert_eq!(peer::read(&der), Some(peer::Peer { uri: CART.into(), until: NOW + DAY }));
    let (_, parsed) = X509Certificate::from_der(&der).expect("a certificate");
    let names = parsed.subject_alternative_name().expect("readable").expect("names");
    assert!(names.critical, "there is no subject beside them");
    assert_eq!(names.value.general_names.len(), 1);
    assert_eq!(parsed.subject().iter().count(), 0);
    assert!(!parsed.is_ca());
    assert!(takes(&authority, &issued.chain, NOW - 600), "by who is ten minutes late");
    assert!(!takes(&authority, &issued.chain, NOW + DAY + 1), "the control: not after its end");
    let other = Authority::new(&material(), NOW).expect("another authority");
    assert!(!takes(&other, &issued.chain, NOW), "the control: not by who trusts somebody else");
}

#[test]
fn nothing_outlives_the_authority() {
    let authority = Authority::new(&material(), NOW).expect("an authority");
    let issued = authority.issue(CART, NOW, u64::from(u32::MAX)).expect("a certificate");
    assert_eq!(issued.until, authority.until());
}

#[test]
fn the_servers_certificate_is_no_workloads() {
    let authority = Authority::new(&material(), NOW).expect("an authority");
    let served = authority.serve(&["chancery".into()], NOW, Duration::from_secs(DAY)).expect("a certificate");
    assert_eq!(peer::read(&served.chain[0]), None);
}

#[test]
fn a_broken_authority_is_refused_with_the_part_and_the_reason() {
    let (good, other) = (material(), material());
    let broken = [
        (Material { key: Sensitive::new(b"garbage".to_vec()), ..good.clone() }, names::KEY, "not a private key"),
        (Material { key: other.key.clone(), ..good.clone() }, names::KEY, "the key of another certificate"),
        (Material { certificate: "garbage".into(), ..good.clone() }, names::CERTIFICATE, "not a certificate in PEM"),
        (Material { roots: String::new(), ..good.clone() }, names::ROOTS, "not a certificate in PEM"),
        (Material { roots: other.roots.clone(), ..good.clone() }, names::CHAIN, "don't vouch for what is signed"),
    ];
    for (material, part, why) in broken {
        let reason = reason(&material, NOW);
        assert!(reason.contains(part) && reason.contains(why), "{reason}");
    }
    assert!(reason(&good, NOW + 20 * 365 * DAY).contains("expired"));
    let authority = Authority::new(&good, NOW).expect("the control: the good one is one");
    let issued = authority.issue(CART, NOW, NOW + DAY).expect("a certificate");
    let leaf = Material { certificate: issued.chain.clone(), key: issued.key, ..good };
    assert!(reason(&leaf, NOW).contains("not the certificate of an authority"));
}

/// An authority whose certificate that root has signed; only the root is trusted.
pub fn intermediate(root: &Material) -> Material {
    let key = rcgen::KeyPair::generate().expect("a key");
    let root_key = rcgen::KeyPair::from_pem(std::str::from_utf8(root.key.expose()).expect("text")).expect("a key");
    let issuer = rcgen::Issuer::from_ca_cert_pem(&root.certificate, root_key).expect("an issuer");
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let certificate = params.signed_by(&key, &issuer).expect("an intermediate").pem();
    let key = Sensitive::new(key.serialize_pem().into_bytes());
    Material { roots: root.roots.clone(), certificate, key, chain: String::new(), form: Form::Cacerts }
}

/// A root of that key that ends then.
fn lasting(key: &rcgen::KeyPair, until: u64) -> Material {
    let certificate = ending(until).self_signed(key).expect("a root").pem();
    let key = Sensitive::new(key.serialize_pem().into_bytes());
    Material { roots: certificate.clone(), certificate, key, chain: String::new(), form: Form::Cacerts }
}

/// An authority below another that ends then.
fn below(above: &Material, until: u64) -> Material {
    let key = rcgen::KeyPair::generate().expect("a key");
    let above_key = rcgen::KeyPair::from_pem(std::str::from_utf8(above.key.expose()).expect("text")).expect("a key");
    let issuer = rcgen::Issuer::from_ca_cert_pem(&above.certificate, above_key).expect("an issuer");
    let certificate = ending(until).signed_by(&key, &issuer).expect("an intermediate").pem();
    let chain = certificate.clone() + &above.chain;
    let key = Sensitive::new(key.serialize_pem().into_bytes());
    Material { roots: above.roots.clone(), certificate, key, chain, form: Form::Cacerts }
}

fn ending(until: u64) -> rcgen::CertificateParams {
    let at = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, format!("until {until}"));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    (params.not_before, params.not_after) = (at(NOW - DAY), at(until));
    params
}

#[test]
fn an_authority_ends_with_the_first_on_the_way_to_its_root() {
    let key = rcgen::KeyPair::generate().expect("a key");
    for (root, upper, lower, ends, part) in [
        (30, 10, 100, 10, names::CHAIN),
        (30, 200, 100, 30, names::ROOTS),
        // The control: the one that signs ends first.
        (300, 200, 100, 100, names::CERTIFICATE),
    ] {
        let upper = below(&lasting(&key, NOW + root * DAY), NOW + upper * DAY);
        let authority = Authority::new(&below(&upper, NOW + lower * DAY), NOW).expect("an authority");
        assert_eq!(authority.until(), NOW + ends * DAY);
        assert_eq!(authority.issue(CART, NOW, NOW + 1000 * DAY).expect("a certificate").until, NOW + ends * DAY);
        let late = authority.issue(CART, authority.until(), NOW + 1000 * DAY).map(drop).expect_err("it is over");
        assert_eq!(late.to_string(), format!("{part}: it has expired"));
    }
}

/// The control: with a root of the same key beside it that is valid, it is an authority, for as long as the one that lasts longer.
#[test]
fn an_authority_whose_root_has_expired_is_none() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let named = |until, name: u64| {
        let mut params = ending(until);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("root {name}"));
        params.self_signed(&key).expect("a root").pem()
    };
    let [ended, soon, later] = [NOW - 1, NOW + DAY, NOW + 9 * DAY].map(|until| named(until, 1));
    let stranger = material();
    let root = Material { certificate: ended.clone(), roots: ended.clone(), ..lasting(&key, NOW) };
    let signs = below(&root, NOW + 20 * DAY);
    assert_eq!(reason(&signs, NOW), "root-cert.pem: it has expired");
    let beside = |others: &[&String]| {
        let others: String = others.iter().map(|other| other.as_str()).collect();
        Material { roots: signs.roots.clone() + &others, ..signs.clone() }
    };
    assert_eq!(
        reason(&beside(&[&stranger.roots]), NOW),
        "root-cert.pem: it has expired",
        "that one says nothing of it"
    );
    let authority = Authority::new(&beside(&[&later, &soon]), NOW).expect("an authority");
    assert_eq!(authority.until(), NOW + 9 * DAY);
}

#[test]
fn an_intermediate_signs_and_is_sent_along() {
    let root = material();
    let authority = Authority::new(&intermediate(&root), NOW).expect("an authority");
    let issued = authority.issue(CART, NOW, NOW + DAY).expect("a certificate");
    assert_eq!(issued.chain.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(takes(&Authority::new(&root, NOW).expect("the root"), &issued.chain, NOW));
}

#[test]
fn a_directory_is_made_once_and_for_its_owner() {
    let place = tempfile::tempdir().expect("a directory");
    let folder = Folder::new(place.path().join("identity"));
    let made = folder.read_or(|| Material::self_signed(NOW)).expect("it is made");
    let again = folder.read_or(|| Material::self_signed(NOW)).expect("it is read");
    assert_eq!(made.certificate, again.certificate);
    let mode = |path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let key = folder.path().join(names::KEY);
    assert_eq!((mode(folder.path().to_owned()), mode(key.clone())), (0o700, 0o600));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("changed");
    let error = folder.read_all().map(drop).expect_err("others can read it").to_string();
    assert!(error.contains("can be read by others"), "{error}");
    fs::remove_file(&key).expect("removed");
    assert!(folder.read_all().is_err(), "what is gone is not made anew by who only reads");
}

/// An authority that somebody has brought, of which a part is missing. The control: where none is there, one is made.
#[test]
fn what_is_there_of_an_authority_is_not_written_over() {
    let brought = intermediate(&material());
    let brought = Material { chain: brought.certificate.clone(), ..brought };
    for missing in [names::KEY, names::CERTIFICATE, names::ROOTS] {
        let place = tempfile::tempdir().expect("a directory");
        let folder = Folder::new(place.path());
        folder.read_or(|| Ok(brought.clone())).expect("it is written");
        fs::remove_file(place.path().join(missing)).expect("removed");
        let content = || names::ALL.map(|part| fs::read(place.path().join(part)).ok());
        let before = content();
        let error = folder.read_or(|| panic!("another is made")).map(drop).expect_err("it is not whole").to_string();
        assert!(error.ends_with(&format!("{missing}: it is missing")), "{error}");
        assert_eq!(content(), before, "{missing}");
        for part in names::ALL.into_iter().filter(|part| *part != missing) {
            fs::remove_file(place.path().join(part)).expect("removed");
        }
        let made = folder.read_or(|| Material::self_signed(NOW)).expect("the control: it is made");
        assert_ne!(made.certificate, brought.certificate);
    }
    let place = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("nowhere", place.path().join(names::KEY)).expect("a link");
    assert!(Folder::new(place.path()).read_or(|| panic!("another is made")).is_err(), "a key that is lost");
}
