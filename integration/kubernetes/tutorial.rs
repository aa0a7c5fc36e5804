//! The tutorial on a cluster, done as its text says: its command blocks in order, in one shell, with the output that it promises.
//!
//! The shell is in network, mount and process namespaces of its own, so that its addresses, ports and `/tmp` never meet this
//! machine's, and nothing stays whatever happens. Only the programs are swapped for the run's.

use crate::harness::network::requirements;
use crate::harness::spawner;
use crate::harness::steps::{judge, script, steps};
use crate::harness::{Failure, Outcome, tools};
use std::path::Path;
use std::time::Duration;

const PAGE: &str = "docs/tutorials/on-a-cluster.md";
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(180);
/// The machine before the first step: its own, but with nothing in it.
const BEFORE: &str = "set -euo pipefail; mount -t tmpfs none /tmp; ip link set lo up\n";
/// What must be gone after the last step.
const AFTER: &str = "ls -A /tmp; ip -4 address show dev lo | grep 10.77 || true; ss -Hltn\n";

async fn follow(page: &str) -> Outcome<()> {
    requirements::check()?;
    let here = [
        ("\"$(integration/tools/fetch envoy)\"", tools::envoy(tools::Release::Newest)?),
        ("\"$(integration/tools/fetch kubectl)\"", tools::kubernetes("kubectl")?),
        ("target/debug/chancery", tools::chancery()?),
    ];
    let page = here.iter().fold(page.to_owned(), |page, (from, to)| page.replace(from, &to.display().to_string()));
    let steps = steps(&page);
    let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
    let before = format!("cd '{}'; {BEFORE}", tools::root().display());
    let (log, script) = (files.path().join("log"), script(&before, &steps, AFTER));
    let alone = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", &script];
    let mut shell = spawner::start("the tutorial", Path::new("/usr/bin/unshare"), &alone, &log)?;
    let ended = shell.ended(LIMIT).await;
    let output = std::fs::read_to_string(&log)?;
    ended.map_err(|failure| failure.with(&output))?;
    judge(PAGE, &steps, &output)
}

#[tokio::test]
async fn the_tutorial_does_what_it_says() -> Outcome<()> {
    follow(&std::fs::read_to_string(tools::root().join(PAGE))?).await
}

/// The control: something that is printed otherwise, or left behind.
#[tokio::test]
async fn a_tutorial_that_is_wrong_is_noticed() -> Outcome<()> {
    let right = "```sh\necho one > /tmp/one; cat /tmp/one; rm /tmp/one\n```\n```text\none\n```\n";
    follow(right).await?;
    for wrong in
        [right.replace("echo one", "echo two"), right.replace("; rm /tmp/one", ""), right.replace("rm", "false; rm")]
    {
        if follow(&wrong).await.is_ok() {
            return Err(Failure::new(format!("nothing is wrong with this, it seems:\n{wrong}")));
        }
    }
    Ok(())
}
