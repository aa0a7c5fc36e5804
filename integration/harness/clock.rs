//! A clock that a test sets for the programs that follow it, who take it for the machine's: `integration/tools/clock.c`, preloaded.

use super::{Failure, Outcome, tools};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How far a clock is from the machine's. Time that only counts on goes as it does.
#[derive(Clone, Debug)]
pub struct Clock {
    preloaded: PathBuf,
    ahead: PathBuf,
}

impl Clock {
    /// One that goes as the machine's does, in files of `folder` that are named after who follows it.
    pub fn new(folder: &Path, name: &str) -> Outcome<Self> {
        let [preloaded, ahead] = ["so", "clock"].map(|extension| folder.join(format!("{name}.{extension}")));
        let source = tools::root().join("integration/tools/clock.c");
        let mut compiler = Command::new("cc");
        let compiled = compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&preloaded).arg(source).output();
        let output = compiled.map_err(|error| Failure::new(format!("cc: {error}; run: apt-get install gcc")))?;
        if !output.status.success() {
            return Err(Failure::new("a clock").with(&String::from_utf8_lossy(&output.stderr)));
        }
        fs::write(&ahead, 0_i64.to_ne_bytes())?;
        Ok(Self { preloaded, ahead })
    }

    /// Sets it so many seconds ahead of the machine's, or behind it, for all who follow it, at once.
    pub fn set(&self, ahead: i64) -> Outcome<()> {
        // Never shorter than it was: it is read as memory.
        Ok(OpenOptions::new().write(true).open(&self.ahead)?.write_all_at(&ahead.to_ne_bytes(), 0)?)
    }

    /// Has a program follow it.
    pub fn given(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.preloaded).env("CHANCERY_CLOCK", &self.ahead);
    }
}
