//! The real kubectl, for one user of one cluster.

use crate::harness::{Failure, Outcome, tools};
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How long one call may take.
const LIMIT: Duration = Duration::from_secs(90);

/// A kubectl that reads nothing of the machine's user.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    cache: PathBuf,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether it succeeded.
    pub success: bool,
    /// What it printed.
    pub output: String,
    /// What it complained of.
    pub error: String,
}

impl Kubectl {
    /// One for the user of a kubeconfig, with a folder for what it remembers of the cluster.
    pub fn new(config: PathBuf, cache: PathBuf) -> Outcome<Self> {
        Ok(Self { program: tools::kubernetes("kubectl")?, config, cache })
    }

    /// The same for another user.
    pub fn of(&self, config: PathBuf) -> Self {
        Self { config, ..self.clone() }
    }

    /// Runs it with an input.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Outcome<Answer> {
        let mut file = tempfile::tempfile()?;
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.config).arg("--cache-dir").arg(&self.cache).args(arguments);
        command.env("KUBECTL_KUBERC", "false").env_remove("KUBECONFIG").stdin(file).kill_on_drop(true);
        let late = |_| Failure::new(format!("kubectl {} took longer than {LIMIT:?}", arguments.join(" ")));
        let output = timeout(LIMIT, command.output()).await.map_err(late)?;
        let output = output.map_err(|error| Failure::new(format!("{}: {error}", self.program.display())))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Answer { success: output.status.success(), output: text(&output.stdout), error: text(&output.stderr) })
    }

    /// Runs it; it must succeed. Returns what it printed.
    pub async fn succeed(&self, arguments: &[&str], input: &str) -> Outcome<String> {
        let answer = self.run(arguments, input).await?;
        match answer.success {
            true => Ok(answer.output),
            false => Err(Failure::new(format!("kubectl {} failed", arguments.join(" "))).with(&answer.error)),
        }
    }
}
