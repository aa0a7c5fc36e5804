//! The how-to, done as its text says: its command blocks in order, in one shell, with the output that it promises.
//!
//! The shell is in network, mount and process namespaces of its own, so the how-to's names never meet this machine's,
//! and nothing stays whatever happens. Only the folder for temporary files and the programs are swapped for the run's.

use crate::harness::network::requirements;
use crate::harness::spawner;
use crate::harness::{Failure, Outcome, tools};
use std::path::Path;
use std::time::Duration;

const PAGE: &str = "docs/how-to/put-a-sidecar-in-front-of-a-pod.md";
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(40);
/// The machine before the first step: its own, but with nothing in it.
const BEFORE: &str = "set -euo pipefail; mount -t tmpfs none /run; ip link set lo up\n";
/// What must be gone after the last step.
const AFTER: &str = "ip netns list; ip link show type bridge; ip route; ip -6 route show table main type unreachable\n";

/// A block of commands and, where the page says it, what it prints.
struct Step {
    commands: String,
    prints: Option<String>,
}

/// The steps of a page: blocks of commands, each with the block of text that follows at once, if one does.
fn steps(page: &str) -> Vec<Step> {
    let blocks = page.split("```sh\n").skip(1);
    let split = |block: &str| {
        let (commands, rest) = block.split_once("```\n").unwrap_or((block, ""));
        let prints = rest.strip_prefix("```text\n").and_then(|text| text.split("```").next());
        Step { commands: commands.into(), prints: prints.map(Into::into) }
    };
    blocks.map(split).collect()
}

fn mark(step: usize) -> String {
    format!("--- after step {step}\n")
}

/// All steps as one script that says where it is, and what it leaves behind.
fn script(steps: &[Step]) -> String {
    let step = |(index, step): (usize, &Step)| format!("{}echo '{}'\n", step.commands, mark(index).trim_end());
    let all: String = steps.iter().enumerate().map(step).collect();
    format!("{BEFORE}{all}{AFTER}")
}

/// Fails unless every step printed what it should, and nothing was left.
fn judge(steps: &[Step], mut output: &str) -> Outcome<()> {
    for (index, step) in steps.iter().enumerate() {
        let broken = || Failure::new(format!("{PAGE}: these commands failed:\n{}{output}", step.commands));
        let (printed, rest) = output.split_once(&mark(index)).ok_or_else(broken)?;
        let expected = step.prints.as_deref().unwrap_or_default();
        if printed != expected {
            let said = format!("printed\n{printed}instead of\n{expected}");
            return Err(Failure::new(format!("{PAGE}: {}{said}", step.commands)));
        }
        output = rest;
    }
    if output.is_empty() { Ok(()) } else { Err(Failure::new(format!("{PAGE}: this was left behind:\n{output}"))) }
}

async fn follow(page: &str) -> Outcome<()> {
    requirements::check()?;
    let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(files.path(), open)?;
    let here = [
        ("\"$(integration/tools/fetch envoy)\"", tools::envoy(tools::Release::Newest)?.display().to_string()),
        ("target/debug/chancery", tools::chancery()?.display().to_string()),
        ("/tmp/capture", files.path().join("capture").display().to_string()),
        ("manifests/", format!("{}/manifests/", tools::root().display())),
    ];
    let page = here.iter().fold(page.to_owned(), |page, (from, to)| page.replace(from, to));
    let steps = steps(&page);
    let (log, script) = (files.path().join("log"), script(&steps));
    let alone = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", &script];
    let mut shell = spawner::start("the how-to", Path::new("/usr/bin/unshare"), &alone, &log)?;
    let ended = shell.ended(LIMIT).await;
    let output = std::fs::read_to_string(&log)?;
    ended.map_err(|failure| failure.with(&output))?;
    judge(&steps, &output)
}

#[tokio::test]
async fn the_how_to_does_what_it_says() -> Outcome<()> {
    follow(&std::fs::read_to_string(tools::root().join(PAGE))?).await
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
