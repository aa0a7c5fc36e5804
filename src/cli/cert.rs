//! `chancery cert rotate`: leads the authority from one root to the next, a step at a time.

use super::Done;
use super::access::access;
use super::serve::limits::positive;
use crate::app::security::store::Store;
use crate::ca::folder::Folder;
use crate::ca::rotation::{Change, Rotation, SINCE, Step};
use crate::clock::Clock;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use std::error::Error;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// `chancery cert`.
#[derive(Args, Debug)]
pub struct CertArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Make the next step from the root that signs to a new one, or say what it is
    Rotate(RotateArgs),
}

/// The flags of `chancery cert rotate`.
#[derive(Args, Debug)]
struct RotateArgs {
    /// The directory that `chancery serve --identity` has; without it the Secret is meant
    #[arg(long, value_name = "DIR")]
    identity: Option<PathBuf>,
    /// The Secret that `chancery serve --ca-secret` has
    #[arg(long, value_name = "NAME", default_value = "chancery-ca", conflicts_with = "identity")]
    ca_secret: String,
    /// Its namespace; that of the kubeconfig's context by default
    #[arg(short, long, value_name = "NAME", conflicts_with = "identity")]
    namespace: Option<String>,
    /// Kubeconfig of the cluster; what kubectl would use by default
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one by default
    #[arg(long, value_name = "NAME", conflicts_with = "identity")]
    context: Option<String>,
    /// Say what is to be done and when, and do nothing
    #[arg(long)]
    plan: bool,
    /// Make the step although proxies may not be ready for it
    #[arg(long, conflicts_with = "plan")]
    now: bool,
    /// How long certificates of workloads last: what `chancery serve` says
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = positive)]
    certificate_lifetime: Duration,
}

impl CertArgs {
    /// Makes a step, or says what it would be.
    ///
    /// # Errors
    /// If what is kept can't be read or written, is no root that signs, or it is too early for the step.
    pub fn run(self) -> Result<Done, Box<dyn Error>> {
        let Command::Rotate(args) = self.command;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(args.rotate())
    }
}

impl RotateArgs {
    async fn rotate(self) -> Result<Done, Box<dyn Error>> {
        let mut text = String::new();
        let step = |parts| {
            let rotation = Rotation::new(parts).map_err(|error| format!("{}: {error}", self.place()))?;
            self.step(&rotation, Clock::system().now(), &mut text)
        };
        self.store().await?.change(step).await?;
        Ok(Done::ok(text))
    }

    fn place(&self) -> String {
        let folder = self.identity.as_ref().map(|folder| folder.display().to_string());
        folder.unwrap_or_else(|| format!("Secret {}", self.ca_secret))
    }

    async fn store(&self) -> Result<Store, Box<dyn Error>> {
        if let Some(folder) = &self.identity {
            return Ok(Store::Folder(Folder::new(folder)));
        }
        let client = access(self.kubeconfig.clone(), self.context.clone()).client().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok(Store::secret(client, &namespace, &self.ca_secret))
    }

    /// What is to be changed now, and in words what that is.
    fn step(&self, rotation: &Rotation, now: u64, text: &mut String) -> Result<Vec<Change>, Box<dyn Error>> {
        let (next, due) = (rotation.next(), rotation.due(self.certificate_lifetime));
        if self.plan {
            *text = plan(rotation, self.certificate_lifetime, now);
            return Ok(Vec::new());
        }
        if !self.now {
            ready(next, due, now)?;
        }
        let changes = rotation.changes(now)?;
        *text = format!("{next}: {}\n", says(next));
        if let Some(step) = Step::ALL.into_iter().find(|step| *step > next) {
            let then = now + step.after(self.certificate_lifetime).as_secs();
            _ = writeln!(text, "next: {step}, from {}", time(then));
        }
        Ok(changes)
    }
}

/// Whether proxies are ready for a step that is due then; if not, or if nobody knows, the reason.
fn ready(next: Step, due: Option<u64>, now: u64) -> Result<(), String> {
    let reason = match due {
        Some(due) if due <= now => return Ok(()),
        Some(due) => format!("it is too early to {next}: not before {}, because", time(due)),
        None => format!("it can't be told whether it is too early to {next}: {SINCE} is missing or no time, and"),
    };
    Err(format!("{reason} proxies may not be ready for it; --now makes it all the same"))
}

/// All steps, and which is the next.
fn plan(rotation: &Rotation, lasts: Duration, now: u64) -> String {
    let (next, due) = (rotation.next(), rotation.due(lasts));
    let line = |step: Step| {
        let when = match step {
            _ if step < next => "done".to_owned(),
            _ if step > next => format!("{} min after that", step.after(lasts).as_secs().div_ceil(60)),
            _ => match due {
                Some(due) if due > now => format!("from {}", time(due)),
                Some(_) => "now".to_owned(),
                None => "not known, see --now".to_owned(),
            },
        };
        format!("{:<8}{when:<28}{}\n", step.to_string(), says(step))
    };
    Step::ALL.map(line).concat()
}

fn says(step: Step) -> &'static str {
    match step {
        Step::Trust => "a new root is trusted beside the one that signs",
        Step::Sign => "the new root signs, and every workload gets a certificate of it",
        Step::Forget => "the old root is not trusted any more",
    }
}

fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| "never".to_owned(), |time| time.to_string())
}
