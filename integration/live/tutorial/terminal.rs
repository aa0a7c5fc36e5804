//! A terminal: an interactive bash on a pseudo-terminal of its own, typed into and read by lines.
//!
//! Python's `pty` opens it. When the value is dropped, every process started in it is ended, and if this process dies the
//! kernel hangs the terminal up, which ends them too.

use crate::harness::{Failure, Outcome, tools};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Opens the pseudo-terminal and passes everything on in both directions.
const OPEN: &str = "import pty; pty.spawn(['bash', '--norc', '--noprofile', '--noediting', '-i'])";
/// No echo of what is typed, no prompts, no carriage returns; then the first answer.
const SETTLE: &str = "stty -echo -onlcr; unset HISTFILE; PS1= PS2=; echo ready-$((1+1))\n";
/// How long a block may take.
const LIMIT: Duration = Duration::from_secs(60);

/// An open terminal.
pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
    blocks: usize,
}

impl Terminal {
    /// Opens one in the repository, with these variables set.
    pub async fn open(variables: &[(&str, String)]) -> Outcome<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", OPEN]).current_dir(tools::root()).env("TERM", "dumb");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        // Its own process group: an interrupt meant for us must not reach it.
        let mut child = command.process_group(0).spawn()?;
        let (keyboard, screen) = (child.stdin.take(), child.stdout.take());
        let missing = || Failure::new("the terminal has no pipes");
        let (keyboard, screen) = (keyboard.ok_or_else(missing)?, screen.ok_or_else(missing)?);
        let screen = BufReader::new(screen).lines();
        let mut terminal = Self { child, keyboard, screen, seen: Vec::new(), blocks: 0 };
        terminal.begin(SETTLE).await?;
        terminal.until("ready-2").await?;
        Ok(terminal)
    }

    /// Types a block and returns what appears until all its commands are done; fails if the last of them does.
    pub async fn run(&mut self, block: &str) -> Outcome<String> {
        self.blocks += 1;
        let end = format!("end-of-block-{}", self.blocks);
        self.begin(&format!("{block}echo \"{end} $?\"\n")).await?;
        let (output, status) = self.until(&end).await.map_err(|failure| failure.with(block))?;
        if status == "0" { Ok(output) } else { Err(Failure::new(format!("exit status {status}:\n{block}{output}"))) }
    }

    /// Types a block and doesn't wait.
    pub async fn begin(&mut self, block: &str) -> Outcome<()> {
        self.keyboard.write_all(block.as_bytes()).await?;
        Ok(self.keyboard.flush().await?)
    }

    /// Presses Ctrl-C.
    pub async fn interrupt(&mut self) -> Outcome<()> {
        self.begin("\x03").await
    }

    /// Reads until a line has `mark`; what came before it, and what follows it in its line.
    async fn until(&mut self, mark: &str) -> Outcome<(String, String)> {
        let mut output = String::new();
        let reading = async {
            while let Some(line) = self.screen.next_line().await? {
                self.seen.push(line.clone());
                if let Some((before, rest)) = line.split_once(mark) {
                    output.push_str(before);
                    return Ok(rest.trim().to_owned());
                }
                output.push_str(&line);
                output.push('\n');
            }
            Err(Failure::new("the terminal has closed"))
        };
        match timeout(LIMIT, reading).await {
            Ok(rest) => Ok((output, rest?)),
            Err(_) => Err(Failure::new(format!("the commands were not done after {LIMIT:?}"))),
        }
    }

    /// The last lines on the screen, for a failure's text.
    pub fn tail(&self) -> String {
        let last = &self.seen[self.seen.len().saturating_sub(20)..];
        format!("the last lines of a terminal:\n  {}", last.join("\n  "))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let Some(own) = self.child.id() else { return };
        // The youngest first, so that nobody is adopted before it is ended.
        for id in descendants(own).into_iter().rev() {
            Pid::from_raw(id as i32).map(|pid| kill_process(pid, Signal::KILL));
        }
        self.child.start_kill().ok();
    }
}

/// The processes started by `root`, directly or not, parents before their children.
fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok) {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name of the program is in parentheses and may itself contain some; state and parent follow it.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        children.entry(parent.unwrap_or(0)).or_default().push(id);
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(id) = found.get(at) {
        found.extend(children.remove(id).unwrap_or_default());
        at += 1;
    }
    found.split_off(1)
}
