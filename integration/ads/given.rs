//! A certificate of the server that somebody else has signed.

use crate::secure::Secure;
use crate::stage::{until, value};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chancery::ca::authority::Authority;
use chancery::ca::material::Material;
use chancery::clock::Clock;
use std::fs;
use std::path::Path;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

/// Somebody signs a certificate for the server, which ends in an hour; the root to trust.
fn sign(folder: &Path, named: &str) -> String {
    let now = Clock::system().now();
    let material = Material::self_signed(now).expect("a root");
    let authority = Authority::new(&material, now).expect("an authority");
    let served = authority.serve(&[named.to_owned()], now, HOUR).expect("a certificate");
    fs::write(folder.join("tls.crt"), pem("CERTIFICATE", &served.chain[0])).expect("written");
    fs::write(folder.join("tls.key"), pem("PRIVATE KEY", served.key.secret_der())).expect("written");
    material.roots
}

/// It is shown in place of one that the authority signs, and so is the next; one that can't be used is not, loudly. The controls: who
/// trusts only the authority, or the one before, is not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_given_is_shown_and_the_next_takes_over() {
    let folder = tempfile::tempdir().expect("a directory");
    let first = sign(folder.path(), "chancery");
    let mut secure = Secure::given(folder.path()).await.expect("a server");
    assert!(secure.channel(None).await.is_err(), "the authority has not signed it");
    secure.trusted = first;
    secure.channel(None).await.expect("a handshake");

    let broken = |secure: &Secure| value(&secure.stage, "chancery_ca_broken") == 1;
    fs::write(folder.path().join("tls.key"), "no key").expect("written");
    until("it is told", || broken(&secure)).await;
    secure.channel(None).await.expect("the last one that was good");

    let second = sign(folder.path(), "chancery");
    until("it is good again", || !broken(&secure)).await;
    assert!(secure.channel(None).await.is_err(), "there is another one");
    secure.trusted = second;
    secure.channel(None).await.expect("a handshake");
}

/// Without a good one there is no server, and it is said what is wrong.
#[tokio::test]
async fn without_a_good_one_there_is_no_server() {
    let folder = tempfile::tempdir().expect("a directory");
    let refused = async || {
        let refused = Secure::given(folder.path()).await.err().expect("a refusal");
        let source = std::error::Error::source(&refused).map(ToString::to_string);
        format!("{refused}: {}", source.unwrap_or_default())
    };
    assert!(refused().await.contains("tls.crt: No such file"), "{}", refused().await);
    sign(folder.path(), "chancery");
    let of_another = fs::read(folder.path().join("tls.key")).expect("a key");
    sign(folder.path(), "chancery");
    fs::write(folder.path().join("tls.key"), of_another).expect("written");
    assert!(refused().await.contains("tls.key: it can't be used with tls.crt"), "{}", refused().await);
}
