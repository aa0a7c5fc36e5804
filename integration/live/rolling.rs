//! Envoys that are led from one chancery to another, as a Service does while replicas are replaced or a load balancer changes its
//! mind: of one build, or of two. What they hold is not sent again, nothing is taken from them, and a change arrives wherever
//! they are.

use crate::harness::chancery::Chancery;
use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::manifests::reweighted;
use crate::harness::passage::Passage;
use crate::harness::scene::{RECONNECT, SOON, Scene, TRAFFIC};
use crate::harness::timing::soak;
use crate::harness::{Failure, Outcome, deadline, spawner, tools};
use crate::trace::{Event, What};
use crate::watched::Watched;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The last bytes of the addresses: of the second chancery and of the passage.
const SECOND: u8 = 5;
const PASSAGE: u8 = 6;
/// How often a load balancer changes its mind.
const FLIP: Duration = Duration::from_millis(400);

/// Two chanceries on one folder, and the Envoys of the example, which a passage leads to either.
struct Two {
    scene: Scene,
    second: Chancery,
    passage: Passage,
    watched: Watched,
}

impl Two {
    async fn open(setup: Setup, program: Option<PathBuf>) -> Outcome<Self> {
        let scene = Scene::prepared().await?;
        let log = scene.files.path().join("second.log");
        let mut second = Chancery::start(&scene.subnet, SECOND, scene.folder.path(), log).await?;
        if program.is_some() {
            second.kill()?;
            second.program = program;
            second.restart().await?;
        }
        let passage = Passage::start(scene.subnet.free(PASSAGE)?, scene.chancery.xds).await?;
        let (scene, watched) = Watched::between(scene, passage.address, setup).await?;
        Ok(Self { scene, second, passage, watched })
    }

    /// Leads everybody to the first or the second, and waits until they have everything from there.
    async fn lead(&self, to: &Chancery) -> Outcome<()> {
        self.passage.turn(to.xds);
        self.settled(to).await
    }

    async fn settled(&self, at: &Chancery) -> Outcome<()> {
        let nodes: Vec<&str> = self.scene.envoys.iter().map(|envoy| envoy.node.as_str()).collect();
        let settled = at.api().settled(&nodes, RECONNECT).await;
        settled.map(drop).map_err(|failure| failure.with(&at.tail()))
    }

    /// What every Envoy holds, with the time at which it was applied.
    async fn held(&self) -> Outcome<Vec<Value>> {
        let mut held = Vec::new();
        for envoy in &self.scene.envoys {
            for resource in ["dynamic_active_clusters", "dynamic_listeners", "dynamic_route_configs"] {
                let dump = envoy.dump(resource).await?;
                if dump.is_empty() {
                    return Err(Failure::new(format!("{} has no {resource}", envoy.node)));
                }
                held.extend(dump);
            }
        }
        Ok(held)
    }

    /// How many resources were sent so far.
    fn sent(&self) -> usize {
        let sent =
            |what: &What| if let What::Sent(sent) = what { sent.resources.len() + sent.removed.len() } else { 0 };
        self.watched.recorder.with(|trace| trace.events.iter().map(|event| sent(&event.what)).sum())
    }

    /// A change, which arrives wherever the Envoys are.
    async fn change(&self, at: &Chancery, weights: [u32; 2]) -> Outcome<()> {
        let before = at.api().accepted("rds").await?;
        let text = self.scene.folder.read(TRAFFIC)?;
        let [one, two] = weights;
        self.scene.folder.replace(TRAFFIC, &reweighted(&text, &[("v1", one), ("v2", two)]))?;
        at.api().moved("rds", &before, SOON).await?;
        let tally = self.scene.requests(100).run().await?;
        tally.clean()?;
        let right = (tally.of("v1") == 100) == (one == 100) && (tally.of("v2") == 100) == (two == 100);
        if right { Ok(()) } else { Err(Failure::new(format!("{weights:?}: {tally:?}"))) }
    }

    /// Judges all that has passed.
    fn judge(&self) -> Outcome<()> {
        self.watched.judge()
    }
}

