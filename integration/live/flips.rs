//! Make before break: routes that move several times a second to clusters of names never used before, which appear and
//! vanish with them, under load. Nobody notices, and what passed obeys the protocol; the control, with a gate that waits for
//! nothing, shows that one could.

use crate::handmade::{Handmade, SOON};
use crate::harness::echo::Echo;
use crate::harness::envoy::{Setup, Wire};
use crate::harness::load::{Load, Tally};
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline};
use crate::resources::{cluster, endpoints, http, routes};
use chancery::snapshot::kind::Kind;
use chancery::snapshot::resource::Resource;
use chancery::xds::gate;
use chancery::xds::limits::Options;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Five moves a second.
const PACE: Duration = Duration::from_millis(200);
/// Requests a second, all workers together.
const RATE: f64 = 640.0;
const WORKERS: usize = 8;
/// The rate that has to be kept up, in requests a second.
const LEAST: f64 = 500.0;

/// How often the control may be lucky: what is lost depends on what Envoy does first.
const TRIES: usize = 4;

/// How long it goes on: ten seconds, or as long as `CHANCERY_SOAK` says.
fn time() -> Duration {
    let seconds = std::env::var("CHANCERY_SOAK").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// No request fails, and what is no longer used goes in the end.
pub async fn moving_routes_lose_nothing(setup: Setup) -> Outcome<()> {
    let time = time();
    let (hand, tally) = flip(setup, Options::default(), time).await?;
    tally.clean()?;
    let rate = tally.answers() as f64 / time.as_secs_f64();
    if rate < LEAST {
        return Err(Failure::new(format!("only {rate:.0} requests a second were made")));
    }
    println!("{} requests, {rate:.0} a second, while routes moved {} times", tally.answers(), moves(time));
    let few = async || (hand.envoy.dump("dynamic_active_clusters").await.ok()?.len() == 1).then_some(());
    deadline::until("what is no longer used is gone", SOON * 3, few).await?;
    hand.judge()
}

/// How often routes move in that time.
fn moves(time: Duration) -> u128 {
    time.as_millis() / PACE.as_millis()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_moving_routes_lose_requests_delta() -> Outcome<()> {
    without_the_gate(Wire::Delta).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_moving_routes_lose_requests_sotw() -> Outcome<()> {
    without_the_gate(Wire::Sotw).await
}

/// The control: a gate that waits for nothing.
async fn without_the_gate(wire: Wire) -> Outcome<()> {
    let setup = Setup::new(wire, Release::Newest);
    let none = Duration::ZERO;
    let gate = gate::Options { hold: none, route_linger: none, listener_linger: none, ..gate::Options::default() };
    for _ in 0..TRIES {
        let (_, tally) = flip(setup, Options { gate, ..Options::default() }, Duration::from_secs(5)).await?;
        if tally.clean().is_err() {
            return Ok(());
        }
    }
    Err(Failure::new(format!("nothing was lost in {TRIES} runs")))
}

async fn flip(setup: Setup, options: Options, time: Duration) -> Outcome<(Handmade, Tally)> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let echoes = [Echo::start("v1", loopback, 0, 0).await?, Echo::start("v2", loopback, 0, 0).await?];
    let mut hand = Handmade::with(setup, Vec::new(), options).await?;
    let address = hand.subnet.free(20)?;
    let mut first = state(0, echoes[0].http);
    first.push(http("l", address, "r"));
    hand.post(first, &[]);
    hand.accepted(Kind::Route).await?;
    let answers = async || Load::closed(address, "echo", 1).run().await.ok()?.clean().ok();
    deadline::until("the listener answers", SOON, answers).await?;
    let load = Load { workers: WORKERS, rate: Some(RATE / WORKERS as f64), ..Load::steady(address, "echo", time) };
    let (load, began) = (load.start(), Instant::now());
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1.. {
        pace.tick().await;
        if began.elapsed() >= time {
            break;
        }
        let old = name(number - 1);
        hand.post(state(number, echoes[number % 2].http), &[(Kind::Cluster, &old), (Kind::Endpoint, &old)]);
    }
    Ok((hand, load.finished().await?))
}

fn name(number: usize) -> String {
    format!("c{number}")
}

/// The cluster of that number, and the routes that name it.
fn state(number: usize, endpoint: SocketAddr) -> Vec<Resource> {
    let name = name(number);
    vec![cluster(&name, 1), endpoints(&name, endpoint), routes("r", &name)]
}
