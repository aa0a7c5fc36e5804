//! Floods of connections, calls, headers and bodies: what the process has of descriptors and memory is bounded while they go on, and
//! given back afterwards; proxies and requests notice nothing.

use crate::frames::{CONTINUATION, DATA, END_HEADERS, Frame, HEADERS, RESET, Raw, block, call};
use crate::harness::envoy::{Setup, Wire};
use crate::harness::manifests::reweighted;
use crate::harness::scene::{Scene, TRAFFIC};
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use rustix::process::{Resource as Limit, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::interval;

/// The method that is served.
const METHOD: &[u8] = b"/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
/// How often it is looked what the process has.
const OFTEN: Duration = Duration::from_millis(20);
/// How long those who say nothing stay.
const STAY: Duration = Duration::from_secs(2);
/// How long what a flood took may take to be given back.
const SOON: Duration = Duration::from_secs(15);
/// How many flood with calls, headers and bodies, and with connections.
const FLOODERS: usize = 64;
const CROWD: usize = 1000;
/// How many handshakes may be in progress at once (the reference of metrics says so).
const HANDSHAKES: u64 = 256;
/// Descriptors for questions at the admin port, and for proxies that come anew: while there is a flood, and afterwards.
const SPARE: u64 = 24;
const REST: u64 = 8;
/// The most memory that a flood may take, and the most that may be left of it: what the allocator keeps for the next, which takes
/// that much less.
const TAKEN_MIB: u64 = 96;
const LEFT_MIB: u64 = 80;
const AGAIN_MIB: u64 = 32;

/// What a process has.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    descriptors: u64,
    /// Resident memory.
    pub mib: u64,
}

impl Footprint {
    pub fn of(pid: u32) -> Outcome<Self> {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(Self { descriptors, mib: kib.ok_or_else(|| Failure::new("no VmRSS"))? / 1024 })
    }

    fn max(self, other: Self) -> Self {
        Self { descriptors: self.descriptors.max(other.descriptors), mib: self.mib.max(other.mib) }
    }
}

/// The most that a process has while something goes on.
async fn most(pid: u32, flood: impl Future<Output = Outcome<()>>) -> Outcome<Footprint> {
    let (mut flood, mut ticks, mut most) = (pin!(flood), interval(OFTEN), Footprint::of(pid)?);
    loop {
        tokio::select! {
            done = &mut flood => return done.map(|()| most),
            _ = ticks.tick() => most = most.max(Footprint::of(pid)?),
        }
    }
}

/// As many as that do the same at once, each on a connection of its own.
async fn crowd<F: Future<Output = Outcome<()>> + Send + 'static>(
    count: usize,
    at: SocketAddr,
    each: impl Fn(TcpStream) -> F,
) -> Outcome<()> {
    let mut crowd = JoinSet::new();
    for _ in 0..count {
        crowd.spawn(each(TcpStream::connect(at).await?));
    }
    while let Some(done) = crowd.join_next().await {
        done??;
    }
    Ok(())
}

/// Calls that are taken back at once, until the connection ends.
async fn resets(socket: TcpStream) -> Outcome<()> {
    let mut client = Raw::begin(socket).await;
    let mut flood = Vec::new();
    for stream in (1..).step_by(2).take(4000) {
        flood.extend(Frame::new(HEADERS, END_HEADERS, stream, &call(METHOD, &[])).bytes());
        flood.extend(Frame::new(RESET, 0, stream, &[0, 0, 0, 8]).bytes());
    }
    client.write(&flood).await;
    client.until(|frame| frame.code().is_some()).await;
    Ok(())
}

/// Headers that go on as long as they are taken.
async fn headers(socket: TcpStream) -> Outcome<()> {
    let mut client = Raw::begin(socket).await;
    client.send(&Frame::new(HEADERS, 0, 1, &call(METHOD, &[]))).await;
    let more = Frame::new(CONTINUATION, 0, 1, &block(&[("x", &[b'a'; 1000])]));
    let mut taken = 0;
    while client.send(&more).await {
        taken += 1;
        if taken > 100_000 {
            return Err(Failure::new("headers are taken without end"));
        }
    }
    Ok(())
}

/// Calls each of which announces sixteen MiB and sends a byte of it.
async fn bodies(socket: TcpStream) -> Outcome<()> {
    let mut client = Raw::begin(socket).await;
    for stream in (1..).step_by(2).take(50) {
        client.send(&Frame::new(HEADERS, END_HEADERS, stream, &call(METHOD, &[]))).await;
        client.send(&Frame::new(DATA, 0, stream, &[0, 1, 0, 0, 0, 7])).await;
    }
    tokio::time::sleep(STAY).await;
    Ok(())
}

/// The beginning of something, and nothing more.
async fn begins(mut socket: TcpStream, with: &[u8]) -> Outcome<()> {
    // It may be refused by now.
    socket.write_all(with).await.ok();
    tokio::time::sleep(STAY).await;
    Ok(())
}

