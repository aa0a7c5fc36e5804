//! Real Envoys: a bootstrap printed by chancery, the process, and questions to its admin port.

use super::chancery::Credential;
use super::client::Client;
use super::metrics::Metrics;
use super::spawner::{self, Place, Process};
use super::tools::Release;
use super::{Failure, Outcome, chancery, deadline, tools};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::{self, Permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an Envoy may take to have its whole configuration.
const START: Duration = Duration::from_secs(15);

/// The variant of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// Incremental: what the bootstrap says by itself.
    Delta,
    /// State of the world.
    Sotw,
}

/// Which Envoys a scene has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setup {
    /// The variant of the protocol they speak.
    pub wire: Wire,
    /// Their release.
    pub release: Release,
    /// How many threads serve requests.
    pub threads: u8,
    /// The DNS server they ask; none is the machine's.
    pub dns: Option<SocketAddr>,
    /// A flag of Envoy's own that is on.
    pub flag: Option<&'static str>,
    /// Whether histograms move at once and not when the bootstrap says.
    pub prompt: bool,
}

impl Setup {
    /// Of one thread and without anything special.
    pub const fn new(wire: Wire, release: Release) -> Self {
        Self { wire, release, threads: 1, dns: None, flag: None, prompt: false }
    }
}

/// The newest release.
impl From<Wire> for Setup {
    fn from(wire: Wire) -> Self {
        Self::new(wire, Release::Newest)
    }
}

/// The pod an Envoy belongs to.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The pod's name.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// Its address.
    pub ip: IpAddr,
    /// Node metadata, each as `KEY=VALUE`.
    pub metadata: Vec<String>,
    /// Three ports of `ip`: admin, metrics, readiness.
    pub ports: [u16; 3],
    /// How it proves who it is, if it has to.
    pub credential: Option<Credential>,
    /// Where it runs.
    pub place: Place,
    /// Asks its admin port.
    pub client: Client,
}

impl Seat {
    /// The node id, in Istio's form.
    pub fn node(&self) -> String {
        format!("sidecar~{}~{}.{}~{}.svc.cluster.local", self.ip, self.pod, self.namespace, self.namespace)
    }
}

/// A running Envoy.
pub struct Envoy {
    /// Its node id.
    pub node: String,
    /// Its admin port.
    pub admin: SocketAddr,
    /// Where it serves its metrics.
    pub metrics: SocketAddr,
    /// Where it says whether it is ready.
    pub ready: SocketAddr,
    process: Process,
    client: Client,
}

impl Envoy {
    /// Starts one against the xDS server at `xds` and waits until it is live with its own identity.
    pub async fn start(seat: &Seat, xds: SocketAddr, setup: Setup, folder: &Path) -> Outcome<Self> {
        let mut envoy = Self::launch(seat, xds, setup, folder)?;
        match envoy.live().await {
            Ok(()) => Ok(envoy),
            Err(failure) => Err(failure.with(&envoy.process.tail())),
        }
    }

    /// Starts one and doesn't wait.
    pub fn launch(seat: &Seat, xds: SocketAddr, setup: Setup, folder: &Path) -> Outcome<Self> {
        let mut config = bootstrap(seat, xds, setup.release)?;
        adapt(&mut config, setup)?;
        let admin = admin(&config)?;
        let path = folder.join(format!("{}.json", seat.pod));
        fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
        let path = path.to_string_lossy();
        // No hot restart: it would need shared memory named apart for every Envoy on the machine. What is replaced goes
        // soon: a connection that is not meant to be closed must not outlive a test only because draining is slow. So is
        // what is logged.
        let quick = ["--drain-time-s", "1", "--file-flush-interval-msec", "100"];
        let threads = setup.threads.to_string();
        let arguments = [&["-c", &path, "--concurrency", &threads, "--disable-hot-restart"][..], &quick].concat();
        let log = folder.join(format!("{}.log", seat.pod));
        let program = program(seat, setup.release, folder)?;
        let process = spawner::start_in(&seat.place, &format!("Envoy of {}", seat.pod), &program, &arguments, &log)?;
        let [_, metrics, ready] = seat.ports.map(|port| SocketAddr::new(seat.ip, port));
        Ok(Self { node: seat.node(), admin, metrics, ready, process, client: seat.client.clone() })
    }

