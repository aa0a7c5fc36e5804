//! A reader's place: addresses, files and what they are called in commands. Nothing outside of it is touched.

use super::terminal::Terminal;
use crate::harness::addresses::Subnet;
use crate::harness::api::Api;
use crate::harness::{Outcome, tools};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use tempfile::TempDir;

/// A reader's place: addresses, files and what to call them in commands.
pub struct Desk {
    /// The addresses.
    pub subnet: Subnet,
    /// What `/tmp` stands for.
    pub files: TempDir,
    admin: SocketAddr,
    swaps: Vec<(&'static str, String)>,
}

impl Desk {
    /// Takes a place.
    pub fn new() -> Outcome<Self> {
        let subnet = Subnet::take()?;
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let swaps = vec![
            ("target/debug/chancery", tools::chancery()?.display().to_string()),
            ("/tmp/", format!("{}/", files.path().display())),
            ("127.77.0.", subnet.prefix()),
            ("127.0.0.1", subnet.ip(1).to_string()),
        ];
        let admin = SocketAddr::new(subnet.ip(1), 15014);
        Ok(Self { subnet, files, admin, swaps })
    }

    /// A text of the repository as it reads here. Each text is replaced where it stood in the original only.
    pub fn here(&self, text: &str) -> String {
        let mut here = String::new();
        let mut rest = text;
        while let Some((at, from, to)) = self.next(rest) {
            here.push_str(&rest[..at]);
            here.push_str(to);
            rest = &rest[at + from.len()..];
        }
        here + rest
    }

    fn next(&self, text: &str) -> Option<(usize, &str, &str)> {
        let found = self.swaps.iter().filter_map(|(from, to)| Some((text.find(from)?, *from, to.as_str())));
        found.min_by_key(|(at, ..)| *at)
    }

    /// A terminal whose `chancery serve` has this place's addresses for defaults.
    pub async fn terminal(&self) -> Outcome<Terminal> {
        let default = |port: u16| SocketAddr::new(self.subnet.ip(1), port).to_string();
        let variables = [("CHANCERY_XDS_ADDRESS", default(15012)), ("CHANCERY_ADMIN_ADDRESS", default(15014))];
        Terminal::open(&variables).await
    }

    /// The file the reader edits.
    pub fn traffic(&self) -> PathBuf {
        self.files.path().join("light/traffic.yaml")
    }

    /// What an editor does when it saves.
    pub fn save(&self, text: &str) -> Outcome<()> {
        Ok(fs::write(self.traffic(), text)?)
    }

    /// The copied manifests name the example's addresses, as the blocks do.
    pub fn move_manifests(&self) -> Outcome<()> {
        for entry in fs::read_dir(self.files.path().join("light"))? {
            let path = entry?.path();
            fs::write(&path, self.here(&fs::read_to_string(&path)?))?;
        }
        Ok(())
    }

    /// chancery's account of itself.
    pub fn api(&self) -> Api {
        Api::new(self.admin)
    }
}
