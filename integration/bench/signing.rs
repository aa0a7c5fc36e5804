//! The authority by itself, and who verifies tokens: what one certificate and one token cost, on one thread.

use super::papers::{AUDIENCE, DOMAIN, LASTS};
use super::role::cpu;
use chancery::ca::authority::Authority;
use chancery::ca::material::Material;
use chancery::ca::request::RequestedKey;
use chancery::clock::Clock;
use chancery::model::identity::Identity;
use chancery::tokens::issuer::{ISSUER, Issuer};
use chancery::tokens::{self, Rules};
use rcgen::{CertificateParams, KeyPair};

/// What is done once for each proxy: a name, and CPU time in nanoseconds.
pub type Cost = (&'static str, u64);

/// What each costs, on average of so many. Keys are of the curve P-256 throughout.
pub fn costs(count: u32) -> [Cost; 3] {
    let clock = Clock::system();
    let material = Material::self_signed(clock.now()).expect("a root");
    let authority = Authority::new(&material, clock.now()).expect("an authority");
    let identity = Identity::new("ns0".into(), "default".into());
    let (spiffe, until) = (identity.spiffe(DOMAIN), clock.now() + LASTS.as_secs());
    let issuer = Issuer::new_key().and_then(|key| Issuer::of_pem(&key)).expect("an issuer");
    let token = issuer.issue(&identity, AUDIENCE, clock.now(), LASTS).expect("a token");
    let (keys, rules) = (issuer.keys(), Rules { issuer: Some(ISSUER.into()), audience: AUDIENCE.into() });
    let request = request();
    [
        ("certificate of a key made here", each(count, || authority.issue(&spiffe, clock.now(), until).is_ok())),
        (
            "certificate of a key of theirs",
            each(count, || {
                let key = RequestedKey::of_pem(&request);
                key.is_ok_and(|key| authority.certify(&key, &spiffe, clock.now(), until).is_ok())
            }),
        ),
        ("token verified", each(count, || tokens::verify(&token, &keys, &rules, clock.now()).is_ok())),
    ]
}

/// A certificate signing request.
fn request() -> String {
    let key = KeyPair::generate().expect("a key");
    CertificateParams::default().serialize_request(&key).expect("a request").pem().expect("PEM")
}

/// The CPU time of something that must succeed each time.
fn each(count: u32, mut succeeds: impl FnMut() -> bool) -> u64 {
    assert!(succeeds(), "the first time, which is for warming");
    let before = cpu();
    (0..count).for_each(|_| assert!(succeeds()));
    (cpu() - before) / u64::from(count)
}
