//! A network namespace without a name, held by a thread that lives in it and does what is asked there.
//!
//! Sockets belong to the namespace of the thread that opens them, for good. So an application in a pod is a task on
//! that thread, and children are sent in by the path below `/proc`. Nothing is left when the thread ends.

use crate::harness::{Failure, Outcome};
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A namespace; gone once dropped and its children have ended.
pub struct Namespace {
    path: PathBuf,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    /// A new one, with nothing in it but a loopback interface that is down.
    pub fn new(name: &str) -> Outcome<Self> {
        let fresh = fresh()?;
        let (born, birth) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
            let runtime = enter(&fresh).and_then(|path| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok((path, runtime))
            });
            match runtime {
                Ok((path, runtime)) => {
                    born.send(Ok((path, runtime.handle().clone()))).ok();
                    runtime.block_on(async { drop(stopped.await) });
                }
                Err(failure) => drop(born.send(Err(failure))),
            }
        })?;
        let (path, runtime) = birth.recv()??;
        Ok(Self { path, runtime, stop: Some(stop), thread: Some(thread) })
    }

    /// The file that stands for it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The runtime of the thread that lives in it.
    pub fn runtime(&self) -> Handle {
        self.runtime.clone()
    }

    /// Runs `work` on the thread that lives in it.
    pub async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match self.runtime.spawn(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => unreachable!("nobody cancels the work: {error}"),
        }
    }

    /// Runs `work` on another thread that lives in it, and waits for it: for what can't be sent between threads.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Outcome<T> {
        let namespace = File::open(&self.path)?;
        std::thread::scope(|scope| {
            let worker = scope.spawn(|| enter(&namespace).map(|_| work()));
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Has `ip` do a batch of commands, one a line.
    pub fn configure(&self, batch: &str) -> Outcome<()> {
        self.tool("ip", &["-batch", "-"], batch).map(drop)
    }

    /// Runs a program in it to its end.
    pub fn tool(&self, program: &str, arguments: &[&str], input: &str) -> Outcome<String> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path.display())).args(["--", program]).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        // A program that ends before it has read everything says why, and that is what must be told.
        child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("{program} {arguments:?}: {}\n{said}{input}", output.status)));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(JoinHandle::join);
    }
}

/// Moves this thread into a namespace; the path stands for it while the thread lives.
fn enter(namespace: &File) -> Outcome<PathBuf> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(format!("/proc/{}/task/{}/ns/net", std::process::id(), gettid().as_raw_nonzero()).into())
}

/// A namespace nobody is in. A child makes it, since a thread can't without unsafe code.
fn fresh() -> Outcome<File> {
    let mut maker = Command::new("unshare");
    maker.args(["--net", "--", "sh", "-c", "echo made; read -r _"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut maker = maker.spawn()?;
    let made = told(&mut maker).and_then(|()| Ok(File::open(format!("/proc/{}/ns/net", maker.id()))?));
    // At the end of its input it ends.
    drop(maker.stdin.take());
    maker.wait()?;
    made
}

/// Waits for the first word of a child.
fn told(child: &mut Child) -> Outcome<()> {
    let mut byte = [0];
    let read = child.stdout.as_mut().map(|stdout| stdout.read(&mut byte)).transpose()?;
    if read == Some(1) { Ok(()) } else { Err(Failure::new("unshare --net failed; it needs root")) }
}
