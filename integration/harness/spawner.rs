//! Child processes, all started by one thread that lives as long as this process.
//!
//! Envoy asks the kernel to be killed when the thread that started it ends, and test threads end early. A child dies
//! with its [`Process`]; `setpriv`, where there is one, sees to it that it also dies with us.

use super::clock::Clock;
use super::deadline;
use super::{Failure, Outcome};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// Where a child runs, as whom, and by which clock; by default where, as whom and by which we do.
#[derive(Clone, Default, Debug)]
pub struct Place {
    /// The file that stands for its network namespace.
    pub network: Option<PathBuf>,
    /// Its user, and its only group.
    pub user: Option<u32>,
    /// The clock it takes for the machine's.
    pub clock: Option<Clock>,
}

/// A running child; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// Starts `program`; what it writes goes to the end of `log`.
pub fn start<A: AsRef<OsStr>>(name: &str, program: &Path, arguments: &[A], log: &Path) -> Outcome<Process> {
    start_in(&Place::default(), name, program, arguments, log)
}

/// As [`start`], somewhere else or as somebody else, for which it takes root.
pub fn start_in<A: AsRef<OsStr>>(
    place: &Place,
    name: &str,
    program: &Path,
    arguments: &[A],
    log: &Path,
) -> Outcome<Process> {
    let output = OpenOptions::new().create(true).append(true).open(log)?;
    let mut command = placed(place, program);
    if let Some(clock) = &place.clock {
        clock.given(&mut command);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    // Its own process group: an interrupt from the terminal reaches us alone, and we end the children in order.
    command.process_group(0);
    let child = spawn(command).map_err(|error| Failure::new(format!("{name}: {}: {error}", program.display())))?;
    Ok(Process { name: name.into(), child, log: log.into() })
}

/// The command for a program that runs at its place and dies with this process.
fn placed(place: &Place, program: &Path) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut command = match &place.network {
        Some(network) => {
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", network.display())).arg("--").arg(setpriv);
            command
        }
        None if setpriv.exists() || place.user.is_some() => Command::new(setpriv),
        None => return Command::new(program),
    };
    if let Some(user) = place.user.map(|user| user.to_string()) {
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn spawn(command: Command) -> std::io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, waiting) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in waiting {
                answer.send(command.spawn()).ok();
            }
        });
        orders
    });
    let (answer, answered) = mpsc::channel();
    spawner.send((command, answer)).expect("the spawner's thread never ends");
    answered.recv().expect("the spawner answers every order")
}

impl Process {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Outcome<()> {
        self.signal(Signal::TERM)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Outcome<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// Allows it so many descriptors.
    pub fn limit_descriptors(&self, count: u64) -> Outcome<()> {
        prlimit(Some(self.pid()?), Resource::Nofile, Rlimit { current: Some(count), maximum: Some(count) })?;
        Ok(())
    }

    fn pid(&self) -> Outcome<Pid> {
        Pid::from_raw(self.id() as i32).ok_or_else(|| Failure::new("no process id"))
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        let what = format!("{} ends", self.name);
        deadline::until(&what, limit, async || self.child.try_wait().ok().flatten()).await
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// All it wrote.
    pub fn written(&self) -> String {
        // A device may be read for ever.
        if !self.log.is_file() {
            return String::new();
        }
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of what it wrote, for a failure's text.
    pub fn tail(&self) -> String {
        let text = self.written();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(20)..];
        format!("the last lines of {} ({}):\n  {}", self.name, self.log.display(), last.join("\n  "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs `program` to its end and returns what it wrote to its standard output.
pub fn output<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Outcome<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Failure::new(format!("{}: {error}", program.display())))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("{}: {}\n{error}", program.display(), output.status)));
    }
    Ok(String::from_utf8(output.stdout)?)
}
