//! A load balancer in front of two replicas changes its mind again and again: the proxy that is led to and fro goes on with what it has,
//! nothing is taken from it, what changes meanwhile arrives, and nobody counts who is gone.

use crate::harness::chancery::Chancery;
use crate::harness::cluster::ADMIN;
use crate::harness::passage::Passage;
use crate::harness::timing::soak;
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{Stage, slice};
use std::time::{Duration, Instant};

/// How often it changes its mind.
const FLIP: Duration = Duration::from_millis(400);
/// How long an Envoy that was cut off may take to come back: it waits ever longer between its attempts.
const RECONNECT: Duration = Duration::from_secs(60);

/// How many proxies a replica has.
async fn proxies(chancery: &Chancery) -> Option<usize> {
    Some(chancery.api().metrics().await.ok()?.sum("chancery_xds_streams", &[]) as usize)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_led_to_and_fro_loses_nothing() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, "flips").await?;
    stage.chancery.restart().await?;
    let mut other = stage.another(&cluster, ADMIN, "two", 2)?;
    other.restart().await?;
    let passage = Passage::start(stage.spare()?, stage.chancery.xds).await?;
    stage.connect_recorded_to(passage.address).await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    let (flipping, mut flips) = (soak(8), 0u32);
    let load = stage.traffic(flipping + 2 * RECONNECT).start();
    let ends = Instant::now() + flipping;
    while Instant::now() < ends {
        passage.turn(if flips.is_multiple_of(2) { other.xds } else { stage.chancery.xds });
        flips += 1;
        if flips.is_multiple_of(6) {
            let address = format!("10.9.2.{}", flips / 6 % 200 + 1);
            cluster.apply(&slice("flips", "inside", &[&address])).await?;
        }
        tokio::time::sleep(FLIP).await;
    }
    cluster.apply(&slice("flips", "inside", &["10.9.2.250"])).await?;
    passage.turn(other.xds);
    let arrived = deadline::until("it is where it was led to last, and alone there", RECONNECT, async || {
        ((proxies(&other).await?, proxies(&stage.chancery).await?) == (1, 0)).then_some(())
    });
    arrived.await.map_err(|failure| failure.with(&other.tail()))?;
    stage.has_endpoints("inside", &["10.9.2.250"]).await?;
    load.stopped().await?.clean()?;
    println!("{flips} flips, {} streams", stage.streams());
    // The control: it really was led elsewhere, again and again.
    if stage.streams() < 4 {
        return Err(Failure::new(format!("{flips} flips and only {} streams", stage.streams())));
    }
    stage.has_lost_nothing(&cluster).await
}