/// Requests go on while there is a flood, what the process has is bounded, and given back afterwards. Returns what it had more.
async fn bounded(
    scene: &Scene,
    what: &str,
    (connections, flood): (u64, impl Future<Output = Outcome<()>>),
) -> Outcome<Footprint> {
    let pid = scene.chancery.pid().ok_or_else(|| Failure::new("chancery isn't running"))?;
    let before = Footprint::of(pid)?;
    let load = scene.traffic().start();
    let most = most(pid, flood).await?;
    let mut after = before;
    let given_back = deadline::until("everything is given back", SOON, async || {
        after = Footprint::of(pid).ok()?;
        (after.descriptors <= before.descriptors + REST && after.mib <= before.mib + LEFT_MIB).then_some(())
    });
    let given_back = given_back.await;
    let figures = format!("{what}: {before:?} before, at most {most:?}, {after:?} after");
    println!("{figures}");
    given_back.map_err(|failure| failure.with(&figures))?;
    load.stopped().await?.clean()?;
    if most.descriptors > before.descriptors + connections + SPARE || most.mib > before.mib + TAKEN_MIB {
        return Err(Failure::new(figures));
    }
    Ok(Footprint { descriptors: most.descriptors - before.descriptors, mib: most.mib - before.mib })
}

/// Fails unless what a crowd holds is seen: the control of the bounds.
fn held(Footprint { descriptors, .. }: Footprint, least: u64) -> Outcome<()> {
    let few = || Failure::new(format!("the control: {descriptors} descriptors, where {least} connections are held"));
    if descriptors + SPARE < least { Err(few()) } else { Ok(()) }
}

/// Every Envoy accepts another split, and requests follow it.
async fn goes_on(scene: &Scene) -> Outcome<()> {
    let text = scene.folder.read(TRAFFIC)?;
    scene.reroute(&reweighted(&text, &[("v1", 0), ("v2", 100)])).await?;
    let tally = scene.requests(50).run().await?;
    tally.clean()?;
    if tally.of("v2") == 50 { Ok(()) } else { Err(Failure::new(format!("not all went to v2: {tally:?}"))) }
}

/// As many descriptors as this process may have: it holds the other ends.
pub fn raise_limit() -> Outcome<()> {
    let limit = getrlimit(Limit::Nofile);
    Ok(setrlimit(Limit::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_take_so_much_and_leave_nothing() -> Outcome<()> {
    raise_limit()?;
    on(Scene::open(Setup::new(Wire::Delta, Release::Newest)).await?, async |scene| {
        let (at, flooders) = (scene.chancery.xds, FLOODERS as u64);
        bounded(scene, "calls taken back", (flooders, crowd(FLOODERS, at, resets))).await?;
        bounded(scene, "headers without end", (flooders, crowd(FLOODERS, at, headers))).await?;
        let slow = bounded(scene, "bodies that don't come", (flooders, crowd(FLOODERS, at, bodies))).await?;
        held(slow, flooders)?;
        let again = bounded(scene, "the same once more", (flooders, crowd(FLOODERS, at, bodies))).await?;
        if again.mib > AGAIN_MIB {
            return Err(Failure::new(format!("a flood takes {} MiB again: what the last took is lost", again.mib)));
        }
        let silent = crowd(CROWD, at, |socket| begins(socket, b""));
        held(bounded(scene, "connections", (CROWD as u64, silent)).await?, CROWD as u64)?;
        goes_on(scene).await
    })
    .await
}

/// Where handshakes begin and never end, no more descriptors are taken than there are places, however many come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_handshakes_take_as_much_as_there_are_places() -> Outcome<()> {
    raise_limit()?;
    let scene = Scene::secured().await?.with_envoys(Setup::new(Wire::Delta, Release::Newest), false).await?;
    on(scene, async |scene| {
        // The head of a first message, and not all of it.
        let half = crowd(CROWD, scene.chancery.xds, |socket| begins(socket, b"\x16\x03\x01\x02\x00\x01\x00"));
        held(bounded(scene, "half handshakes", (HANDSHAKES, half)).await?, HANDSHAKES / 2)?;
        goes_on(scene).await
    })
    .await
}

/// The control: memory that is taken is seen, and so is a descriptor.
#[test]
fn what_a_process_has_is_seen() -> Outcome<()> {
    let before = Footprint::of(std::process::id())?;
    let taken = vec![7u8; 256 << 20];
    let open = (0..64).map(|_| fs::File::open("/dev/null")).collect::<Result<Vec<_>, _>>()?;
    let after = Footprint::of(std::process::id())?;
    // Other tests go on in this process meanwhile, and give back what they have.
    let seen = after.mib > before.mib + 128 && after.descriptors > before.descriptors;
    if seen && taken[1 << 20] == 7 && open.len() == 64 {
        Ok(())
    } else {
        Err(Failure::new(format!("{before:?}, {after:?}")))
    }
}
