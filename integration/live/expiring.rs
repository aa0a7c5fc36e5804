//! A certificate of the server's that ends before there is another one: it is told, whoever is connected stays and is served, who comes
//! waits, and everybody is there again once the next one is on the disk.

use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{HOST, RECONNECT, SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chancery::ca::authority::Authority;
use chancery::ca::folder::Folder;
use chancery::clock::Clock;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long the first certificate lasts: longer than it takes to start with it.
const LASTS: Duration = Duration::from_secs(20);
/// How long it may take until it has ended and that is noticed.
const ENDED: Duration = Duration::from_secs(60);
/// Longer than all steps take.
const LONG: Duration = Duration::from_secs(120);

/// The control: who comes before the certificate ends is let in by it, and who comes afterwards is not until there is the next.
pub async fn a_server_certificate_that_ends_harms_nobody_who_is_there(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?, async |scene| {
        let given = scene.files.path().join("given");
        fs::create_dir_all(&given)?;
        sign(&scene.chancery.identity(), &given, LASTS)?;
        scene.folder.replace(TRAFFIC, &reweighted(&scene.folder.read(TRAFFIC)?, &[("v1", 100), ("v2", 0)]))?;
        let flag = given.to_string_lossy();
        scene.chancery.flags = ["--server-certificate", &*flag].map(str::to_owned).to_vec();
        scene.chancery.kill()?;
        scene.chancery.restart().await?;
        for pod in ["client", "echo-v1"] {
            let envoy = scene.started(pod, setup).await?;
            scene.envoys.push(envoy);
        }
        scene.settled_within(RECONNECT).await?;
        let ends = metric(scene, "chancery_ca_expiry_timestamp_seconds", &[("certificate", "server")]).await;
        let left = ends.unwrap_or_default() - Clock::system().now() as f64;
        if !(-60.0..=LASTS.as_secs_f64()).contains(&left) {
            return Err(Failure::new(format!("the server's certificate is said to end in {left} s")));
        }
        let load = Load::steady(scene.http(), HOST, LONG).start();
        let broken = async || (metric(scene, "chancery_ca_broken", &[]).await? == 1.0).then_some(());
        deadline::until("it is told that it has ended", ENDED, broken).await?;
        // Who is there goes on, and hears of changes.
        moves(scene, "tester", "critic").await?;
        let failed = async || metric(scene, "chancery_xds_refusals_total", &[("reason", "handshake")]).await;
        let before = failed().await.unwrap_or_default();
        let late = scene.launched_of("echo-v2", setup)?;
        let refused = async || (failed().await? > before).then_some(());
        deadline::until("who comes doesn't believe it", RECONNECT, refused).await?;
        if late.is_ready().await == Some(true) {
            return Err(Failure::new("a proxy was configured by a server whose certificate has ended"));
        }
        scene.envoys.push(late);
        sign(&scene.chancery.identity(), &given, Duration::from_secs(3600))?;
        let good = async || (metric(scene, "chancery_ca_broken", &[]).await? == 0.0).then_some(());
        deadline::until("there is another one", RECONNECT, good).await?;
        scene.settled_within(2 * RECONNECT).await?;
        moves(scene, "critic", "tester").await?;
        scene.folder.replace(TRAFFIC, &reweighted(&scene.folder.read(TRAFFIC)?, &[("v1", 50), ("v2", 50)]))?;
        let reaches = async || scene.requests(20).run().await.ok()?.of("v2").gt(&0).then_some(());
        deadline::until("requests reach who was late", SOON, reaches).await?;
        load.stopped().await?.clean()
    })
    .await
}

/// Puts a certificate of the authority on the disk, as a kubelet would.
fn sign(identity: &Path, folder: &Path, lasts: Duration) -> Outcome<()> {
    let now = Clock::system().now();
    let served =
        Authority::new(&Folder::new(identity).read_all()?, now)?.serve(&["chancery".to_owned()], now, lasts)?;
    let files = [("tls.crt", "CERTIFICATE", &*served.chain[0]), ("tls.key", "PRIVATE KEY", served.key.secret_der())];
    for (name, label, der) in files {
        let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der));
        let beside = folder.join(name).with_extension("new");
        fs::write(&beside, text)?;
        fs::rename(beside, folder.join(name))?;
    }
    Ok(())
}

pub async fn metric(scene: &Scene, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    Some(scene.chancery.api().metrics().await.ok()?.sum(name, labels))
}

/// An edit of the routes arrives at who has asked for them. Returns when, by chancery's clock.
pub async fn moves(scene: &Scene, from: &str, to: &str) -> Outcome<SystemTime> {
    let (api, text) = (scene.chancery.api(), scene.folder.read(TRAFFIC)?);
    let before = api.accepted("rds").await?;
    scene.folder.replace(TRAFFIC, &text.replace(&format!("exact: {from}"), &format!("exact: {to}")))?;
    api.moved("rds", &before, SOON).await.map_err(|failure| failure.with(&scene.chancery.tail()))
}