/// The program as another release: it says another version, and is another file.
fn another_release(folder: &Path) -> Outcome<PathBuf> {
    let (own, other) = (env!("CARGO_PKG_VERSION"), "9.8.7");
    let mut program = fs::read(tools::chancery()?)?;
    let (from, to) = (own.as_bytes(), other.as_bytes());
    if from.len() != to.len() {
        return Err(Failure::new(format!("{own} is not as long as {other}")));
    }
    let places: Vec<usize> = memchr_all(&program, from).collect();
    places.into_iter().for_each(|at| program[at..at + to.len()].copy_from_slice(to));
    let path = folder.join("chancery-of-another-release");
    fs::write(&path, program)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let said = spawner::output(&path, &["--version"])?;
    if said.contains(other) { Ok(path) } else { Err(Failure::new(format!("it says {said}"))) }
}

/// Where a text is found.
fn memchr_all<'a>(text: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    text.windows(wanted.len()).enumerate().filter(move |(_, found)| *found == wanted).map(|(at, _)| at)
}

/// One release is replaced by another, replica by replica, and it goes back again: no request fails, nothing is applied anew.
/// The control is an edit, which is.
pub async fn an_upgrade_and_the_way_back_change_nothing(setup: Setup) -> Outcome<()> {
    let files = tempfile::tempdir()?;
    let mut two = Two::open(setup, Some(another_release(files.path())?)).await?;
    let before = two.held().await?;
    let sent = two.sent();
    let load = Load { time: Duration::from_secs(120), ..two.scene.traffic() }.start();
    // The first goes while the second is there, and so on until both are of the other release, and back.
    let (old, new) = (two.scene.chancery.program.clone(), two.second.program.clone());
    for (first, second) in [(new.clone(), new), (old.clone(), old)] {
        two.lead(&two.second).await?;
        two.scene.chancery.terminate(SOON).await?;
        two.scene.chancery.program = first;
        two.scene.chancery.restart().await?;
        two.lead(&two.scene.chancery).await?;
        two.second.terminate(SOON).await?;
        two.second.program = second;
        two.second.restart().await?;
    }
    load.stopped().await?.clean()?;
    let more = two.sent() - sent;
    if two.held().await? != before {
        return Err(Failure::new("an Envoy has applied something anew"));
    }
    // State of the world knows no other way than to send all of it.
    if setup.wire == crate::harness::envoy::Wire::Delta && more > 0 {
        return Err(Failure::new(format!("{more} resources were sent again")));
    }
    two.change(&two.scene.chancery, [100, 0]).await?;
    two.lead(&two.second).await?;
    two.change(&two.second, [0, 100]).await?;
    if two.held().await? == before {
        return Err(Failure::new("an edit is not seen"));
    }
    two.judge()
}

/// Who is asked changes every moment: no request fails, nobody is locked out, and what changed meanwhile is there afterwards.
pub async fn who_is_led_to_and_fro_has_everything_in_the_end(setup: Setup) -> Outcome<()> {
    let two = Two::open(setup, None).await?;
    two.change(&two.scene.chancery, [100, 0]).await?;
    let flipping = soak(8);
    let load = Load { time: flipping + RECONNECT, ..two.scene.traffic() }.start();
    let (ends, mut flips) = (Instant::now() + flipping, 0u32);
    while Instant::now() < ends {
        let to = if flips.is_multiple_of(2) { &two.second } else { &two.scene.chancery };
        two.passage.turn(to.xds);
        flips += 1;
        if flips == 6 {
            let text = two.scene.folder.read(TRAFFIC)?;
            two.scene.folder.replace(TRAFFIC, &reweighted(&text, &[("v1", 0), ("v2", 100)]))?;
        }
        tokio::time::sleep(FLIP).await;
    }
    two.lead(&two.second).await?;
    load.stopped().await?.clean()?;
    let opened = |event: &&Event| matches!(event.what, What::Opened(_));
    let streams = two.watched.recorder.with(|trace| trace.events.iter().filter(opened).count());
    // The control: they really were led elsewhere, again and again.
    if streams < 3 * two.scene.envoys.len() {
        return Err(Failure::new(format!("{flips} flips and only {streams} streams")));
    }
    let tally = two.scene.requests(100).run().await?;
    tally.clean()?;
    if tally.of("v2") != 100 {
        return Err(Failure::new(format!("what changed meanwhile is not there: {tally:?}")));
    }
    // Nobody counts who is gone.
    let first = two.scene.chancery.api();
    let empty = async || first.proxies().await.ok()?.is_empty().then_some(());
    deadline::until("the first has no proxies any more", RECONNECT, empty).await?;
    two.change(&two.second, [100, 0]).await?;
    two.judge()
}
