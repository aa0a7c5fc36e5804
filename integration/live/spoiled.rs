//! An authority that goes bad under load, in each way there is: the last good one goes on signing, and it is said what is wrong.

use crate::harness::envoy::Setup;
use crate::harness::scene::Scene;
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline};
use crate::identity::{authenticated, hands_were_shaken, signed};
use crate::on;
use crate::roots::another_at_once;
use chancery::ca::authority::Authority;
use chancery::ca::folder::Folder;
use chancery::ca::material::{Material, names};
use chancery::clock::Clock;
use chancery::model::sensitive::Sensitive;
use std::time::Duration;

/// Longer than all steps take.
const LONG: Duration = Duration::from_secs(180);
/// How long each may take: the authority is looked at every two seconds, and certificates are renewed as often.
const SOON: Duration = Duration::from_secs(15);
/// How long certificates last.
const LIFETIME: &str = "4s";
/// What each of the three proxies has anew while the authority is broken.
const RENEWED: f64 = 3.0;
/// How the log begins to tell of it.
const LOUD: &str = "what was good last stays in use: ";
/// In place of a key.
const GARBAGE: &str = "this-is-no-key";

/// A broken authority is noticed, told with the part that is wrong, and not used: certificates that end meanwhile are renewed by
/// the last good one, and no request or handshake fails. The control, where the release can come back to a server of another authority: a
/// certificate that others don't trust fails requests.
pub async fn a_broken_authority_is_told_of_and_not_used(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        authenticated(scene, setup, LIFETIME).await?;
        let good = Folder::new(scene.chancery.identity()).read_all()?;
        let (other, expired) = (Material::self_signed(Clock::system().now())?, expired()?);
        let key = |bytes: &[u8]| Material { key: Sensitive::new(bytes.to_vec()), ..good.clone() };
        let broken = [
            ("ca-key.pem: it is not a private key in PKCS#8 PEM", key(GARBAGE.as_bytes())),
            ("ca-key.pem: it is the key of another certificate", key(other.key.expose())),
            ("ca-cert.pem: it has expired", Material { roots: good.roots.clone(), ..expired }),
            ("ca-key.pem: it is missing", key(b"")),
        ];
        let mut load = scene.traffic();
        load.time = LONG;
        let load = load.start();
        for (words, material) in broken {
            spoiled(scene, words, (&material, &good)).await.map_err(|failure| failure.with(words))?;
        }
        load.stopped().await?.clean()?;
        hands_were_shaken(scene).await?;
        if scene.chancery.written().contains(GARBAGE) {
            return Err(Failure::new("what is in place of the key was shown"));
        }
        match setup.release {
            Release::Newest => another_at_once(scene).await,
            _ => Ok(()),
        }
    })
    .await
}

/// An authority whose time was over a minute ago.
fn expired() -> Outcome<Material> {
    let lasts = Authority::new(&Material::self_signed(Clock::system().now())?, Clock::system().now())?.until()
        - Clock::system().now();
    Ok(Material::self_signed(Clock::system().now() - 60 - lasts)?)
}

/// Puts a broken authority in place of the good one and, when that has been told with these words and certificates have been
/// renewed all the same, the good one back.
async fn spoiled(scene: &Scene, words: &str, (broken, good): (&Material, &Material)) -> Outcome<()> {
    let said = || scene.chancery.written().lines().any(|line| is_loud(line, words));
    if said() || is_broken(scene).await? {
        return Err(Failure::new("the control: something is wrong already"));
    }
    put(scene, broken)?;
    let noticed = async || (is_broken(scene).await.ok()? && said()).then_some(());
    deadline::until("it is told of", SOON, noticed).await?;
    let before = signed(scene).await?;
    let renewed = async || (signed(scene).await.ok()? >= before + RENEWED).then_some(());
    deadline::until("certificates are renewed all the same", SOON, renewed).await?;
    if !is_broken(scene).await? || !scene.chancery.api().is_ready().await {
        return Err(Failure::new("it isn't broken any more, or nobody is ready"));
    }
    put(scene, good)?;
    let mended = async || (!is_broken(scene).await.ok()?).then_some(());
    deadline::until("it is mended", SOON, mended).await?;
    scene.settled_within(SOON).await
}

fn is_loud(line: &str, words: &str) -> bool {
    line.contains("ERROR") && line.contains(LOUD) && line.contains(words)
}

async fn is_broken(scene: &Scene) -> Outcome<bool> {
    Ok(scene.chancery.api().metrics().await?.sum("chancery_ca_broken", &[]) > 0.0)
}

/// Puts an authority in place of the one that is there; one without a key has no file for it.
fn put(scene: &Scene, material: &Material) -> Outcome<()> {
    let text = |text: &str| Some(Sensitive::new(text.as_bytes().to_vec()));
    let key = (!material.key.expose().is_empty()).then(|| material.key.clone());
    let parts = vec![
        (names::ROOTS, text(&material.roots)),
        (names::CERTIFICATE, text(&material.certificate)),
        (names::KEY, key),
    ];
    Ok(Folder::new(scene.chancery.identity()).change(parts)?)
}
