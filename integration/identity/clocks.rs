//! F24: whatever somebody sets the clock to, nothing is handed out that doesn't count by it, who has something keeps it until
//! there is something better, and nothing is signed again and again.

use super::authority::DAY;
use chancery::app::security::keyring::{Keyring, Sources};
use chancery::ca::authority::Authority;
use chancery::ca::material::Material;
use chancery::clock::Clock;
use chancery::model::identity::Identity;
use chancery::model::world::{State, World};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::private::Private;
use chancery::telemetry::Metrics;
use chancery::xds::trust::Keyring as _;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What the time is when a test begins.
const BEGUN: u64 = 1_800_000_000;
/// More than a root lasts that is made here.
const TEN_YEARS: i64 = 10 * 366 * DAY as i64;
const SECOND: Duration = Duration::from_secs(1);
/// By when what is to be signed anew has been, after the clock was set.
const SOON: Duration = Duration::from_secs(5);

/// From when to when a certificate counts.
type Span = (u64, u64);

/// A keyring whose clock can be set, and that renews.
struct Stage {
    set: Arc<AtomicI64>,
    clock: Clock,
    keyring: Arc<Keyring>,
    metrics: Metrics,
    _told: (watch::Sender<Option<Arc<Authority>>>, watch::Sender<Option<State>>),
}

impl Stage {
    fn new(lasts: Duration) -> Self {
        let (set, begun) = (Arc::new(AtomicI64::new(0)), Instant::now());
        let by = set.clone();
        let wall = move || Duration::from_secs(BEGUN.saturating_add_signed(by.load(Ordering::Relaxed)));
        let clock = Clock::of(move || wall() + begun.elapsed());
        let material = Material::self_signed(clock.now()).expect("a root");
        let authority = Authority::new(&material, clock.now()).expect("an authority");
        let (authorities, states) = (
            watch::Sender::new(Some(Arc::new(authority))),
            watch::Sender::new(Some(State { world: World::default(), since: None })),
        );
        let metrics = Metrics::new();
        let sources =
            Sources { authorities: authorities.subscribe(), states: states.subscribe(), clock: clock.clone() };
        let keyring = Arc::new(Keyring::new(sources, lasts, metrics.security.clone()));
        tokio::spawn(keyring.clone().run());
        Self { set, clock, keyring, metrics, _told: (authorities, states) }
    }

    /// Sets the clock so many seconds ahead of what it would be; back, if that is less than none.
    fn set(&self, seconds: i64) {
        self.set.store(seconds, Ordering::Relaxed);
    }

    /// What somebody is given who comes.
    fn hold(&self) -> Arc<Private> {
        self.keyring.hold(&Identity::new("shop".into(), "cart".into()), None, None)
    }

    fn counts(&self, span: Option<Span>) -> bool {
        span.is_some_and(|(from, until)| (from..until).contains(&self.clock.now()))
    }

    /// How many certificates were signed, and how many could not be.
    fn signed(&self) -> [u64; 2] {
        let text = self.metrics.render();
        ["chancery_ca_certificates_signed_total ", "chancery_ca_signing_failures_total "].map(|name| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|count| count.parse().ok()).expect("a metric")
        })
    }
}

