//! The demo: the first-light example with real Envoys, real requests and real edits, on one machine.
//!
//! Prints the observed split, edits the weights, prints the new split and how fast the Envoys followed. `ONCE=1` exits
//! by itself, non-zero if an expectation fails; otherwise everything stays up to play with until Ctrl-C. Either way
//! nothing is left behind.

mod harness;

use harness::envoy::Wire;
use harness::load::Tally;
use harness::manifests::reweighted;
use harness::scene::{HOST, Scene, TRAFFIC};
use harness::split::{self, Share};
use harness::timing::{Spread, readable};
use harness::tools::Release;
use harness::{Failure, Outcome, tools};
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval_at, timeout};

/// Requests for each split shown.
const REQUESTS: u64 = 1000;
/// Edits that are timed; odd, so that there is a median and the last one leaves the second split.
const EDITS: usize = 11;
/// The slowest median that is still no failure.
const SLOWEST: Duration = Duration::from_secs(1);
/// The splits before and after the edits.
const BEFORE: [Share; 2] = [("v1", 0.9), ("v2", 0.1)];
const AFTER: [Share; 2] = [("v1", 0.5), ("v2", 0.5)];

#[tokio::main]
async fn main() -> ExitCode {
    let once = std::env::var("ONCE").is_ok_and(|value| !value.is_empty() && value != "0");
    let outcome = tokio::select! {
        outcome = run(once) => outcome,
        interrupted = interrupted() => interrupted.map(|()| println!("\nEnded; nothing is left behind.")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nThe demo failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for Ctrl-C or a polite kill.
async fn interrupted() -> Outcome<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

async fn run(once: bool) -> Outcome<()> {
    println!("chancery: from a folder of Kubernetes YAML to real Envoys\n");
    let began = Instant::now();
    step("looking for Envoy", async { tokio::task::spawn_blocking(|| tools::envoy(Release::Newest)).await? }).await?;
    let scene = step("starting chancery", Scene::secured()).await?;
    let scene = step("starting three Envoys", scene.with_envoys(Wire::Delta, false)).await?;
    introduce(&scene, began.elapsed());
    let mut failures = Vec::new();
    failures.extend(show_split(&scene, &BEFORE).await?);
    failures.extend(show_header(&scene).await?);
    failures.extend(show_edits(&scene).await?);
    show_counters(&scene).await?;
    if !failures.is_empty() {
        let list: Vec<String> = failures.iter().map(Failure::to_string).collect();
        return Err(Failure::new(list.join("\n")));
    }
    if !once {
        invite(&scene);
        std::future::pending::<()>().await;
    }
    Ok(())
}

fn introduce(scene: &Scene, took: Duration) {
    println!("  manifests      {}", scene.folder.path().display());
    println!("  control plane  xDS on {}, status on http://{}", scene.chancery.xds, scene.chancery.admin);
    println!("  proxies        3 Envoys: client, echo-v1, echo-v2");
    println!("  all configured after {}\n", readable(took));
}

/// Sends requests and shows who answered; returns what is not as it should be.
async fn show_split(scene: &Scene, shares: &[Share<'_>]) -> Outcome<Vec<Failure>> {
    let tally = step("sending requests", scene.requests(REQUESTS).run()).await?;
    println!("{REQUESTS} requests: client -> its Envoy -> the Envoy of a version -> that version");
    println!("{}\n", split::table(&tally, shares));
    Ok(failures(&tally, shares))
}

fn failures(tally: &Tally, shares: &[Share]) -> Vec<Failure> {
    [tally.clean(), split::check(tally, shares)].into_iter().filter_map(Result::err).collect()
}

async fn show_header(scene: &Scene) -> Outcome<Vec<Failure>> {
    let tally = step("sending requests", scene.requests(50).header("x-user", "tester").run()).await?;
    println!("with the header `x-user: tester`: {} of {} answered by v2\n", tally.of("v2"), tally.answers());
    Ok(failures(&tally, &[("v2", 1.0)]))
}

/// Edits the weights back and forth, timing each; the split after the first edit is shown.
async fn show_edits(scene: &Scene) -> Outcome<Vec<Failure>> {
    let original = scene.folder.read(TRAFFIC)?;
    let changed = reweighted(&original, &[("v1", 50), ("v2", 50)]);
    let mut times = vec![scene.reroute(&changed).await?];
    println!("{TRAFFIC} edited: 50/50, accepted by all Envoys after {}", readable(times[0]));
    let mut failures = show_split(scene, &AFTER).await?;
    step("editing back and forth", async {
        for text in [&original, &changed].into_iter().cycle().take(EDITS - 1) {
            times.push(scene.reroute(text).await?);
        }
        Ok(())
    })
    .await?;
    let spread = Spread::of(times).ok_or_else(|| Failure::new("no edit was timed"))?;
    let [least, median, greatest] = [spread.least, spread.median, spread.greatest].map(readable);
    println!("{EDITS} edits, from writing the file to the last Envoy's ACK: median {median} ({least} to {greatest})\n");
    if spread.median > SLOWEST {
        failures.push(Failure::new(format!("the median is above {}", readable(SLOWEST))));
    }
    Ok(failures)
}

async fn show_counters(scene: &Scene) -> Outcome<()> {
    let pushes = scene.pushes().await?;
    let metrics = scene.chancery.api().metrics().await?;
    let list: Vec<String> = pushes.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    let outcome = |outcome| metrics.sum("chancery_xds_requests_total", &[("outcome", outcome)]);
    println!("chancery's own counters");
    println!("  responses      {}", list.join(", "));
    println!("  of which       {} ACKed, {} NACKed", outcome("ack"), outcome("nack"));
    println!("  streams        {}\n", metrics.sum("chancery_xds_streams", &[]));
    Ok(())
}

fn invite(scene: &Scene) {
    let (admin, file) = (scene.chancery.admin, scene.folder.file(TRAFFIC));
    println!("Everything is still running. Try this in another terminal:");
    println!("  curl -H 'host: {HOST}' http://{}/", scene.http());
    println!("  curl -H 'host: {HOST}' -H 'x-user: tester' http://{}/", scene.http());
    println!("  $EDITOR {}   (change the weights, or break it)", file.display());
    println!("  curl http://{admin}/api/v1/problems");
    println!("  curl http://{admin}/api/v1/proxies");
    println!("Ctrl-C ends it and removes everything.");
}

/// Does something and says so on a line of its own once it takes more than a second.
async fn step<T>(what: &str, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let second = Duration::from_secs(1);
    let mut work = std::pin::pin!(work);
    if let Ok(done) = timeout(second, &mut work).await {
        return done;
    }
    print!("  {what} ...");
    let mut ticks = interval_at(tokio::time::Instant::now() + second, second);
    let done = loop {
        std::io::stdout().flush()?;
        tokio::select! {
            done = &mut work => break done,
            _ = ticks.tick() => print!("."),
        }
    };
    println!();
    done
}
