//! A terminal: an interactive bash on a pseudo-terminal of its own, typed into and read by lines.
//!
//! `terminal.py` opens it. Every process started in it is ended when the value is dropped, and when this process dies.

use crate::harness::{Failure, Outcome, tools};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Opens the pseudo-terminal, and ends everything in it when nobody types any more.
const OPEN: &str = "integration/live/tutorial/terminal.py";
/// No echo of what is typed, no prompts, no carriage returns; then the first answer.
const SETTLE: &str = "stty -echo -onlcr; unset HISTFILE; PS1= PS2=; echo ready-$((1+1))\n";
/// How long a block may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to end what was started.
const CLOSING: Duration = Duration::from_secs(5);

/// An open terminal.
pub struct Terminal {
    child: Child,
    /// None once the terminal is being closed.
    keyboard: Option<ChildStdin>,
    screen: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
    blocks: usize,
}

impl Terminal {
    /// Opens one in the repository, with these variables set.
    pub async fn open(variables: &[(&str, String)]) -> Outcome<Self> {
        let mut command = Command::new("python3");
        command.arg(tools::root().join(OPEN)).current_dir(tools::root()).env("TERM", "dumb");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        // Its own process group: an interrupt meant for us must not reach it.
        let mut child = command.process_group(0).spawn()?;
        let (keyboard, screen) = (child.stdin.take(), child.stdout.take());
        let missing = || Failure::new("the terminal has no pipes");
        let screen = BufReader::new(screen.ok_or_else(missing)?).lines();
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
        let keyboard = self.keyboard.as_mut().ok_or_else(|| Failure::new("the terminal is closed"))?;
        keyboard.write_all(block.as_bytes()).await?;
        Ok(keyboard.flush().await?)
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
        self.keyboard = None;
        let end = Instant::now() + CLOSING;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
