//! Tutorials, done as their texts say: their command blocks in order, in one shell, with the output that they promise.
//!
//! The shell is in network, mount and process namespaces of its own, so that its addresses, ports and `/tmp` never meet this
//! machine's, and nothing stays whatever happens. Only the programs are swapped for the run's.

use crate::harness::steps::Page;
use crate::harness::{Failure, Outcome, tools};
use std::time::Duration;

const CLUSTER: Page = page("docs/tutorials/on-a-cluster.md");
const MUTUAL: Page = page("docs/tutorials/mutual-tls.md");
/// Where the second half of [`MUTUAL`] begins, which needs nothing of the first.
const HALF: &str = "## On a cluster\n";

const fn page(path: &'static str) -> Page {
    Page {
        path,
        before: "mount -t tmpfs none /tmp; ip link set lo up",
        after: "ls -A /tmp; ip -4 address show dev lo | grep 10.77 || true; ss -Hltn\n",
        limit: Duration::from_secs(360),
    }
}

async fn follow(page: &Page, text: &str) -> Outcome<()> {
    let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
    let here = [
        ("\"$(integration/tools/fetch envoy)\"", tools::envoy(tools::Release::Newest)?.display().to_string()),
        ("\"$(integration/tools/fetch kubectl)\"", tools::kubernetes("kubectl")?.display().to_string()),
        ("target/debug/chancery", tools::chancery()?.display().to_string()),
    ];
    page.follow(text, files.path(), &here).await
}

fn text(page: &Page) -> Outcome<String> {
    Ok(std::fs::read_to_string(tools::root().join(page.path))?)
}

#[tokio::test]
async fn the_tutorial_does_what_it_says() -> Outcome<()> {
    follow(&CLUSTER, &text(&CLUSTER)?).await
}

#[tokio::test]
async fn mutual_tls_comes_about_as_the_tutorial_says() -> Outcome<()> {
    let text = text(&MUTUAL)?;
    let (folder, cluster) = text.split_once(HALF).ok_or_else(|| Failure::new(format!("{HALF} is missing")))?;
    follow(&MUTUAL, folder).await?;
    follow(&MUTUAL, cluster).await
}

/// The control: something that is printed otherwise, or left behind.
#[tokio::test]
async fn a_tutorial_that_is_wrong_is_noticed() -> Outcome<()> {
    let right = "```sh\necho one > /tmp/one; cat /tmp/one; rm /tmp/one\n```\n```text\none\n```\n";
    follow(&CLUSTER, right).await?;
    for wrong in
        [right.replace("echo one", "echo two"), right.replace("; rm /tmp/one", ""), right.replace("rm", "false; rm")]
    {
        if follow(&CLUSTER, &wrong).await.is_ok() {
            return Err(Failure::new(format!("nothing is wrong with this, it seems:\n{wrong}")));
        }
    }
    Ok(())
}
