//! The bench: an Envoy-like fleet, the server under test and the floor, each a process of its own.
//!
//! Measures what no test may: time, CPU and memory, as ratios to the least that the same bytes on the same sockets can
//! cost. `make bench` runs all of it, `make bench QUICK=1` a small part; `ONLY=edits` one workload.

#[path = "bench/cluster.rs"]
mod cluster;
#[path = "bench/figures.rs"]
mod figures;
#[allow(unused_imports, reason = "what checks the harness is there, but no test runs in a bench")]
mod harness;
#[path = "bench/parts.rs"]
mod parts;
#[path = "bench/plot.rs"]
mod plot;
#[path = "bench/results.rs"]
mod results;
#[path = "bench/rollout.rs"]
mod rollout;
#[path = "bench/tls.rs"]
mod tls;
#[path = "bench/workloads.rs"]
mod workloads;

use chancery::telemetry::logging::{self, Format};
use figures::Row;
use parts::wire::Form::{Delta, Sotw};
use parts::{fleet, floor, role, server};
use std::io::{BufReader, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tikv_jemallocator::Jemalloc;
use workloads::Extent;

/// As in `serve`.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() {
    // Logs are what they are in `serve` by default, and cost what they cost there.
    logging::init(Format::Text, "info").expect("nothing else has set up logging");
    let run: role::Run = match std::env::args().nth(1).as_deref() {
        Some("serve") => server::run,
        Some("floor") => floor::run,
        Some("fleet") => fleet::run,
        _ => return bench(),
    };
    run(Box::new(BufReader::new(stdin())), Box::new(stdout()));
}

type Workload = (&'static str, Box<dyn Fn() -> Vec<Row>>);

fn workload(name: &'static str, run: impl Fn() -> Vec<Row> + 'static) -> Workload {
    (name, Box::new(run))
}

fn workloads(extent: Extent, quick: bool) -> Vec<Workload> {
    let Extent { thousand, storm, first, seconds, idle, often } = extent;
    let pushed = move |services, proxies, form, rates: &'static [u32]| {
        workload("endpoints", move || workloads::endpoints(services, proxies, form, rates, seconds))
    };
    let mut all = vec![
        pushed(100, thousand, Delta, &[100]),
        pushed(1000, thousand, Delta, &[1, 100, 1000]),
        workload("first", move || workloads::first(1000, first)),
        workload("connects", move || workloads::connect_storm(100, storm)),
        workload("idle", move || workloads::stay_and_return(1000, thousand, idle)),
        workload("edits", move || workloads::edits(1000, thousand)),
        workload("tls", move || tls::stay_and_push(1000, thousand, idle)),
        workload("tls", move || tls::first(1000, first)),
        workload("tls", move || tls::storm(100, storm)),
        workload("tls", move || tls::handshakes(often)),
        workload("tls", move || tls::signing(often)),
        workload("engine", move || workloads::engine(if quick { &[100, 1000] } else { &[100, 1000, 10_000, 50_000] })),
    ];
    if !quick {
        all.extend([
            pushed(1000, 100, Delta, &[]),
            pushed(1000, 4 * thousand, Delta, &[]),
            pushed(1000, thousand, Sotw, &[]),
            pushed(10_000, 100, Delta, &[]),
            pushed(10_000, thousand, Delta, &[100]),
            workload("large", || workloads::large(10_000, 50)),
            workload("rollout", rollout::rollout),
            workload("cluster", cluster::cluster),
        ]);
    }
    all
}

fn bench() {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty() && value != "0");
    let (quick, only, out) = (set("QUICK").is_some(), set("ONLY"), set("OUT"));
    if quick && out.is_some() {
        eprintln!("OUT= writes what others read: it needs a whole run, without QUICK=");
        std::process::exit(2);
    }
    println!("for each proxy and change: CPU, p50/p99/max of change to ACK, bytes of messages");
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for (name, run) in workloads(if quick { Extent::QUICK } else { Extent::FULL }, quick) {
        if only.as_ref().is_none_or(|only| only == name) {
            let clock = results::Clock::now();
            // What was measured before and what comes after is good all the same.
            let Ok(mut found) = catch_unwind(AssertUnwindSafe(run)) else {
                failed.push(name);
                continue;
            };
            found.iter_mut().for_each(|row| row.others = clock.others());
            found.iter().for_each(|row| println!("{}", row.line()));
            rows.extend(found);
        }
    }
    results::compare_sizes(&mut rows);
    print!("\n{}", figures::verdicts(&rows));
    if !quick && only.is_none() {
        print!("{}", results::without_verdict(&rows));
    }
    results::write(&rows, out);
    if !failed.is_empty() {
        eprintln!("these failed, and are missing: {}", failed.join(", "));
        std::process::exit(1);
    }
}
