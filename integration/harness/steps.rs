//! A page's commands, done as it says: its blocks in order, in one shell, each with the output that it promises.

use super::network::requirements;
use super::{Failure, Outcome, spawner, tools};
use std::path::Path;
use std::time::Duration;

/// A page that is followed in a shell whose network, mounts and processes are its own, so that names, addresses and ports
/// never meet this machine's, and nothing stays whatever happens.
pub struct Page {
    /// Where it is, from the root of the project.
    pub path: &'static str,
    /// What prepares the machine for its first step.
    pub before: &'static str,
    /// What prints nothing if the last step left nothing.
    pub after: &'static str,
    /// How long all of it may take.
    pub limit: Duration,
}

impl Page {
    /// Does what the text says at the root of the project, with `files` for the log; each of `here` is a name in it and what it is in this run.
    pub async fn follow(&self, text: &str, files: &Path, here: &[(&str, String)]) -> Outcome<()> {
        requirements::check()?;
        let text = here.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        let steps = steps(&text);
        // A shell of one's own knows nothing of a make that runs the tests; a make in it would say that it is inside one.
        let root = tools::root();
        // What is said on the way, of what is not so yet, is no promise: how much of it comes depends on the machine.
        let errors = files.join("errors");
        let apart = format!("exec 2>'{}'", errors.display());
        let alone = format!("{apart}; set -euo pipefail; cd '{}'; unset MAKEFLAGS MAKELEVEL MFLAGS", root.display());
        let before = format!("{alone}\n{}\n", self.before);
        let (log, script) = (files.join("log"), script(&before, &steps, self.after));
        let alone = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", &script];
        let mut shell = spawner::start(self.path, Path::new("/usr/bin/unshare"), &alone, &log)?;
        let ended = shell.ended(self.limit).await;
        let (output, errors) = (std::fs::read_to_string(&log)?, std::fs::read_to_string(&errors)?);
        let judged = ended.map_err(|failure| failure.with(&output)).and_then(|_| judge(self.path, &steps, &output));
        judged.map_err(|failure| failure.with(&errors))
    }
}

/// A block of commands and, where the page says it, what it prints.
pub struct Step {
    /// The commands.
    pub commands: String,
    prints: Option<String>,
}

/// The steps of a page: blocks of commands, each with the block of text that follows at once, if one does.
pub fn steps(page: &str) -> Vec<Step> {
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

/// All steps as one script that says where it is, between what comes before the first and what tells what the last left.
pub fn script(before: &str, steps: &[Step], after: &str) -> String {
    let step = |(index, step): (usize, &Step)| format!("{}echo '{}'\n", step.commands, mark(index).trim_end());
    let all: String = steps.iter().enumerate().map(step).collect();
    format!("{before}{all}{after}")
}

/// Fails unless every step printed what it should, and nothing was left.
pub fn judge(page: &str, steps: &[Step], mut output: &str) -> Outcome<()> {
    for (index, step) in steps.iter().enumerate() {
        let broken = || Failure::new(format!("{page}: these commands failed:\n{}{output}", step.commands));
        let (printed, rest) = output.split_once(&mark(index)).ok_or_else(broken)?;
        let expected = step.prints.as_deref().unwrap_or_default();
        if printed != expected {
            let said = format!("printed\n{printed}instead of\n{expected}");
            return Err(Failure::new(format!("{page}: {}{said}", step.commands)));
        }
        output = rest;
    }
    if output.is_empty() { Ok(()) } else { Err(Failure::new(format!("{page}: this was left behind:\n{output}"))) }
}
