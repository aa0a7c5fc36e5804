//! Make before break: routes that move several times a second to clusters of names never used before, which appear and
//! vanish with them, under load, and listeners that do. Nobody notices, and what passed obeys the protocol; the control, with a gate
//! that waits for nothing, shows that one could.

use crate::handmade::{Handmade, SOON};
use crate::harness::echo::Echo;
use crate::harness::envoy::{Setup, Wire};
use crate::harness::load::{Load, Tally};
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline};
use crate::resources::{cluster, endpoints, http, passing, routes};
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

/// How long listeners of Envoys here drain.
const DRAINED: Duration = Duration::from_secs(1);

/// How often the control may be lucky: what is lost depends on what Envoy does first.
const TRIES: usize = 4;

/// How long it goes on: ten seconds, or as long as `CHANCERY_SOAK` says.
fn time() -> Duration {
    let seconds = std::env::var("CHANCERY_SOAK").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

/// What names the clusters: routes, or a listener itself.
#[derive(Clone, Copy, PartialEq)]
enum Namer {
    Routes,
    Listener,
}

/// No request fails, and what is no longer used goes in the end.
pub async fn moving_routes_lose_nothing(setup: Setup) -> Outcome<()> {
    let time = time();
    let (hand, tally) = flip(setup, Namer::Routes, Options::default(), time).await?;
    tally.clean()?;
    let rate = tally.answers() as f64 / time.as_secs_f64();
    if rate < LEAST {
        return Err(Failure::new(format!("only {rate:.0} requests a second were made")));
    }
    println!("{} requests, {rate:.0} a second, while routes moved {} times", tally.answers(), moves(time));
    left_in_the_end(hand).await
}

/// No connection fails while the listener that passes it on names another cluster each time. The clusters stay as long as the
/// listeners drain, and go in the end.
pub async fn moving_listeners_lose_nothing(setup: Setup) -> Outcome<()> {
    let time = time() / 2;
    let options = Options { gate: gate::Options::draining(DRAINED), ..Options::default() };
    let (hand, tally) = flip(setup, Namer::Listener, options, time).await?;
    tally.clean()?;
    println!("{} connections while a listener changed {} times", tally.answers(), moves(time));
    left_in_the_end(hand).await
}

async fn left_in_the_end(hand: Handmade) -> Outcome<()> {
    let few = async || (hand.envoy.dump("dynamic_active_clusters").await.ok()?.len() == 1).then_some(());
    deadline::until("what is no longer used is gone", SOON * 3, few).await?;
    hand.judge_at_rest().await
}

/// How often routes move in that time.
fn moves(time: Duration) -> u128 {
    time.as_millis() / PACE.as_millis()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_moving_routes_lose_requests_delta() -> Outcome<()> {
    without_the_gate(Wire::Delta, Namer::Routes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_moving_routes_lose_requests_sotw() -> Outcome<()> {
    without_the_gate(Wire::Sotw, Namer::Routes).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_moving_listeners_lose_connections() -> Outcome<()> {
    without_the_gate(Wire::Delta, Namer::Listener).await
}

/// The control: a gate that waits for nothing.
async fn without_the_gate(wire: Wire, namer: Namer) -> Outcome<()> {
    let setup = Setup::new(wire, Release::Newest);
    let none = Duration::ZERO;
    let gate = gate::Options { hold: none, route_linger: none, listener_linger: none, ..gate::Options::default() };
    for _ in 0..TRIES {
        let (_, tally) = flip(setup, namer, Options { gate, ..Options::default() }, Duration::from_secs(5)).await?;
        if tally.clean().is_err() {
            return Ok(());
        }
    }
    Err(Failure::new(format!("nothing was lost in {TRIES} runs")))
}

async fn flip(setup: Setup, namer: Namer, options: Options, time: Duration) -> Outcome<(Handmade, Tally)> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let echoes = [Echo::start("v1", loopback, 0, 0).await?, Echo::start("v2", loopback, 0, 0).await?];
    let mut hand = Handmade::with(setup, Vec::new(), options).await?;
    let address = hand.subnet.free(20)?;
    hand.post(namer.state(0, address, echoes[0].http), &[]);
    hand.accepted(Kind::Listener).await?;
    let answers = async || namer.load(Load::closed(address, "echo", 1)).run().await.ok()?.clean().ok();
    deadline::until("the listener answers", SOON, answers).await?;
    let load = Load { workers: WORKERS, rate: Some(RATE / WORKERS as f64), ..Load::steady(address, "echo", time) };
    let (load, began) = (namer.load(load).start(), Instant::now());
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1.. {
        pace.tick().await;
        if began.elapsed() >= time {
            break;
        }
        let old = name(number - 1);
        let state = namer.state(number, address, echoes[number % 2].http);
        hand.post(state, &[(Kind::Cluster, &old), (Kind::Endpoint, &old)]);
    }
    Ok((hand, load.finished().await?))
}

fn name(number: usize) -> String {
    format!("c{number}")
}

impl Namer {
    /// The cluster of that number, and what names it.
    fn state(self, number: usize, address: SocketAddr, endpoint: SocketAddr) -> Vec<Resource> {
        let name = name(number);
        let naming = match self {
            Self::Routes => vec![http("l", address, "r"), routes("r", &name)],
            Self::Listener => vec![passing("l", address, &name)],
        };
        [vec![cluster(&name, 1), endpoints(&name, endpoint)], naming].concat()
    }

    /// Requests to what names them: a connection of its own for each where that is what is passed on, and fewer of them.
    fn load(self, load: Load) -> Load {
        match self {
            Self::Routes => load,
            Self::Listener => Load { rate: load.rate.map(|rate| rate / 4.0), ..load }.header("connection", "close"),
        }
    }
}
