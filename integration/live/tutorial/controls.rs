//! What makes the tutorial's test fail: a wrong split, a failing command, a block more or less; and that nothing stays.

use super::blocks::Blocks;
use super::desk::Desk;
use super::{PAGE, SOON, expect_split, pages};
use crate::harness::{Outcome, deadline};
use std::path::Path;

#[test]
fn a_wrong_split_is_seen() {
    assert!(expect_split("     91 v1\n      9 v2\n", 0.9).is_ok());
    assert!(expect_split("     91 v1\n      9 v2\n", 0.5).is_err(), "another split");
    assert!(expect_split("     90 v1\n      9 v2\n", 0.9).is_err(), "one wasn't answered");
    assert!(expect_split("     90 v1\n      9 v2\n      1 no healthy upstream\n", 0.9).is_err(), "an error");
}

#[test]
fn a_block_more_is_seen() -> Outcome<()> {
    let (desk, page) = (Desk::new()?, pages::page(PAGE));
    assert!(Blocks::of(&page, &desk).is_ok());
    assert!(Blocks::of(&format!("{page}\n```sh\ntrue\n```\n"), &desk).is_err());
    Ok(())
}

#[test]
fn commands_stay_in_their_place() -> Outcome<()> {
    let desk = Desk::new()?;
    let here = desk.here("ls /tmp/light 127.0.0.1:15012 127.77.0.110");
    let (files, prefix) = (desk.files.path().display(), desk.subnet.prefix());
    assert_eq!(here, format!("ls {files}/light {prefix}1:15012 {prefix}110"));
    Ok(())
}

#[tokio::test]
async fn a_failing_command_is_seen() -> Outcome<()> {
    let desk = Desk::new()?;
    let mut terminal = desk.terminal().await?;
    assert_eq!(terminal.run("echo here\n").await?, "here\n");
    assert!(terminal.run(&desk.here("target/debug/chancery analyze --no-such-flag\n")).await.is_err());
    assert!(terminal.run(&desk.here("target/debug/chancery analyze /tmp/nothing\n")).await.is_err());
    Ok(())
}

#[tokio::test]
async fn what_a_terminal_started_ends_with_it() -> Outcome<()> {
    let mut terminal = Desk::new()?.terminal().await?;
    let output = terminal.run("sleep 100 & echo \"sleeper $!\"\n").await?;
    let id = output.lines().find_map(|line| line.strip_prefix("sleeper ")).unwrap_or("missing");
    let place = format!("/proc/{id}");
    assert!(Path::new(&place).exists(), "{output}");
    drop(terminal);
    deadline::until("the sleeper ends", SOON, async || (!Path::new(&place).exists()).then_some(())).await
}
