//! A disk that is full: chancery needs none. What it would log is lost, and nothing else.

use crate::harness::cluster::ADMIN;
use crate::harness::{Failure, Outcome};
use crate::shared;
use crate::stage::{Stage, slice};
use crate::waiting;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

/// What a disk without room for anything answers.
const FULL: &str = "/dev/full";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_the_log_and_nothing_else() -> Outcome<()> {
    // The control: whoever writes there is told.
    let written = fs::OpenOptions::new().append(true).open(FULL)?.write_all(b"x");
    assert_eq!(written.map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, "disk").await?;
    stage.chancery.write_to(Path::new(FULL));
    stage.chancery.flags.extend(["--log-level", "debug"].map(str::to_owned));
    stage.record().await?;
    let load = stage.traffic(Duration::from_secs(60)).start();
    for address in ["10.9.0.31", "10.9.0.32", "10.9.0.33"] {
        cluster.apply(&slice("disk", "inside", &[address])).await?;
        stage.has_endpoints("inside", &[address]).await?;
    }
    // A problem is logged as well, and said where it can be.
    cluster.apply(&waiting::timeout("disk", "9s").replace("host: inside", "host: nobody")).await?;
    let problems = crate::harness::deadline::until("the problem is told", crate::stage::SOON, async || {
        let problems = stage.chancery.api().problems().await.ok()?;
        problems.into_iter().find(|problem| problem.object.as_deref() == Some("VirtualService disk/slow"))
    });
    let problem = problems.await?;
    assert!(problem.text.contains("nobody"), "{problem:?}");
    load.stopped().await?.clean()?;
    let mut open = written_files(stage.chancery.pid().ok_or_else(|| Failure::new("chancery has ended"))?)?;
    // What whoever started this test left open is not its doing.
    let inherited = written_files(std::process::id())?;
    open.retain(|path| path == FULL || !inherited.contains(path));
    assert!(open.iter().all(|path| path == FULL || path == "/dev/null"), "it writes to {open:?}");
    assert!(open.iter().any(|path| path == FULL), "{open:?}");
    stage.has_lost_nothing(&cluster).await
}

/// The paths of files that a process may write to.
fn written_files(pid: u32) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let number = entry?.file_name().to_string_lossy().into_owned();
        let (Ok(target), Ok(info)) = (
            fs::read_link(format!("/proc/{pid}/fd/{number}")),
            fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")),
        ) else {
            continue;
        };
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        // Sockets and the like are no paths; the lowest bits say whether it is open for writing.
        if target.starts_with('/') && flags & 3 != 0 {
            found.push(target);
        }
    }
    Ok(found)
}
