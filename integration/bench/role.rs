//! The parts of the bench and how they talk: one command a line, one answer a line, in JSON.
//!
//! A part is a process of its own, so that its CPU time and memory can be told from the others'; where only counts
//! matter it may be a thread.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader, Write};
use std::marker::PhantomData;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a part may take to end.
const FAREWELL: Duration = Duration::from_secs(20);

/// A part: takes commands until there are no more.
pub type Run = fn(Box<dyn BufRead + Send>, Box<dyn Write + Send>);

/// How parts are started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Processes,
    Threads,
}

/// A running part that takes commands of type `C`. It ends when dropped.
pub struct Role<C> {
    name: &'static str,
    commands: Option<Box<dyn Write + Send>>,
    answers: Box<dyn BufRead + Send>,
    child: Option<Child>,
    takes: PhantomData<C>,
}

impl<C: Serialize> Role<C> {
    /// Starts a part: this program with the part's name as its argument, the server under what the variable `UNDER` says,
    /// such as a profiler; or a thread.
    pub fn start(style: Style, name: &'static str, run: Run) -> Self {
        match style {
            Style::Processes => Self::process(name),
            Style::Threads => {
                let (commands, answers) = (std::io::pipe().expect("a pipe"), std::io::pipe().expect("a pipe"));
                std::thread::spawn(move || run(Box::new(BufReader::new(commands.0)), Box::new(answers.1)));
                let answers = Box::new(BufReader::new(answers.0));
                Self { name, commands: Some(Box::new(commands.1)), answers, child: None, takes: PhantomData }
            }
        }
    }

    fn process(name: &'static str) -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let under = std::env::var("UNDER").ok().filter(|under| name == "serve" && !under.is_empty());
        let mut command = match under.as_ref().map(|under| under.split_whitespace()) {
            Some(mut words) => {
                let mut command = Command::new(words.next().unwrap_or("env"));
                command.args(words).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg(name).stdin(Stdio::piped()).stdout(Stdio::piped());
        if std::env::var_os("BENCH_LOGS").is_none() {
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().expect("this program can be started again");
        let commands: Box<dyn Write + Send> = Box::new(child.stdin.take().expect("it is piped"));
        let answers = Box::new(BufReader::new(child.stdout.take().expect("it is piped")));
        Self { name, commands: Some(commands), answers, child: Some(child), takes: PhantomData }
    }

    /// The part's process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Says a command and waits for its answer.
    pub fn call<A: DeserializeOwned>(&mut self, command: &C) -> A {
        self.say(command);
        self.answer()
    }

    /// Says a command whose answer is taken later.
    pub fn say(&mut self, command: &C) {
        let mut line = serde_json::to_vec(command).expect("commands are JSON");
        line.push(b'\n');
        let commands = self.commands.as_mut().expect("it is there until dropped");
        commands.write_all(&line).and_then(|()| commands.flush()).unwrap_or_else(|error| {
            panic!("the {} is gone: {error}; BENCH_LOGS=1 shows what it said", self.name);
        });
    }

    /// Takes the answer to the oldest command not yet answered.
    pub fn answer<A: DeserializeOwned>(&mut self) -> A {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("its answers can be read");
        serde_json::from_str(&line).unwrap_or_else(|error| {
            panic!("the {} answered {line:?}: {error}; BENCH_LOGS=1 shows what it said", self.name);
        })
    }
}

impl<C> Drop for Role<C> {
    fn drop(&mut self) {
        self.commands = None;
        let Some(child) = &mut self.child else { return };
        // It ends with its commands, so that what it runs under can say what it saw.
        let deadline = Instant::now() + FAREWELL;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        _ = child.kill();
        _ = child.wait();
    }
}

/// Writes one answer.
pub fn answer(answers: &mut impl Write, value: &impl Serialize) {
    let mut line = serde_json::to_vec(value).expect("answers are JSON");
    line.push(b'\n');
    // Whoever asked may be gone; then there are no more commands either.
    _ = answers.write_all(&line).and_then(|()| answers.flush());
}

/// Nanoseconds of a clock that all processes of the machine share.
pub fn now() -> u64 {
    nanoseconds(rustix::time::ClockId::Monotonic)
}

/// The CPU time this process has used, user and system, in nanoseconds.
pub fn cpu() -> u64 {
    nanoseconds(rustix::time::ClockId::ProcessCPUTime)
}

fn nanoseconds(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// The resident memory of this process in kilobytes: now, and at most so far.
pub fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    };
    (value("VmRSS:"), value("VmHWM:"))
}
