//! A list that takes its time because the way to the API server is narrow: it comes page by page, one can see how far it has
//! come, it takes no more memory than one that comes at once, and nothing is served before its end. An Envoy from before keeps all it has.

use crate::harness::cluster::{ADMIN, Cluster, Options};
use crate::harness::timing::{is_soak, soak};
use crate::harness::{Failure, Outcome, deadline};
use crate::shared;
use crate::stage::{Stage, slice};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

/// How many seconds the slow list is meant to take at least.
const SLOW: u64 = 6;

/// How many Pods there are; in pages of 500.
fn pods() -> usize {
    if is_soak() { 50_000 } else { 6_000 }
}

/// How long a start may take.
fn limit() -> Duration {
    soak(SLOW) * 4 + Duration::from_secs(36)
}

/// A Pod with a part that nobody reads, and that can't be written shorter.
fn pod(index: usize) -> (String, Value) {
    let name = format!("pod-{index}");
    let ip = format!("10.8.{}.{}", index / 250, index % 250 + 1);
    let noise: Vec<String> =
        (0..12).map(|at| format!("{:032x}", xxhash_rust::xxh3::xxh3_128(format!("{index}-{at}").as_bytes()))).collect();
    let container = json!({"name": "app", "image": "app", "command": noise, "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent", "resources": {}});
    let object = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "slow", "labels": {"app": "app"}, "creationTimestamp": "2026-01-01T00:00:00Z",
            "uid": format!("00000000-0000-4000-8000-{index:012x}")},
        "spec": {"nodeName": "node", "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "containers": [container]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    (format!("pods/slow/{name}"), object)
}

async fn stage(cluster: &Cluster) -> Outcome<Stage> {
    let stage = Stage::set(cluster, ADMIN, "slow").await?;
    let pods: Vec<_> = (0..pods()).map(pod).collect();
    cluster.write(&pods).await?;
    Ok(stage)
}

/// The most memory that it has ever had, in MB.
fn most_memory(stage: &Stage) -> Outcome<f64> {
    let pid = stage.chancery.pid().ok_or_else(|| Failure::new("chancery isn't running"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: Option<f64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    Ok(kilobytes.ok_or_else(|| Failure::new("no VmHWM"))? / 1024.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_list_is_followed_page_by_page() -> Outcome<()> {
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = stage(&cluster).await?;
    let passage = stage.by_way_of_a_passage(&cluster, ADMIN).await?;
    // The control: by a wide way it doesn't take long.
    let began = Instant::now();
    stage.chancery.launch()?;
    stage.chancery.ready(limit()).await?;
    let (fast, memory, bytes) = (began.elapsed(), most_memory(&stage)?, passage.passed());
    assert_eq!(stage.chancery.api().kind("pods").await?.objects, pods() as u64 + 1);
    stage.connect_recorded().await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    let load = stage.traffic(limit()).start();
    stage.chancery.kill()?;

    let meant = soak(SLOW).max(fast * 2);
    passage.narrow((bytes as f64 / meant.as_secs_f64()) as u64);
    let began = Instant::now();
    stage.chancery.launch()?;
    let mut seen = BTreeSet::new();
    deadline::until("chancery is ready", limit(), async || {
        let api = stage.chancery.api();
        let told = api.readiness().await.ok()?;
        seen.extend(told.lines().find_map(|line| {
            let count = line.split_once("pods (listing, ")?.1.split_once(" so far")?.0;
            count.parse::<usize>().ok()
        }));
        api.is_ready().await.then_some(())
    })
    .await
    .map_err(|failure| failure.with(&stage.chancery.tail()))?;
    let (slow, peak) = (began.elapsed(), most_memory(&stage)?);
    println!("{} Pods, {bytes} bytes: {fast:?} and {memory:.0} MB, by a narrow way {slow:?} and {peak:.0} MB", pods());
    assert!(slow > meant.mul_f64(0.8) && slow > fast + soak(SLOW) / 4, "{fast:?} {slow:?}");
    assert!(seen.len() >= 6 && seen.iter().all(|count| count % 500 == 0), "{seen:?}");
    assert!(peak < memory * 1.25 + 8.0, "{peak} MB, and {memory} MB where it comes at once");
    // It goes on from there.
    passage.narrow(u64::MAX);
    cluster.apply(&slice("slow", "inside", &["10.9.0.25"])).await?;
    stage.has_endpoints("inside", &["10.9.0.25"]).await?;
    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}
