//! A large cluster behind a real API server: how long until chancery is ready, what that takes of it and of the API server,
//! beside a bare lister that asks for the same pages and throws them away.

#[path = "cluster/changes.rs"]
mod changes;
#[path = "cluster/objects.rs"]
mod objects;
#[path = "cluster/rolling.rs"]
mod rolling;

use super::figures::{Row, Verdict};
use super::harness::addresses::{Subnet, ports};
use super::harness::chancery::Chancery;
use super::harness::cluster::{ADMIN, Cluster, Options};
use super::harness::{Failure, Outcome};
use chancery::source::kubernetes::access::Access;
use kube::Client;
use kube::core::Request;
use kube::core::params::ListParams;
use objects::{PODS, SERVICES, fill};
use serde::Deserialize;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Objects of a page, as chancery asks for them.
const PAGE: u32 = 500;
/// What is listed.
const PATHS: [&str; 3] = ["/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/pods"];
/// How long a start may take.
const LIMIT: Duration = Duration::from_secs(180);

/// The rows. What can't be measured fails the run, and says what is missing and the command that fetches it.
pub fn cluster() -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut rows = Vec::new();
    for measured in [runtime.block_on(measure()), runtime.block_on(rolling::measure())] {
        match measured {
            Ok(found) => rows.extend(found),
            Err(failure) => panic!("no cluster is measured: {failure}"),
        }
    }
    rows
}

async fn measure() -> Outcome<Vec<Row>> {
    let cluster = Cluster::start(Options::default()).await?;
    fill(&cluster).await?;
    let access = Access { kubeconfig: Some(cluster.kubeconfig(ADMIN)), ..Access::default() };
    let client = access.client().await;
    let client = client.map_err(|error| Failure::new(error.to_string()))?;
    // The first list makes the API server read everything from etcd.
    list_all(&client).await?;
    let mut bare = [list_all(&client).await?, Duration::ZERO];
    let before = Load::of(&cluster).await?;
    let (subnet, folder) = (Subnet::take()?, tempfile::tempdir()?);
    let log = folder.path().join("chancery.log");
    let mut chancery = Chancery::of_cluster(&subnet, 1, &cluster.kubeconfig(ADMIN), log)?;
    chancery.xds = local()?;
    let began = Instant::now();
    chancery.launch()?;
    chancery.ready(LIMIT).await?;
    let ready = began.elapsed();
    let after = Load::of(&cluster).await?;
    let pid = chancery.pid().ok_or_else(|| Failure::new("chancery isn't running"))?;
    let peak = memory(pid, "VmHWM:")?;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let rest = memory(pid, "VmRSS:")?;
    bare[1] = list_all(&client).await?;
    let floor = bare.iter().map(Duration::as_secs_f64).sum::<f64>() / 2.0;
    let ratio = ready.as_secs_f64() / floor;
    let case = format!("{SERVICES} Services, {} slices, {} Pods", 2 * SERVICES, PODS * SERVICES);
    let start = Row::new("cluster", case)
        .also("start to ready", ready.as_secs_f64(), "s")
        .also("bare lister", floor, "s")
        .also("memory", rest, "MB")
        .also("most memory", peak, "MB")
        .also("requests", after.requests - before.requests, "")
        .also("API server's CPU", after.cpu - before.cpu, "s")
        .verdict(Verdict::at_most("ready, to the bare lister", ratio, 1.3, "x"))
        .verdict(Verdict::at_most("memory of a large cluster", rest, 400.0, "MB"));
    let changes = changes::measure(&client, &chancery).await?;
    Ok(vec![start, changes])
}

/// An address at which the fleet finds a server.
fn local() -> Outcome<SocketAddr> {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let [port] = ports(ip)?;
    Ok(SocketAddr::new(ip, port))
}

/// What the API server has done so far.
struct Load {
    requests: f64,
    cpu: f64,
}

impl Load {
    async fn of(cluster: &Cluster) -> Outcome<Self> {
        let metrics = cluster.metrics().await?;
        let requests = metrics.sum("apiserver_request_total", &[]);
        Ok(Self { requests, cpu: metrics.sum("process_cpu_seconds_total", &[]) })
    }
}

/// A value of a process in MB.
fn memory(pid: u32, what: &str) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes: Option<f64> = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    Ok(kilobytes.ok_or_else(|| Failure::new(format!("{what} of {pid}")))? / 1024.0)
}

/// A page of which only its end is read.
#[derive(Deserialize)]
struct Page {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    r#continue: String,
}

/// How long it takes to be given everything.
async fn list_all(client: &Client) -> Outcome<Duration> {
    let began = Instant::now();
    let mut lists = JoinSet::new();
    PATHS.into_iter().for_each(|path| _ = lists.spawn(list(client.clone(), path)));
    while let Some(listed) = lists.join_next().await {
        listed.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(began.elapsed())
}

async fn list(client: Client, path: &'static str) -> Outcome<()> {
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let failed = |error: kube::Error| Failure::new(format!("{path}: {error}"));
        let request = Request::new(path).list(&params).map_err(|error| Failure::new(error.to_string()))?;
        let text = client.request_text(request).await.map_err(failed)?;
        let page: Page = serde_json::from_str(&text)?;
        if page.metadata.r#continue.is_empty() {
            return Ok(());
        }
        params.continue_token = Some(page.metadata.r#continue);
    }
}
