//! The API server by way of a proxy that a kubeconfig or the environment names, as with kubectl: lists, watches, and the TLS with the API
//! server itself, of which the proxy sees nothing.

use crate::harness::cluster::kubectl::Kubectl;
use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::{Failure, Outcome, deadline, spawner, tools};
use crate::shared;
use crate::stage::{SOON, Stage, slice};
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{self, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A name that only a proxy knows.
const NAME: &str = "api.proxied.invalid";
/// How long a start may take.
const START: Duration = Duration::from_secs(60);
/// The most that the beginning of a question may have.
const HEAD: usize = 16 << 10;
/// What a proxy wants to be shown: `user:p@ss`.
const SHOWN: &str = "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n";

/// A proxy, for HTTP and SOCKS alike, by which everything leads to one address.
struct Proxy {
    address: SocketAddr,
    /// What it was asked for, connection by connection.
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    async fn start(to: SocketAddr) -> Outcome<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, asked) = (listener.local_addr()?, Arc::<Mutex<Vec<String>>>::default());
        let seen = asked.clone();
        let serving = tokio::spawn(async move {
            // Connections end with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(pass(stream, to, seen.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, asked, serving })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(mut stream: TcpStream, to: SocketAddr, asked: Arc<Mutex<Vec<String>>>) -> io::Result<()> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    let target = if first == [5] { socks(&mut stream).await? } else { connect(&mut stream).await? };
    asked.lock().expect("nobody panics with it").push(target);
    copy_bidirectional(&mut stream, &mut TcpStream::connect(to).await?).await.map(drop)
}

/// The beginning of a tunnel through HTTP, which is granted to whoever shows what has to be shown.
async fn connect(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.contains(SHOWN) {
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await?;
        return Err(io::Error::other("nothing was shown"));
    }
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    Ok(head.split(' ').take(2).collect::<Vec<_>>().join(" "))
}

/// The beginning of a tunnel through SOCKS 5 to a name.
async fn socks(stream: &mut TcpStream) -> io::Result<String> {
    let mut methods = vec![0; 2];
    stream.read_exact(&mut methods).await?;
    methods.resize(usize::from(methods[1]), 0);
    stream.read_exact(&mut methods).await?;
    stream.write_all(&[5, 0]).await?;
    // Version, command, nothing, the kind of address, and the length of a name.
    let mut question = [0; 5];
    stream.read_exact(&mut question).await?;
    if question[3] != 3 {
        return Err(io::Error::other("no name"));
    }
    let mut name = vec![0; usize::from(question[4])];
    stream.read_exact(&mut name).await?;
    let port = stream.read_u16().await?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    Ok(format!("SOCKS {}:{port}", String::from_utf8_lossy(&name)))
}

/// A kubeconfig with another server, and a proxy if one is named.
fn kubeconfig(cluster: &Cluster, folder: &Path, server: &str, proxy: Option<&str>) -> Outcome<PathBuf> {
    let mut config: Value = serde_json::from_slice(&fs::read(cluster.kubeconfig(ADMIN))?)?;
    let found = config.pointer_mut("/clusters/0/cluster").ok_or_else(|| Failure::new("no cluster"))?;
    found["server"] = format!("https://{server}").into();
    found["tls-server-name"] = "kubernetes".into();
    if let Some(proxy) = proxy {
        found["proxy-url"] = proxy.into();
    }
    let path = folder.join(format!("{}.kubeconfig", proxy.map_or("direct", |proxy| &proxy[..4])));
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// chancery starts, and reads everything by way of the proxy, which runs where this test does.
async fn starts(stage: &mut Stage) -> Outcome<()> {
    stage.chancery.launch()?;
    let ready = stage.chancery.ready(START).await;
    let waits = stage.chancery.api().readiness().await.unwrap_or_default();
    ready.map_err(|failure| failure.with(&waits))
}

/// chancery follows the cluster by a kubeconfig: what is there, and what changes.
async fn follows(cluster: &Cluster, stage: &mut Stage, ip: &str) -> Outcome<()> {
    starts(stage).await?;
    stage.is("services", "watching").await?;
    stage.envoy = None;
    stage.connect().await?;
    cluster.apply(&slice("proxied", "inside", &[ip])).await?;
    stage.has_endpoints("inside", &[ip]).await
}

#[tokio::test]
async fn a_kubeconfig_may_name_a_proxy() -> Outcome<()> {
    let (cluster, files) = (shared::cluster().await?, tempfile::tempdir()?);
    let mut stage = Stage::set(&cluster, ADMIN, "proxied").await?;
    let kubectl = Kubectl::new(cluster.kubeconfig(ADMIN), files.path().join("cache"))?;
    // Nobody is at the first address, and nobody but the proxy knows the name.
    let vacant = format!("{}:6443", stage.vacant());
    let named = format!("{NAME}:6443");
    for (scheme, credentials, server, ip) in
        [("http", "user:p%40ss@", &vacant, "10.9.0.61"), ("socks5", "", &named, "10.9.0.62")]
    {
        let proxy = Proxy::start(cluster.address).await?;
        let url = format!("{scheme}://{credentials}{}", proxy.address);
        let config = kubeconfig(&cluster, files.path(), server, Some(&url))?;
        kubectl.of(config.clone()).succeed(&["get", "namespace", "proxied"], "").await?;
        let before = proxy.asked();
        assert!(!before.is_empty(), "kubectl goes by way of it");
        stage.reaches_by(&config)?;
        follows(&cluster, &mut stage, ip).await?;
        let asked = proxy.asked();
        let word = if scheme == "http" { "CONNECT" } else { "SOCKS" };
        assert!(asked.len() > before.len() && asked.iter().all(|one| *one == format!("{word} {server}")), "{asked:?}");
        println!("{scheme}: {} connections of chancery", asked.len() - before.len());
        stage.chancery.kill()?;
    }
    // The control: without it there is no way.
    stage.reaches_by(&kubeconfig(&cluster, files.path(), &vacant, None)?)?;
    stage.chancery.launch()?;
    stage.is("services", "failing").await
}

/// A program that is chancery with variables of its own.
fn with_variables(folder: &Path, variables: &[String]) -> Outcome<PathBuf> {
    let (path, variables) = (folder.join("chancery"), variables.join(" "));
    fs::write(&path, format!("#!/bin/sh\nexec env {variables} '{}' \"$@\"\n", tools::chancery()?.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[tokio::test]
async fn the_environment_may_name_a_proxy() -> Outcome<()> {
    let (cluster, files) = (shared::cluster().await?, tempfile::tempdir()?);
    let mut stage = Stage::set(&cluster, ADMIN, "environment").await?;
    let proxy = Proxy::start(cluster.address).await?;
    let named = format!("{NAME}:6443");
    stage.reaches_by(&kubeconfig(&cluster, files.path(), &named, None)?)?;
    let variable = format!("https_proxy=http://user:p%40ss@{}", proxy.address);
    stage.chancery.program = Some(with_variables(files.path(), &[variable.clone(), "NO_PROXY=elsewhere".to_owned()])?);
    starts(&mut stage).await?;
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|one| *one == format!("CONNECT {named}")), "{asked:?}");
    let log = stage.chancery.tail();
    stage.chancery.kill()?;
    assert!(log.contains("by way of a proxy") && !log.contains("p%40ss"), "{log}");
    // What is exempt is reached without it, so not at all.
    stage.chancery.program = Some(with_variables(files.path(), &[variable, "NO_PROXY=proxied.invalid".to_owned()])?);
    stage.chancery.launch()?;
    stage.is("services", "failing").await?;
    assert_eq!(proxy.asked().len(), asked.len());
    // A kubeconfig goes before it, whatever is exempt.
    let other = Proxy::start(cluster.address).await?;
    let url = format!("http://user:p%40ss@{}", other.address);
    let (program, config) = (stage.chancery.program.clone(), kubeconfig(&cluster, files.path(), &named, Some(&url))?);
    stage.chancery.kill()?;
    stage.reaches_by(&config)?;
    stage.chancery.program = program;
    starts(&mut stage).await?;
    assert!(!other.asked().is_empty() && proxy.asked().len() == asked.len());
    Ok(())
}

#[tokio::test]
async fn what_is_no_proxy_is_told_with_its_place() -> Outcome<()> {
    let (cluster, files) = (shared::cluster().await?, tempfile::tempdir()?);
    let mut stage = Stage::set(&cluster, ADMIN, "refusing").await?;
    let admin = stage.spare()?.to_string();
    for (url, reason) in [
        ("ftp://user:secret@127.0.0.1", "it begins with ftp://"),
        ("127.0.0.1:3128", "it does not begin with http://"),
        ("http://user:sec ret@127.0.0.1", "it is no URL"),
    ] {
        let config = kubeconfig(&cluster, files.path(), NAME, Some(url))?;
        let (file, place) = (config.to_string_lossy().into_owned(), ": proxy-url of the cluster \"test\": ");
        for command in [&["serve", "--admin-address", &*admin][..], &["cert", "rotate", "--plan"]] {
            let arguments = [command, &["--kubeconfig", &file]].concat();
            match spawner::output(&tools::chancery()?, &arguments) {
                Err(Failure(told)) => {
                    assert!(told.contains(&format!("{file}{place}")) && told.contains(reason), "{told}");
                    assert!(!told.contains("secret") && !told.contains("sec ret"), "{told}");
                }
                Ok(_) => return Err(Failure::new(format!("{url} is taken"))),
            }
        }
    }
    // A proxy that refuses is told as well, and asked again.
    let proxy = Proxy::start(cluster.address).await?;
    let url = format!("http://{}", proxy.address);
    stage.reaches_by(&kubeconfig(&cluster, files.path(), &format!("{NAME}:6443"), Some(&url))?)?;
    stage.chancery.launch()?;
    let told = deadline::until("it says what the proxy wants", SOON, async || {
        let told = stage.chancery.api().readiness().await.ok()?;
        told.contains("proxy authorization required").then_some(())
    });
    told.await.map_err(|failure| failure.with(&stage.chancery.tail()))
}
