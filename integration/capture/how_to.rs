//! The how-to, done as its text says: its command blocks in order, in one shell, with the output that it promises.
//!
//! The shell is in network, mount and process namespaces of its own, so the how-to's names never meet this machine's,
//! and nothing stays whatever happens. Only the folder for temporary files and the programs are swapped for the run's.

use crate::harness::steps::Page;
use crate::harness::{Failure, Outcome, tools};
use std::time::Duration;

const PAGE: Page = Page {
    path: "docs/how-to/put-a-sidecar-in-front-of-a-pod.md",
    before: "mount -t tmpfs none /run; ip link set lo up",
    after: "ip netns list; ip link show type bridge; ip route; ip -6 route show table main type unreachable\n",
    limit: Duration::from_secs(40),
};

async fn follow(text: &str) -> Outcome<()> {
    let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(files.path(), open)?;
    let here = [
        ("\"$(integration/tools/fetch envoy)\"", tools::envoy(tools::Release::Newest)?.display().to_string()),
        ("target/debug/chancery", tools::chancery()?.display().to_string()),
        ("/tmp/capture", files.path().join("capture").display().to_string()),
    ];
    PAGE.follow(text, files.path(), &here).await
}

#[tokio::test]
async fn the_how_to_does_what_it_says() -> Outcome<()> {
    follow(&std::fs::read_to_string(tools::root().join(PAGE.path))?).await
}

/// The control: commands that fail, print something else, or leave something behind.
#[tokio::test]
async fn a_how_to_that_is_wrong_is_noticed() -> Outcome<()> {
    let right = "```sh\necho one\n```\n```text\none\n```\n```sh\nip link set lo down\n```\n";
    follow(right).await?;
    for wrong in [
        right.replace("echo one", "echo two"),
        right.replace("echo one", "echo one; false"),
        right.replace("set lo down", "add bridge type bridge"),
        right.replace("ip link set lo down", "ip route add unreachable fd00:96:77::/64"),
    ] {
        if follow(&wrong).await.is_ok() {
            return Err(Failure::new(format!("nothing is wrong with this, it seems:\n{wrong}")));
        }
    }
    Ok(())
}
