//! The list of one kind hangs, and all others are answered: what proxies need is waited for and named, however long it takes,
//! what is never in effect is not; and nothing is taken away because of either.

use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::spawner::{self, Process};
use crate::harness::timing::soak;
use crate::harness::{Outcome, deadline, tools};
use crate::shared;
use crate::stage::{SOON, Stage, slice};
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{self, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long chancery is seen to wait, or not to.
const WHILE: u64 = 3;
/// The most that the beginning of a question may have.
const HEAD: usize = 64 << 10;

/// A way to the API server in plain text, by which lists of one resource get no answer.
struct Door {
    held: watch::Sender<&'static str>,
    kubeconfig: PathBuf,
    serving: JoinHandle<()>,
    _proxy: Process,
    _files: TempDir,
}

impl Door {
    async fn open(cluster: &Cluster, stage: &Stage) -> Outcome<Self> {
        let (files, behind) = (tempfile::tempdir()?, stage.spare()?);
        let config = cluster.kubeconfig(ADMIN).to_string_lossy().into_owned();
        let (ip, port) = (behind.ip().to_string(), behind.port().to_string());
        let arguments =
            ["--kubeconfig", &config, "proxy", "--address", &ip, "--port", &port, "--accept-hosts", "^127\\."];
        let log = files.path().join("proxy.log");
        let proxy = spawner::start("kubectl proxy", &tools::kubernetes("kubectl")?, &arguments, &log)?;
        let opened = async || TcpStream::connect(behind).await.ok().map(drop);
        deadline::until("kubectl proxy listens", SOON, opened).await.map_err(|failure| failure.with(&proxy.tail()))?;
        let listener = TcpListener::bind((behind.ip(), 0)).await?;
        let kubeconfig = files.path().join("kubeconfig");
        let server = json!({"server": format!("http://{}", listener.local_addr()?)});
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "door",
            "contexts": [{"name": "door", "context": {"cluster": "door", "user": "door"}}],
            "clusters": [{"name": "door", "cluster": server}], "users": [{"name": "door", "user": {}}]});
        fs::write(&kubeconfig, config.to_string())?;
        let held = watch::Sender::new("");
        let serving = tokio::spawn(serve(listener, behind, held.subscribe()));
        Ok(Self { held, kubeconfig, serving, _proxy: proxy, _files: files })
    }

    /// From now on lists of this resource get no answer, and of no other; those that wait for another are answered.
    fn hold(&self, resource: &'static str) {
        self.held.send_replace(resource);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, behind: SocketAddr, held: watch::Receiver<&'static str>) {
    // Connections end with this task.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(pass(stream, behind, held.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Passes on one question and its answer. Each has a connection of its own, so that none is passed on without being looked at.
async fn pass(mut stream: TcpStream, behind: SocketAddr, mut held: watch::Receiver<&'static str>) -> io::Result<()> {
    let (mut head, mut other) = (Vec::new(), TcpStream::connect(behind).await?);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let end = head.windows(2).position(|end| end == b"\r\n").unwrap_or_default();
    let line = String::from_utf8_lossy(&head[..end]).into_owned();
    let asked = line.split(' ').nth(1).unwrap_or_default();
    let (path, query) = asked.split_once('?').unwrap_or((asked, ""));
    let listed = if query.contains("watch=") { "" } else { path.rsplit('/').next().unwrap_or_default() };
    held.wait_for(|held| held.is_empty() || *held != listed).await.map_err(io::Error::other)?;
    other.write_all(format!("{line}\r\nconnection: close").as_bytes()).await?;
    other.write_all(&head[end..]).await?;
    copy_bidirectional(&mut stream, &mut other).await.map(drop)
}

/// Something of a kind that means nothing to proxies.
const FILTER: &str = "apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: filter, namespace: hung}
spec: {}
";

/// The line of `/readyz` about a kind that is waited for.
async fn waited_for(stage: &Stage, kind: &str) -> Option<String> {
    let told = stage.chancery.api().readiness().await.ok()?;
    told.contains(&format!("{kind} (")).then_some(told)
}

/// chancery starts anew while lists of a kind hang that means something to proxies.
async fn is_waited_for(stage: &mut Stage, door: &Door, resource: &'static str, kind: &str) -> Outcome<()> {
    stage.chancery.kill()?;
    door.hold(resource);
    stage.chancery.launch()?;
    let alone = deadline::until("it waits for that kind alone", SOON, async || {
        waited_for(stage, kind).await.filter(|told| told.matches(" (").count() == 1)
    });
    let told = alone.await.map_err(|failure| failure.with(&stage.chancery.tail()))?;
    assert!(told.contains("waiting for"), "{told}");
    let waits = async || waited_for(stage, kind).await.is_some() && !stage.chancery.api().is_ready().await;
    deadline::throughout("it is waited for", soak(WHILE), waits).await?;
    door.hold("");
    // It may have been given up just now, and be asked for again.
    stage.chancery.ready(Duration::from_secs(60)).await?;
    stage.is(kind, "watching").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_whose_list_hangs_is_waited_for_if_it_means_something() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let mut stage = Stage::set(&cluster, ADMIN, "hung").await?;
    cluster.apply(FILTER).await?;
    let door = Door::open(&cluster, &stage).await?;
    stage.reaches_by(&door.kubeconfig)?;
    // The control: nothing hangs.
    stage.record().await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    let load = stage.traffic(soak(WHILE) * 3 + Duration::from_secs(180)).start();
    is_waited_for(&mut stage, &door, "services", "services").await?;
    is_waited_for(&mut stage, &door, "virtualservices", "virtualservices.networking.istio.io").await?;

    stage.chancery.kill()?;
    door.hold("envoyfilters");
    stage.chancery.restart().await?;
    stage.is("envoyfilters.networking.istio.io", "listing").await?;
    cluster.apply(&slice("hung", "inside", &["10.9.0.25"])).await?;
    stage.has_endpoints("inside", &["10.9.0.25"]).await?;
    let served = async || stage.chancery.api().is_ready().await;
    deadline::throughout("it is ready without", soak(WHILE), served).await?;
    door.hold("");
    stage.is("envoyfilters.networking.istio.io", "watching").await?;
    let there = stage.chancery.api().kind("envoyfilters.networking.istio.io").await?;
    assert!(there.objects >= 1, "{there:?}");
    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}