/// From when to when the certificate counts that is on it, if there is one.
fn shown(private: &Private) -> Option<Span> {
    let layer = private.newest();
    let secret: Secret = layer.get(Kind::Secret, "default")?.message().expect("a secret");
    let Some(Type::TlsCertificate(tls)) = secret.r#type else { unreachable!("it is a certificate") };
    let Some(Specifier::InlineBytes(chain)) = tls.certificate_chain.and_then(|chain| chain.specifier) else {
        unreachable!("it is inline")
    };
    let der = CertificateDer::from_pem_slice(&chain).expect("a certificate");
    let (_, parsed) = X509Certificate::from_der(&der).expect("a certificate");
    let [from, until] = [parsed.validity().not_before, parsed.validity().not_after].map(|time| time.timestamp());
    Some((from as u64, until as u64))
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_out_that_does_not_count() {
    let day = DAY as i64;
    for (jump, over) in [(day, true), (-day, true), (day / 4, false), (-day / 4, true), (600, false), (-600, false)] {
        let stage = Stage::new(Duration::from_secs(DAY));
        let held = stage.hold();
        sleep(Duration::from_secs(3600)).await;
        let before = shown(&held);
        assert!(stage.counts(before), "{jump}: the control: it counts by the clock as it was");
        stage.set(jump);
        assert_eq!(stage.counts(before), !over, "{jump}: the control: what was handed out counts, or doesn't");
        assert!(stage.counts(shown(&stage.hold())), "{jump}: who comes at once");
        sleep(SOON).await;
        assert!(stage.counts(shown(&held)), "{jump}: who was there");
        let [signed, _] = stage.signed();
        for _ in 0..3600 {
            sleep(SECOND).await;
            assert!(stage.counts(shown(&held)) && stage.counts(shown(&stage.hold())), "{jump}");
        }
        assert_eq!(stage.signed(), [signed, 0], "{jump}: and nothing is signed again and again");
        assert!(signed <= 3, "{jump}: {signed}");
        stage.set(0);
        sleep(SOON).await;
        assert!(stage.counts(shown(&held)) && stage.counts(shown(&stage.hold())), "{jump}: and back");
    }
}

/// Where nothing can be signed that counts, because the authority doesn't, who comes is given nothing, and who has something
/// keeps it: the clock may be wrong. When it is right again both are served.
#[tokio::test(start_paused = true)]
async fn who_comes_when_the_authority_is_over_is_given_nothing_and_nobody_loses_anything() {
    let stage = Stage::new(Duration::from_secs(DAY));
    let held = stage.hold();
    let before = shown(&held);
    stage.set(TEN_YEARS);
    let come = stage.hold();
    assert_eq!(shown(&come), None);
    assert!(!stage.counts(before), "the control: it had not counted");
    for _ in 0..600 {
        sleep(SECOND).await;
        assert_eq!((shown(&held), shown(&stage.hold())), (before, None));
    }
    let [signed, failed] = stage.signed();
    assert_eq!(signed, 1);
    assert!((10..=130).contains(&failed), "it was tried {failed} times in ten minutes");
    stage.set(0);
    sleep(2 * SOON).await;
    for private in [&held, &come, &stage.hold()] {
        assert!(stage.counts(shown(private)), "{:?} at {}", shown(private), stage.clock.now());
    }
}

/// While clocks are set by minutes, each certificate is one that whoever is ten minutes early or late takes, and it is signed
/// about twice in its life.
#[tokio::test(start_paused = true)]
async fn who_is_ten_minutes_early_or_late_takes_what_is_handed_out() {
    let stage = Stage::new(Duration::from_secs(DAY));
    let held = stage.hold();
    let (mut random, mut by) = (fastrand::Rng::with_seed(24), 0);
    let hours = 24 * 10;
    for hour in 0..hours {
        sleep(Duration::from_secs(3600)).await;
        by += random.i64(-600..=600);
        stage.set(by);
        sleep(SOON).await;
        let (from, until) = shown(&held).expect("a certificate");
        let now = stage.clock.now();
        assert!(from + 600 <= now && now + 600 < until, "hour {hour}: {from} to {until} at {now}");
    }
    let [signed, failed] = stage.signed();
    assert_eq!(failed, 0);
    // Half a day each, and some that a clock that was set back has made early.
    assert!((18..60).contains(&signed), "{signed} in ten days");
}

/// What a certificate says is known before there is one: who comes back with what it has costs neither a key nor a signature,
/// nor does a renewal that nobody is sent. The control: what is sent is signed, and once for all who are sent it.
#[tokio::test(start_paused = true)]
async fn only_what_is_sent_is_signed() {
    let stage = Stage::new(Duration::from_secs(DAY));
    let version = |private: &Private| private.newest().get(Kind::Secret, "default").expect("a secret").version();
    let hold = |held| stage.keyring.hold(&Identity::new("shop".into(), "cart".into()), None, held);
    let first = hold(None);
    let held = version(&first);
    assert_eq!(stage.signed(), [0, 0], "nobody was sent it");
    let sent = shown(&first);
    assert!(stage.counts(sent) && shown(&hold(None)) == sent);
    assert_eq!(stage.signed(), [1, 0]);
    drop(first);
    for _ in 0..100 {
        sleep(SECOND).await;
        assert_eq!(version(&hold(Some(held))), held);
    }
    assert_eq!(stage.signed(), [1, 0], "it has it");
    let there = hold(Some(held));
    sleep(Duration::from_secs(DAY)).await;
    assert_ne!(version(&there), held, "it was renewed");
    assert_eq!(stage.signed(), [1, 0], "and nobody was sent it");
    assert!(stage.counts(shown(&there)));
    assert_eq!(stage.signed(), [2, 0], "the control");
}

/// Nobody signs what is over when it begins, whoever asks.
#[test]
fn an_authority_that_is_over_signs_nothing() {
    let authority = Authority::new(&Material::self_signed(BEGUN).expect("a root"), BEGUN).expect("an authority");
    let over = authority.until();
    let signed =
        |now| authority.issue("spiffe://cluster.local/ns/shop/sa/cart", now, now + DAY).map(|issued| issued.until);
    let served =
        |now| authority.serve(&["chancery".to_owned()], now, Duration::from_secs(DAY)).map(|served| served.until);
    for refused in [signed(over), served(over)] {
        assert_eq!(refused.expect_err("it is over").to_string(), "ca-cert.pem: it has expired");
    }
    assert_eq!(signed(over - 1).expect("the control: a second before"), over);
}