    async fn live(&mut self) -> Outcome<()> {
        let what = format!("{} is live", self.node);
        let (client, admin, process) = (&self.client, self.admin, &mut self.process);
        deadline::until(&what, START, async || {
            if let Some(status) = process.status() {
                return Some(Err(Failure::new(format!("Envoy ended: {status}"))));
            }
            client.text(admin, "/ready").await.is_ok_and(|text| text.starts_with("LIVE")).then_some(Ok(()))
        })
        .await??;
        let info: Value = self.client.json(self.admin, "/server_info").await?;
        let node = info.pointer("/node/id").and_then(Value::as_str).unwrap_or_default();
        if node == self.node {
            Ok(())
        } else {
            Err(Failure::new(format!("{} answers as {node:?}, another Envoy", self.admin)))
        }
    }

    /// The value of a counter or gauge; none where Envoy doesn't have it (yet).
    pub async fn stat(&self, name: &str) -> Outcome<Option<u64>> {
        let text = self.client.text(self.admin, &format!("/stats?filter={}", pattern(name))).await?;
        let value = text.lines().find_map(|line| line.split_once(": ").filter(|(found, _)| *found == name));
        Ok(value.and_then(|(_, value)| value.trim().parse().ok()))
    }

    /// Waits until the listeners and chains that were replaced are gone, and with them the connections through them.
    pub async fn drained(&self, limit: Duration) -> Outcome<()> {
        let gone = async |what: &str| {
            let draining = self.stat(&format!("listener_manager.total_{what}_draining")).await.ok()??;
            (draining == 0).then_some(())
        };
        let what = format!("{} has no old listeners", self.node);
        deadline::until(&what, limit, async || {
            gone("listeners").await?;
            gone("filter_chains").await
        })
        .await
    }

    /// A scrape of its metrics, as Prometheus would make it.
    pub async fn scrape(&self) -> Outcome<Metrics> {
        Ok(Metrics::parse(&self.client.text(self.metrics, "/stats/prometheus").await?))
    }

    /// Whether its readiness port says it is ready; none where that port isn't open.
    pub async fn is_ready(&self) -> Option<bool> {
        let answer = self.client.get(self.ready, "/healthz/ready", &[]).await.ok()?;
        Some(answer.status.is_success())
    }

    /// Tells its admin port to do something.
    pub async fn tell(&self, path: &str) -> Outcome<()> {
        self.client.post(self.admin, path).await
    }

    /// The answer of `/config_dump` for one resource field, such as `dynamic_active_clusters`.
    pub async fn dump(&self, resource: &str) -> Outcome<Vec<Value>> {
        let dump: Value = self.client.json(self.admin, &format!("/config_dump?resource={resource}")).await?;
        Ok(dump.get("configs").and_then(Value::as_array).cloned().unwrap_or_default())
    }

    /// The addresses of a cluster's endpoints.
    pub async fn endpoints(&self, cluster: &str) -> Outcome<Vec<SocketAddr>> {
        Ok(self.hosts(cluster).await?.iter().filter_map(address).collect())
    }

    /// The same of those that it was told are healthy.
    pub async fn healthy_endpoints(&self, cluster: &str) -> Outcome<Vec<SocketAddr>> {
        let hosts = self.hosts(cluster).await?;
        let healthy = |host: &&Value| host.pointer("/health_status/eds_health_status").is_none_or(|it| it == "HEALTHY");
        Ok(hosts.iter().filter(healthy).filter_map(address).collect())
    }

