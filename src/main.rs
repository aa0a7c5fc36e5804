//! The binary: parses arguments and calls the library.

use chancery::cli::{Cli, run};
use clap::Parser;
use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// The system's allocator would keep what thousands of first answers needed for a moment.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    run(Cli::parse())
}
