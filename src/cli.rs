//! The command line: every flag and environment variable, one file per subcommand, and the exit codes.
//!
//! Nothing else reads flags or the environment. Results go to standard output, everything else to standard error.

mod access;
pub mod analyze;
pub mod bootstrap;
pub mod cert;
pub mod serve;
pub mod token;
pub mod translate;
pub mod wait;

use crate::telemetry::logging::chain;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Exit code: something failed.
pub const FAILED: u8 = 1;
/// Exit code: there are findings at or above the severity asked for.
pub const FINDINGS: u8 = 3;
/// Exit code: the server can't be reached.
pub const UNREACHABLE: u8 = 4;
/// Exit code: the time is over.
pub const TIMED_OUT: u8 = 5;

/// chancery: an xDS control plane for Envoy sidecars.
#[derive(Parser, Debug)]
#[command(
    name = "chancery",
    version,
    about,
    after_help = "Exit codes: 0 fine, 1 something failed, 2 wrong usage, 3 findings, 4 server unreachable, 5 out of time."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
enum Command {
    /// Serve proxies from a cluster, or from a folder of manifests, which is watched
    Serve(Box<serve::ServeArgs>),
    /// Print what a proxy would be given, without a server
    Translate(translate::TranslateArgs),
    /// Print an Envoy bootstrap that works as it is
    Bootstrap(bootstrap::BootstrapArgs),
    /// Say what is wrong with manifests; exits 3 if anything is
    Analyze(analyze::AnalyzeArgs),
    /// Print a token with which a proxy of a folder of manifests proves who it is
    Token(token::TokenArgs),
    /// Replace the root of the certificate authority, without a failed handshake
    Cert(cert::CertArgs),
    /// Wait until what an object says is in effect at every proxy that it concerns
    Wait(wait::WaitArgs),
}

/// What a subcommand has to say and how it ends.
pub struct Done {
    /// For standard output.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

impl Done {
    /// It went well.
    pub fn ok(text: String) -> Self {
        Self { text, code: 0 }
    }
}

/// Runs the subcommand and prints what it has to say.
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Serve(args) => args.run().map(|()| Done::ok(String::new())),
        Command::Translate(args) => args.run(),
        Command::Bootstrap(args) => args.text().map(Done::ok).map_err(Into::into),
        Command::Analyze(args) => Ok(args.run()),
        Command::Token(args) => args.run(),
        Command::Cert(args) => args.run(),
        Command::Wait(args) => args.run(),
    };
    match result {
        // A reader that went away (`| head`) is not our failure.
        Ok(done) => match std::io::stdout().write_all(done.text.as_bytes()) {
            Ok(()) => ExitCode::from(done.code),
            Err(_) => ExitCode::from(FAILED),
        },
        Err(error) => {
            eprintln!("chancery: {}", chain(&*error));
            ExitCode::from(FAILED)
        }
    }
}
