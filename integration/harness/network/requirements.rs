//! What a network of one's own needs of the machine. What is missing is said with the command that helps.

use crate::harness::{Failure, Outcome};
use std::path::Path;

/// The programs, those of the how-to included, each with the Debian package it comes with.
const PROGRAMS: [(&str, &str); 7] = [
    ("ip", "iproute2"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("curl", "curl"),
];

/// Fails with everything that is missing.
pub fn check() -> Outcome<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new(
            "network namespaces and iptables need root: run this test with sudo, or in a container",
        ));
    }
    let folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    let there = |program: &str| folders.iter().any(|folder| Path::new(folder).join(program).is_file());
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, _)| !there(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Err(Failure::new(format!("{} missing; run: apt-get install {}", programs.join(", "), packages.join(" "))))
}
