//! What `integration/tools/test-all` says last, tried with a cargo that only pretends.

use crate::pages;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Three targets; `$PRETEND` says how the last one ends, or that nothing builds.
const CARGO: &str = r#"#!/usr/bin/env bash
case "$PRETEND $*" in
nothing\ metadata*) exit 101 ;;
*metadata*) echo '{"packages": [{"targets": [
    {"name": "chancery", "kind": ["lib"], "test": true},
    {"name": "one", "kind": ["test"], "test": true},
    {"name": "two", "kind": ["test"], "test": true}]}]}' ;;
broken*--no-run*) exit 101 ;;
*--no-run*) ;;
fails*two) echo "test result: FAILED. 3 passed; 2 failed; 0 ignored"; exit 101 ;;
aborts*two) exit 101 ;;
*) echo "test result: ok. 2 passed; 0 failed; 0 ignored" ;;
esac
"#;

/// The last line with that pretence, and whether it went well.
fn last(pretence: &str) -> (String, bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let cargo = folder.path().join("cargo");
    fs::write(&cargo, CARGO).expect("it can be written");
    fs::set_permissions(&cargo, Permissions::from_mode(0o755)).expect("it can be run");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("there is a PATH"));
    let script = pages::root().join("integration/tools/test-all");
    let run = Command::new(script).env("PATH", path).env("PRETEND", pretence).output().expect("it can be run");
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    (text.lines().last().unwrap_or_default().to_owned(), run.status.success())
}

#[test]
fn the_last_line_is_the_total() {
    for (pretence, line, well) in [
        ("passes", "6 passed, 0 failed", true),
        ("fails", "7 passed, 2 failed", false),
        ("aborts", "4 passed, 1 failed", false),
        ("broken", "0 passed, 1 failed", false),
        ("nothing", "0 passed, 1 failed", false),
    ] {
        assert_eq!(last(pretence), (line.to_owned(), well), "{pretence}");
    }
}