    async fn hosts(&self, cluster: &str) -> Outcome<Vec<Value>> {
        let answer: Value = self.client.json(self.admin, "/clusters?format=json").await?;
        let statuses = answer.get("cluster_statuses").and_then(Value::as_array).cloned().unwrap_or_default();
        let found = statuses.iter().find(|status| status.get("name").and_then(Value::as_str) == Some(cluster));
        let hosts = found.and_then(|status| status.get("host_statuses")?.as_array()).cloned().unwrap_or_default();
        Ok(hosts)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Stops it where it is: it answers nothing and closes nothing.
    pub fn freeze(&self) -> Outcome<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Outcome<()> {
        self.process.signal(Signal::CONT)
    }

    /// All it has written: its log, and the access log among it.
    pub fn written(&self) -> String {
        self.process.written()
    }

    /// The end of its log, for a failure's text.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}

/// The program to run. Another user can't reach it in our home, so gets a link to it in `folder`, or a copy.
fn program(seat: &Seat, release: Release, folder: &Path) -> Outcome<PathBuf> {
    let program = tools::envoy(release)?;
    if seat.place.user.is_none() {
        return Ok(program);
    }
    let near = folder.join("envoy");
    if !near.exists() {
        // Under a name of its own first: Envoys start side by side.
        let own = folder.join(format!("envoy-{}", seat.pod));
        fs::hard_link(&program, &own).or_else(|_| fs::copy(&program, &own).map(drop))?;
        fs::rename(&own, &near)?;
    }
    Ok(near)
}

fn bootstrap(seat: &Seat, xds: SocketAddr, release: Release) -> Outcome<Value> {
    let [admin, stats, ready] = seat.ports;
    let pairs = [
        ("--xds-address", xds.to_string()),
        ("--service-node", seat.node()),
        ("--bind-address", seat.ip.to_string()),
        ("--admin-port", admin.to_string()),
        ("--stats-port", stats.to_string()),
        ("--ready-port", ready.to_string()),
    ];
    let metadata = seat.metadata.iter().map(|pair| ("--node-metadata", pair.clone()));
    let credential = match &seat.credential {
        Some(credential) => trust(credential, release)?,
        None => Vec::new(),
    };
    let arguments: Vec<String> = pairs
        .into_iter()
        .chain(metadata)
        .chain(credential)
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
    chancery::bootstrap(&arguments)
}

/// The flags by which a proxy proves who it is. What it needs is followed where the release can.
fn trust(Credential { roots, token }: &Credential, release: Release) -> Outcome<Vec<(&'static str, String)>> {
    let mut flags = vec![("--root-cert", roots.display().to_string()), ("--token", token.display().to_string())];
    if release == Release::Oldest {
        return Ok(flags);
    }
    let folder = token.with_extension("secrets");
    fs::create_dir_all(&folder)?;
    for file in ["token", "roots"] {
        let pairs = flags.iter().flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]);
        let printed = chancery::bootstrap(&pairs.chain(["--print", file].map(str::to_owned)).collect::<Vec<_>>())?;
        fs::write(folder.join(format!("{file}.yaml")), serde_json::to_vec(&printed)?)?;
    }
    flags.push(("--secrets-dir", folder.display().to_string()));
    Ok(flags)
}

/// Makes a bootstrap that of a setup.
fn adapt(config: &mut Value, setup: Setup) -> Outcome<()> {
    if setup.wire == Wire::Sotw {
        *api_type(config)? = Value::from("GRPC");
    }
    if let Some(dns) = setup.dns {
        let resolver = config.pointer_mut("/typed_dns_resolver_config/typed_config");
        let resolver = resolver.ok_or_else(|| Failure::new("the bootstrap has no resolver"))?;
        let address = json!({"address": dns.ip().to_string(), "port_value": dns.port()});
        resolver["resolvers"] = json!([{ "socket_address": address }]);
    }
    if let Some(flag) = setup.flag {
        let layer = config.pointer_mut("/layered_runtime/layers/0/static_layer");
        layer.ok_or_else(|| Failure::new("the bootstrap has no runtime"))?[flag] = true.into();
    }
    if setup.prompt {
        let flush = named(config, &["stats_flush_interval", "statsFlushInterval"]);
        *flush.ok_or_else(|| Failure::new("the bootstrap doesn't say when statistics are flushed"))? = "0.2s".into();
    }
    Ok(())
}

/// The field of a bootstrap that names the protocol's variant.
fn api_type(config: &mut Value) -> Outcome<&mut Value> {
    let ads = named(config, &["dynamic_resources", "dynamicResources"])
        .and_then(|dynamic| named(dynamic, &["ads_config", "adsConfig"]))
        .and_then(|ads| named(ads, &["api_type", "apiType"]));
    ads.ok_or_else(|| Failure::new("the bootstrap has no dynamic_resources.ads_config.api_type"))
}

/// A field under any of its spellings: proto JSON allows two.
fn named<'v>(value: &'v mut Value, names: &[&str]) -> Option<&'v mut Value> {
    let map = value.as_object_mut()?;
    let name = names.iter().find(|name| map.contains_key(**name))?;
    map.get_mut(*name)
}

fn admin(config: &Value) -> Outcome<SocketAddr> {
    let address = ["/admin/address/socket_address", "/admin/address/socketAddress"];
    let found = address.iter().find_map(|pointer| config.pointer(pointer)).and_then(socket);
    found.ok_or_else(|| Failure::new("the bootstrap has no admin address"))
}

fn address(host: &Value) -> Option<SocketAddr> {
    socket(host.pointer("/address/socket_address")?)
}

fn socket(value: &Value) -> Option<SocketAddr> {
    let port = value.get("port_value").or_else(|| value.get("portValue"))?.as_u64()?;
    let ip: IpAddr = value.get("address")?.as_str()?.parse().ok()?;
    Some(SocketAddr::new(ip, port as u16))
}

/// A stat's name as a pattern for a URL's query.
fn pattern(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '.' }).collect()
}
