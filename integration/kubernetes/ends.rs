//! chancery is told to end: it says first that it is not ready, then it sends its proxies elsewhere, one after the other, and ends.

use crate::frames::{GOAWAY, Raw};
use crate::harness::cluster::ADMIN;
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage};
use crate::streams::Stream;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::{Code, Status};

/// How many proxies there are. They are told 10 ms apart, so that it takes two seconds.
const FLEET: usize = 200;
/// What the first and the last to be told are apart at least.
const APART: Duration = Duration::from_millis(500);
/// What a Pod is given to end by the chart, at the least.
const GRACE: Duration = Duration::from_secs(13);

/// Streams that have had a first answer; each says when it ended, and how.
async fn fleet(stage: &Stage) -> Outcome<JoinSet<(Instant, Status)>> {
    let mut fleet = JoinSet::new();
    for _ in 0..FLEET {
        let mut stream = Stream::open(stage, "client").await?;
        stream.next().await?;
        fleet.spawn(async move {
            let status = stream.ended().await;
            (Instant::now(), status)
        });
    }
    Ok(fleet)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_first_then_proxies_go_and_then_it_ends() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::recorded(&cluster, ADMIN, "ends").await?;
    let load = stage.traffic(Duration::from_secs(60)).start();
    let mut fleet = fleet(&stage).await?;
    let mut raw = Raw::begin(TcpStream::connect(stage.chancery.xds).await?).await;
    // The control: nobody goes, and it is ready.
    let api = stage.chancery.api();
    let stays = async || api.is_ready().await;
    deadline::throughout("it is ready", Duration::from_secs(1), stays).await?;
    if let Some(gone) = fleet.try_join_next() {
        return Err(Failure::new(format!("a stream has ended: {gone:?}")));
    }

    let told = Instant::now();
    stage.chancery.ask_to_end()?;
    let farewell = tokio::spawn(async move { raw.until(|frame| frame.kind == GOAWAY).await.pop() });
    let unready = deadline::until("it is not ready, and says why", SOON, async || {
        let said = api.readiness().await.ok()?;
        said.contains("waiting for the end of the process").then(Instant::now)
    });
    let unready = unready.await.map_err(|failure| failure.with(&stage.chancery.tail()))?;
    let ends: Vec<_> = fleet.join_all().await;
    let status = stage.chancery.ended(GRACE).await?;
    let whole = told.elapsed();
    assert!(status.success(), "{status}");
    let wrong = ends
        .iter()
        .find(|(_, status)| (status.code(), status.message()) != (Code::Unavailable, "the server is shutting down"));
    assert!(wrong.is_none(), "{wrong:?}");
    let [first, last] = [ends.iter().map(|(at, _)| *at).min(), ends.iter().map(|(at, _)| *at).max()];
    let [first, last] = [first, last].map(|at| at.expect("there are some"));
    println!(
        "not ready after {:?}, streams end from {:?} to {:?}, the process after {whole:?}",
        unready - told,
        first - told,
        last - told
    );
    assert!(unready < last, "it says so while there are proxies");
    assert!(last - first > APART, "they go one after the other");
    let farewell = farewell.await?.ok_or_else(|| Failure::new("a connection ended without a word"))?;
    assert_eq!((farewell.kind, farewell.code()), (GOAWAY, Some(0)));
    assert!(
        TcpStream::connect(stage.chancery.xds).await.is_err()
            && TcpStream::connect(stage.chancery.admin).await.is_err()
    );

    stage.chancery.restart().await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}
