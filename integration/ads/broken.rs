//! An authority that goes bad, in each way there is, and one whose time is over: what is in use stays, loudly, and a good one
//! takes over without a restart.

use crate::secure::{DAY, Secure, asking, cart, now, pair_in, secrets};
use crate::stage::{Delta, NODE_ID, PATIENCE, until, until_within, value};
use chancery::ca::authority::Authority;
use chancery::ca::material::{Material, names};
use chancery::model::sensitive::Sensitive;
use chancery::snapshot::kind::Kind;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// How long the authority lasts that is about to end, in seconds.
const BRIEFLY: u64 = 8;

/// Writes parts over those that are there.
pub fn put(secure: &Secure, material: &Material) {
    let file = |name| secure.folder.path().join(name);
    fs::write(file(names::ROOTS), &material.roots).expect("written");
    fs::write(file(names::CERTIFICATE), &material.certificate).expect("written");
    fs::write(file(names::KEY), material.key.expose()).expect("written");
}

fn is_broken(secure: &Secure) -> bool {
    value(&secure.stage, "chancery_ca_broken") == 1
}

/// Waits until it is known that the authority is broken, or good.
async fn known(secure: &Secure, broken: bool, what: &str) {
    until(&format!("{what}: it is known whether it is broken"), || is_broken(secure) == broken).await;
}

/// A root that ends in so many seconds; ends before now, if that is less than none.
pub fn ending(seconds: i64) -> Material {
    let fresh = Authority::new(&Material::self_signed(now()).expect("a root"), now()).expect("an authority");
    let begun = now().saturating_add_signed(seconds) - (fresh.until() - now());
    Material::self_signed(begun).expect("a root")
}

/// A workload that comes gets a certificate with which it is let in.
async fn serves(secure: &Secure, what: &str) {
    let mut client = secure.asks(&secure.token(&cart(), DAY), &["default", "ROOTCA"], BTreeMap::new()).await;
    secure.place(&cart()).await;
    let pair = pair_in(&secrets(&mut client, &["default"]).await.expect("secrets"));
    drop(client);
    let channel = secure.channel(Some(&pair)).await.expect(what);
    let begun = Delta::begin(channel, None, asking(Kind::Cluster, NODE_ID, Vec::new())).await;
    assert!(begun.is_ok(), "{what}: {:?}", begun.err());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_the_authority_the_last_good_one_signs() {
    let secure = Secure::new(DAY).await;
    let good = secure.folder.read_all().expect("an authority");
    let other = Material::self_signed(now()).expect("a root");
    serves(&secure, "the control").await;
    for (what, broken) in [
        ("garbage", Material { key: Sensitive::new(b"garbage".to_vec()), ..good.clone() }),
        ("another key", Material { key: other.key.clone(), ..good.clone() }),
        ("other roots", Material { roots: other.roots.clone(), ..good.clone() }),
        ("expired", ending(-60)),
    ] {
        put(&secure, &broken);
        known(&secure, true, what).await;
        serves(&secure, what).await;
        put(&secure, &good);
        known(&secure, false, what).await;
    }
    fs::remove_file(secure.folder.path().join(names::KEY)).expect("removed");
    known(&secure, true, "deleted").await;
    serves(&secure, "deleted").await;
}

/// The server's certificate can't outlive its authority, and is told of long before; nobody shakes hands once it has ended, and
/// with another authority everybody does, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_can_not_be_renewed_is_told_of_and_replaced_later() {
    let mut secure = Secure::of(ending(BRIEFLY as i64)).await;
    let expiry = |secure: &Secure, of: &str| {
        let metrics = secure.stage.metrics();
        let name = format!("chancery_ca_expiry_timestamp_seconds{{certificate=\"{of}\"}} ");
        let found = metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok());
        found.unwrap_or_else(|| panic!("no expiry of {of}: {metrics}"))
    };
    for certificate in ["authority", "server"] {
        assert!(expiry(&secure, certificate) <= now() + BRIEFLY, "{certificate}: worth an alert");
    }
    assert!(secure.channel(None).await.is_ok(), "the control: it is good yet");
    let limit = PATIENCE + Duration::from_secs(BRIEFLY);
    until_within(limit, "it is over, and told of", || is_broken(&secure)).await;
    let deadline = Instant::now() + PATIENCE;
    while secure.channel(None).await.is_ok() {
        assert!(Instant::now() < deadline, "its time is over, and it is taken all the same");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let next = Material::self_signed(now()).expect("a root");
    put(&secure, &next);
    secure.trusted = next.roots;
    known(&secure, false, "the next").await;
    assert!(secure.channel(None).await.is_ok());
    assert!(expiry(&secure, "server") > now() + 3600, "the control: nothing is worth an alert any more");
}
