//! F24: the clock is set, a day or ten years ahead or a day back: who is connected stays, who comes is let in with what is good
//! by the clock as it is, and nothing has to be started anew when it is right again.

use crate::secure::{DAY, Secure, cart, pair_in};
use crate::stage::{Delta, PATIENCE, until, value};
use chancery::clock::Clock;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryResponse;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tonic::Code;
use x509_parser::prelude::{FromDer, X509Certificate};

const A_DAY: i64 = 24 * 3600;
const TEN_YEARS: i64 = 10 * 366 * A_DAY;

/// A secure server whose clock goes as the system's does, and can be set.
struct Stage {
    secure: Secure,
    set: Arc<AtomicI64>,
}

impl Stage {
    async fn new() -> Self {
        let set = Arc::new(AtomicI64::new(0));
        let by = set.clone();
        let clock = Clock::of(move || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
            Duration::from_secs(now.as_secs().saturating_add_signed(by.load(Ordering::Relaxed)))
        });
        Self { secure: Secure::by(clock, DAY).await, set }
    }

    fn set(&self, seconds: i64) {
        self.set.store(seconds, Ordering::Relaxed);
    }

    /// Whether a certificate counts by the clock as it is.
    fn counts(&self, der: &[u8]) -> bool {
        let (_, parsed) = X509Certificate::from_der(der).expect("a certificate");
        let span = parsed.validity();
        (span.not_before.timestamp()..span.not_after.timestamp()).contains(&(self.secure.clock.now() as i64))
    }

    fn is_good(&self, response: &DeltaDiscoveryResponse) -> bool {
        let certificate = CertificateDer::from_pem_slice(pair_in(response).0.as_bytes()).expect("a certificate");
        self.counts(&certificate)
    }

    /// A workload that is given its certificate.
    async fn served(&self) -> (Delta, DeltaDiscoveryResponse) {
        let token = self.secure.token(&cart(), Duration::from_secs(3600));
        let mut client = self.secure.asks(&token, &["default"], BTreeMap::new()).await;
        self.secure.place(&cart()).await;
        let given = client.next().await.expect("a certificate");
        client.ack(&given).await;
        (client, given)
    }

    /// Waits until who connects, and has the same clock, takes the server's certificate.
    async fn is_taken(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.secure.channel(None).await.is_err() {
            assert!(Instant::now() < deadline, "the server's certificate doesn't count");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn becomes_broken(&self, broken: u64) {
        until("it is told whether the authority counts", || value(&self.secure.stage, "chancery_ca_broken") == broken)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_ahead_or_back_everybody_is_served_by_the_clock_as_it_is() {
    // An hour more ahead: what is signed now lasts for a day.
    for (jump, broken) in [(A_DAY + 3600, 0), (-A_DAY, 1)] {
        let stage = Stage::new().await;
        let (mut client, first) = stage.served().await;
        let shown = stage.secure.socket().await;
        let shown = shown.get_ref().1.peer_certificates().expect("a certificate")[0].clone();
        let old = stage.secure.token(&cart(), Duration::from_secs(3600));
        assert!(stage.is_good(&first) && stage.counts(&shown), "{jump}: the control: both count");
        stage.set(jump);
        assert!(!stage.is_good(&first) && !stage.counts(&shown), "{jump}: the control: neither does any more");
        let renewed = client.next().await.expect("another certificate");
        assert!(stage.is_good(&renewed), "{jump}: who is there is given one that counts");
        client.ack(&renewed).await;
        stage.is_taken().await;
        let (_other, given) = stage.served().await;
        assert!(stage.is_good(&given), "{jump}: and so is who comes");
        let channel = stage.secure.channel(None).await.expect("a connection");
        let request = crate::secure::request(&["default"], BTreeMap::new());
        let refused = Delta::begin(channel, Some(&old), request).await.map(drop).expect_err("its time is another");
        assert_eq!(refused.code(), Code::Unauthenticated, "{jump}: {refused}");
        // An authority that is not to be yet is told of: who has a right clock takes nothing of it.
        stage.becomes_broken(broken).await;
        let signed = value(&stage.secure.stage, "chancery_ca_certificates_signed_total");
        assert!(signed <= 3, "{jump}: {signed} were signed");
        stage.set(0);
        let again = client.next().await.expect("another certificate");
        assert!(stage.is_good(&again), "{jump}: and back");
        stage.is_taken().await;
        stage.becomes_broken(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_years_ahead_who_is_there_stays_and_nobody_is_given_what_is_over() {
    let stage = Stage::new().await;
    let (mut client, first) = stage.served().await;
    stage.set(TEN_YEARS);
    stage.becomes_broken(1).await;
    assert!(!stage.is_good(&first), "the control: its certificate doesn't count");
    // The stream is there, and is sent nothing that is over.
    let silence = tokio::time::timeout(Duration::from_secs(5), client.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    assert_eq!(value(&stage.secure.stage, "chancery_xds_streams"), 1);
    assert_eq!(value(&stage.secure.stage, "chancery_ca_certificates_signed_total"), 1);
    // It is the clock that was wrong.
    stage.set(0);
    stage.becomes_broken(0).await;
    stage.is_taken().await;
    let (_other, given) = stage.served().await;
    assert!(stage.is_good(&given));
}
