//! The limit of memory as the kernel keeps it: a control group of its own, of either version. Near it chancery takes no new streams, and the
//! kernel has no reason to end it; ended all the same, it starts again.

use crate::harness::scene::Scene;
use crate::harness::{Failure, Outcome, deadline, tools};
use crate::memory::{FLEET, MIB, metric, rush};
use crate::on;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Where groups are, and what the files are called that limit memory and say who was ended.
const VERSIONS: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
    ("/sys/fs/cgroup", "memory.max", "memory.events"),
];
/// What no chancery can do with, in bytes.
const TOO_LITTLE: u64 = 4 << 20;
/// How long the kernel may try to make room before it ends somebody.
const LONG: Duration = Duration::from_secs(60);
/// How often a group is tried to be removed whose last process has ended just now.
const TRIES: u32 = 100;

/// A control group; removed when dropped.
struct Group {
    path: PathBuf,
    limit: PathBuf,
    ended: PathBuf,
}

impl Group {
    /// A new one; none where the machine lets nobody make one.
    fn make() -> Option<Self> {
        VERSIONS.into_iter().find_map(|(root, limit, ended)| {
            let path = Path::new(root).join(format!("chancery-test-{}", std::process::id()));
            let group = Self { limit: path.join(limit), ended: path.join(ended), path };
            fs::create_dir(&group.path).ok()?;
            // Without the controller there is a group, but no limit.
            group.limit.exists().then_some(group)
        })
    }

    /// From now on so much memory may be used in it.
    fn limit(&self, bytes: u64) -> Outcome<()> {
        Ok(fs::write(&self.limit, bytes.to_string())?)
    }

    /// How many processes the kernel has ended in it.
    fn ended(&self) -> Outcome<u64> {
        let text = fs::read_to_string(&self.ended)?;
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.ok_or_else(|| Failure::new(format!("{}: {text}", self.ended.display())))
    }

    /// A program that is chancery in the group, from its first page on.
    fn program(&self, folder: &Path) -> Outcome<PathBuf> {
        let (path, procs, chancery) = (folder.join("grouped"), self.path.join("cgroup.procs"), tools::chancery()?);
        let (procs, chancery) = (procs.display(), chancery.display());
        fs::write(&path, format!("#!/bin/sh\necho $$ >'{procs}' && exec '{chancery}' \"$@\"\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Everybody comes back at once, in a group with a limit in the middle between what nobody and what everybody needs: some are refused, nobody is
/// ended. The control is a limit that is too small for anything: the kernel ends who goes beyond, and a start after that is as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kernel_ends_nobody_who_keeps_to_the_limit() -> Outcome<()> {
    let Some(group) = Group::make() else {
        println!("no control group for memory can be made here: what `--memory-limit-mib` does is shown elsewhere");
        return Ok(());
    };
    on(Scene::prepared().await?, async |scene| {
        scene.chancery.kill()?;
        scene.chancery.program = Some(group.program(scene.files.path())?);
        group.limit(TOO_LITTLE)?;
        scene.chancery.launch()?;
        let status = scene.chancery.ended(LONG).await?;
        assert!(status.signal() == Some(9) && group.ended()? > 0, "{status}, {} ended", group.ended()?);

        group.limit(1 << 40)?;
        scene.chancery.restart().await?;
        let least = metric(&scene.chancery.api(), "chancery_memory_resident_bytes").await? / MIB;
        scene.chancery.kill()?;
        let (fleet, most) = rush(scene, Vec::new()).await?;
        assert_eq!(fleet.taken.load(Ordering::Relaxed), u64::from(FLEET));
        scene.chancery.kill()?;
        drop(fleet);
        // New streams are refused from 85 % on.
        let limit = (f64::midpoint(least, most) / 0.85).ceil();
        group.limit((limit * MIB) as u64)?;
        let before = group.ended()?;
        let (fleet, held) = rush(scene, Vec::new()).await?;
        let taken = fleet.taken.load(Ordering::Relaxed);
        println!("{least:.0} MiB alone, {most:.0} with {FLEET}; limit {limit:.0}: {held:.0} MiB with {taken}");
        assert_eq!(metric(&scene.chancery.api(), "chancery_memory_limit_bytes").await?, limit * MIB);
        assert_eq!(group.ended()?, before, "the kernel has ended somebody");
        assert!(
            (1..u64::from(FLEET)).contains(&taken),
            "{least} MiB alone, {most} with all; {limit}: {held} with {taken}"
        );
        let stays = async || scene.chancery.api().is_ready().await;
        deadline::throughout("it goes on", Duration::from_secs(2), stays).await
    })
    .await
}
