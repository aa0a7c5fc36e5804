//! The bench: an Envoy-like fleet, the server under test and the floor, each a process of its own.
//!
//! Measures what no test may: time, CPU and memory, as ratios to the least that the same bytes on the same sockets can
//! cost. `make bench` runs all of it, `make bench QUICK=1` a small part.

#[path = "bench/parts.rs"]
mod parts;
#[path = "bench/workloads.rs"]
mod workloads;

use chancery::telemetry::logging::{self, Format};
use parts::{fleet, floor, role, server};
use std::io::{BufReader, stdin, stdout};

fn main() {
    // Logs are what they are in `serve` by default, and cost what they cost there.
    logging::init(Format::Text, "info").expect("nothing else has set up logging");
    let run: role::Run = match std::env::args().nth(1).as_deref() {
        Some("serve") => server::run,
        Some("floor") => floor::run,
        Some("fleet") => fleet::run,
        _ => return workloads::run(),
    };
    run(Box::new(BufReader::new(stdin())), Box::new(stdout()));
}
