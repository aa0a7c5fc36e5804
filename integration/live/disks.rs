//! The directory of the authority on a disk of its own, which has no room, or can't be written to: whoever serves with it goes on, and
//! what would have to be written is refused with a reason, and whole or not at all.

use crate::harness::envoy::{Setup, Wire};
use crate::harness::scene::{SOON, Scene};
use crate::harness::spawner::{self, Process};
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline, tools};
use crate::identity::{authenticated, hands_were_shaken, signed};
use crate::on;
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long certificates last, and how many of them are renewed while the disk is as it is: those of all three proxies.
const LIFETIME: &str = "4s";
const RENEWED: f64 = 3.0;
/// Longer than all steps take.
const LONG: Duration = Duration::from_secs(120);

/// A disk of one MiB. It is mounted where one process sees it, and gone with that process; everybody else finds it by way of
/// what that process sees.
struct Disk {
    at: PathBuf,
    keeper: Process,
}

impl Disk {
    async fn mount(files: &Path) -> Outcome<Self> {
        let (at, log) = (files.join("disk"), files.join("disk.log"));
        fs::create_dir(&at)?;
        let script = "mount -t tmpfs -o size=1m,mode=700 none \"$0\" && mkdir \"$0/identity\" && exec sleep 86400";
        let arguments = ["--mount", "sh", "-c", script, &at.to_string_lossy()];
        let keeper = spawner::start("a disk", Path::new("unshare"), &arguments, &log)?;
        let disk = Self { at, keeper };
        let there = async || disk.identity().is_dir().then_some(());
        deadline::until("the disk is mounted", SOON, there)
            .await
            .map_err(|failure| failure.with(&disk.keeper.tail()))?;
        Ok(disk)
    }

    /// Where it is found.
    fn root(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.keeper.id(), self.at.display()))
    }

    fn identity(&self) -> PathBuf {
        self.root().join("identity")
    }

    /// From now on there is no room for anything. The control: whoever writes is told.
    fn fill(&self) -> Outcome<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.root().join("ballast"))?;
        loop {
            match file.write(&[0; 4096]).map_err(|error| error.kind()) {
                Ok(_) => {}
                Err(ErrorKind::StorageFull) => return Ok(()),
                Err(other) => return Err(Failure::new(other.to_string())),
            }
        }
    }

    /// There is room again.
    fn free(&self) -> Outcome<()> {
        Ok(fs::remove_file(self.root().join("ballast"))?)
    }

    /// It can be written to from now on, or can't. The control: whoever writes is told.
    fn writable(&self, writable: bool) -> Outcome<()> {
        let mode = if writable { "remount,rw" } else { "remount,ro" };
        let space = format!("--mount=/proc/{}/ns/mnt", self.keeper.id());
        let done = Command::new("nsenter").arg(space).args(["mount", "-o", mode]).arg(&self.at).output()?;
        let written = fs::write(self.root().join("control"), "").map_err(|error| error.kind());
        match (done.status.success(), written) {
            (true, Ok(())) if writable => Ok(()),
            (true, Err(ErrorKind::ReadOnlyFilesystem)) if !writable => Ok(()),
            other => Err(Failure::new(format!("{mode}: {other:?} {}", String::from_utf8_lossy(&done.stderr)))),
        }
    }

    /// What is in the directory, by name.
    fn content(&self) -> Outcome<BTreeMap<PathBuf, Vec<u8>>> {
        let files = fs::read_dir(self.identity())?.map(|entry| {
            let path = entry?.path();
            Ok((path.clone(), fs::read(path)?))
        });
        files.collect()
    }
}

/// A scene whose authority is to be on a disk; nothing is on it, and chancery doesn't run.
async fn scene() -> Outcome<(Scene, Disk)> {
    let mut scene = Scene::prepared().await?;
    scene.chancery.kill()?;
    scene.chancery.secure = true;
    let disk = Disk::mount(scene.files.path()).await?;
    std::os::unix::fs::symlink(disk.identity(), scene.chancery.identity())?;
    Ok((scene, disk))
}

/// Makes the next step to another root, or is told why it can't be.
fn rotate(scene: &Scene) -> Outcome<String> {
    let identity = scene.chancery.identity().to_string_lossy().into_owned();
    spawner::output(&tools::chancery()?, &["cert", "rotate", "--identity", &identity, "--now"])
}

/// Where there is no room for an authority none is made, which is said; with room there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_no_authority_is_made() -> Outcome<()> {
    let (mut scene, disk) = scene().await?;
    for full in [true, false] {
        if full {
            disk.fill()?
        } else {
            disk.writable(false)?
        }
        scene.chancery.launch()?;
        let status = scene.chancery.ended(SOON * 4).await.map_err(|failure| failure.with(&scene.chancery.tail()))?;
        let (said, reason) =
            (scene.chancery.written(), if full { "No space left on device" } else { "Read-only file system" });
        assert!(status.code() == Some(1) && said.contains(reason) && said.contains("identity"), "{status} {said}");
        if full { disk.free()? } else { disk.writable(true)? }
    }
    scene.chancery.restart().await?;
    assert!(disk.content()?.keys().any(|path| path.ends_with("ca-key.pem")));
    Ok(())
}

/// Under load certificates are renewed, and chancery starts again, whatever becomes of the disk; the authority stays as it is
/// until there is room for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_an_authority_serves_without_a_disk() -> Outcome<()> {
    let (mut scene, disk) = scene().await?;
    scene.chancery.restart().await?;
    let setup = Setup::new(Wire::Delta, Release::Newest);
    authenticated(&mut scene, setup, LIFETIME).await?;
    on(scene, async |scene| {
        let mut load = scene.traffic();
        load.time = LONG;
        let load = load.start();
        let before = disk.content()?;
        for full in [true, false] {
            if full {
                disk.fill()?
            } else {
                disk.writable(false)?
            }
            let refused = rotate(scene).expect_err("there is no room for another root").to_string();
            let reason = if full { "No space left on device" } else { "Read-only file system" };
            assert!(refused.contains(reason), "{refused}");
            renewed(scene).await?;
            scene.chancery.kill()?;
            scene.chancery.restart().await?;
            scene.settled_within(crate::harness::scene::RECONNECT).await?;
            renewed(scene).await?;
            if full {
                disk.free()?
            } else {
                disk.writable(true)?
            }
            let mut after = disk.content()?;
            after.retain(|path, _| path.extension().is_none_or(|end| end != "new"));
            assert!(after == before, "the authority is another: {:?}, {:?}", before.keys(), after.keys());
        }
        // The control: with room there is another.
        rotate(scene)?;
        assert!(disk.content()? != before);
        renewed(scene).await?;
        load.stopped().await?.clean()?;
        hands_were_shaken(scene).await
    })
    .await
}

/// Waits until every proxy has another certificate.
async fn renewed(scene: &Scene) -> Outcome<()> {
    let before = signed(scene).await?;
    let more = async || (signed(scene).await.ok()? >= before + RENEWED).then_some(());
    deadline::until("certificates are renewed", SOON * 4, more).await
}
