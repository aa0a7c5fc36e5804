//! The first-light example, alive: chancery on a copy of the folder, two versions of the echo service, an Envoy for
//! every pod. The request's way is client -> its Envoy -> the Envoy of a version -> that version.

use super::addresses::{self, Subnet};
use super::chancery::Chancery;
use super::client::{self, Answer, Client};
use super::clock::Clock;
use super::echo::Echo;
use super::envoy::{Envoy, Seat, Setup};
use super::load::Load;
use super::manifests::Folder;
use super::relay::Relay;
use super::spawner::Place;
use super::{Failure, Outcome, tools};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// The namespace of the example.
pub const NAMESPACE: &str = "first-light";
/// The host that requests name.
pub const HOST: &str = "echo";
/// The file with the rules.
pub const TRAFFIC: &str = "traffic.yaml";
/// The file with the pods and their service.
pub const WORKLOADS: &str = "workloads.yaml";
/// How long a change may take to be accepted everywhere.
pub const SOON: Duration = Duration::from_secs(5);
/// How long Envoys may take to come back: their retry back-off is at most five seconds.
pub const RECONNECT: Duration = Duration::from_secs(12);

/// The pods of the example and the last byte of their addresses; the outbound address is [`OUTBOUND`] higher.
const PODS: [(&str, u8); 3] = [("client", 10), ("echo-v1", 2), ("echo-v2", 3)];
const OUTBOUND: u8 = 100;
/// The service account that pods run as.
const ACCOUNT: &str = "default";
/// The last byte of chancery's address.
const CONTROL: u8 = 1;
const HTTP: u16 = 8080;
const TCP: u16 = 9000;

/// The example, running. Fields are dropped in order: Envoys first, the addresses last.
pub struct Scene {
    /// One Envoy for each pod; the client's is the first.
    pub envoys: Vec<Envoy>,
    /// Between the Envoys and chancery, if it was asked for.
    pub relay: Option<Relay>,
    /// The control plane.
    pub chancery: Chancery,
    /// The two versions of the application.
    pub echoes: Vec<Echo>,
    /// The copy of the manifests.
    pub folder: Folder,
    /// Logs and bootstraps; removed at the end.
    pub files: TempDir,
    /// The addresses.
    pub subnet: Subnet,
    /// The clocks of pods whose Envoys go by another than the machine's, from their next start on.
    pub clocks: BTreeMap<&'static str, Clock>,
    client: Client,
}

/// The last byte of the address of a pod of the example.
fn host_of(pod: &str) -> Outcome<u8> {
    let host = PODS.iter().find(|(name, _)| *name == pod).map(|(_, host)| *host);
    host.ok_or_else(|| Failure::new(format!("the example has no pod {pod}")))
}

impl Scene {
    /// Starts everything and waits until every Envoy has accepted its configuration.
    pub async fn open(setup: impl Into<Setup>) -> Outcome<Self> {
        Self::prepared().await?.with_envoys(setup, false).await
    }

    /// The same with a [`Relay`] between the Envoys and chancery.
    pub async fn relayed(setup: impl Into<Setup>) -> Outcome<Self> {
        Self::prepared().await?.with_envoys(setup, true).await
    }

    /// Everything but the Envoys.
    pub async fn prepared() -> Outcome<Self> {
        Self::prepared_with(false).await
    }

    /// The same, with proxies that have to prove who they are.
    pub async fn secured() -> Outcome<Self> {
        Self::prepared_with(true).await
    }

    async fn prepared_with(secure: bool) -> Outcome<Self> {
        let subnet = Subnet::take()?;
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let echoes = vec![Echo::start("v1", loopback, 0, 0).await?, Echo::start("v2", loopback, 0, 0).await?];
        let example = tools::root().join("manifests/examples/first-light");
        let folder = Folder::copy(&example, files.path().join("manifests"), &subnet.prefix(), &ports(&echoes))?;
        let log = files.path().join("chancery.log");
        let chancery = match secure {
            true => Chancery::start_securely(&subnet, CONTROL, folder.path(), log).await?,
            false => Chancery::start(&subnet, CONTROL, folder.path(), log).await?,
        };
        let (clocks, client) = (BTreeMap::new(), Client::default());
        Ok(Self { envoys: vec![], relay: None, chancery, echoes, folder, files, subnet, clocks, client })
    }

    /// Gives the client's pod an address of the other family, too; nothing happens at it.
    pub fn of_both_families(self) -> Outcome<Self> {
        let (client, host) = PODS[0];
        let ip = self.subnet.ip(host);
        let first = format!("podIPs: [{{ip: {ip}}}");
        let text = self.folder.read(WORKLOADS)?;
        let changed = text.replace(&first, &format!("{first}, {{ip: \"fd00::{host}\"}}"));
        if text == changed {
            return Err(Failure::new(format!("{WORKLOADS} doesn't say that {client} is at {ip}")));
        }
        self.folder.replace(WORKLOADS, &changed)?;
        Ok(self)
    }

    /// Adds the Envoys.
    pub async fn with_envoys(mut self, setup: impl Into<Setup>, relayed: bool) -> Outcome<Self> {
        let setup = setup.into();
        tools::envoy(setup.release)?;
        let mut xds = self.chancery.xds;
        if relayed {
            let relay = Relay::start(self.subnet.free(CONTROL)?, xds).await?;
            xds = relay.address;
            self.relay = Some(relay);
        }
        self.with_envoys_at(setup, xds).await
    }

    /// The same, connected to another address.
    pub async fn with_envoys_at(mut self, setup: Setup, xds: SocketAddr) -> Outcome<Self> {
        let seats = PODS.iter().map(|(pod, host)| self.seat(pod, *host, ACCOUNT)).collect::<Outcome<Vec<_>>>()?;
        let [client, first, second] = &seats[..] else { unreachable!("the example has three pods") };
        let folder = self.files.path();
        let start = |seat| Envoy::start(seat, xds, setup, folder);
        let (client, first, second) = tokio::try_join!(start(client), start(first), start(second))
            .map_err(|failure| failure.with(&self.chancery.tail()))?;
        self.envoys = vec![client, first, second];
        self.settled().await?;
        Ok(self)
    }

    /// An Envoy of the client's pod, started and not waited for.
    pub fn launched(&self, setup: impl Into<Setup>) -> Outcome<Envoy> {
        self.launched_of(PODS[0].0, setup)
    }

    /// The same of any pod of the example.
    pub fn launched_of(&self, pod: &str, setup: impl Into<Setup>) -> Outcome<Envoy> {
        let seat = self.seat(pod, host_of(pod)?, ACCOUNT)?;
        Envoy::launch(&seat, self.chancery.xds, setup.into(), self.files.path())
    }

    /// An Envoy of a pod of the example.
    pub async fn started(&self, pod: &str, setup: Setup) -> Outcome<Envoy> {
        self.started_as(pod, ACCOUNT, setup).await
    }

    /// The same of one that runs as another service account.
    pub async fn started_as(&self, pod: &str, account: &str, setup: Setup) -> Outcome<Envoy> {
        let seat = self.seat(pod, host_of(pod)?, account)?;
        let started = Envoy::start(&seat, self.chancery.xds, setup, self.files.path()).await;
        started.map_err(|failure| failure.with(&self.chancery.tail()))
    }

    fn seat(&self, pod: &str, host: u8, account: &str) -> Outcome<Seat> {
        let ip = self.subnet.ip(host);
        let ports = addresses::ports(ip)?;
        // The pod's own loopback, as it were.
        let metadata = vec![format!("OUTBOUND_BIND={}", self.subnet.ip(host + OUTBOUND))];
        let place = Place { clock: self.clocks.get(pod).cloned(), ..Place::default() };
        let client = Client::default();
        let credential = self.chancery.credential(pod, NAMESPACE, account)?;
        Ok(Seat { pod: pod.into(), namespace: NAMESPACE.into(), ip, metadata, ports, credential, place, client })
    }

    /// The client's Envoy.
    pub fn client(&self) -> &Envoy {
        &self.envoys[0]
    }

    /// Waits until every Envoy has accepted everything.
    pub async fn settled(&self) -> Outcome<()> {
        self.settled_within(SOON).await
    }

    /// The same with another deadline.
    pub async fn settled_within(&self, limit: Duration) -> Outcome<()> {
        let nodes: Vec<&str> = self.envoys.iter().map(|envoy| envoy.node.as_str()).collect();
        let settled = self.chancery.api().settled(&nodes, limit).await;
        settled.map(drop).map_err(|failure| failure.with(&self.chancery.tail()))
    }

    /// Where the client's application finds the HTTP port of the service.
    pub fn http(&self) -> SocketAddr {
        self.outbound(HTTP)
    }

    /// Where the client's application finds a port of any service.
    pub fn outbound(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.subnet.ip(PODS[0].1 + OUTBOUND), port)
    }

    /// The address a pod of the given last byte would be reached at by HTTP.
    pub fn pod(&self, host: u8) -> SocketAddr {
        SocketAddr::new(self.subnet.ip(host), HTTP)
    }

    /// One request through the client's Envoy.
    pub async fn ask(&self, headers: &[(&str, &str)]) -> Outcome<Answer> {
        let headers: Vec<(&str, &str)> = [("host", HOST)].iter().chain(headers).copied().collect();
        self.client.get(self.http(), "/", &headers).await
    }

    /// One line through the client's Envoy and the TCP port of the service.
    pub async fn say(&self, text: &str) -> Outcome<String> {
        client::line(self.outbound(TCP), text).await
    }

    /// As many requests as that, as fast as they are answered.
    pub fn requests(&self, count: u64) -> Load {
        Load::closed(self.http(), HOST, count)
    }

    /// A steady load, until it is stopped or ten seconds have passed.
    pub fn traffic(&self) -> Load {
        Load::steady(self.http(), HOST, Duration::from_secs(10))
    }

    /// Writes `text` as the file with the rules and waits until every Envoy has accepted new routes. Returns the time
    /// from just before the write to the last ACK, by the clock of chancery.
    pub async fn reroute(&self, text: &str) -> Outcome<Duration> {
        let api = self.chancery.api();
        let before = api.accepted("rds").await?;
        let (start, began) = (SystemTime::now(), Instant::now());
        self.folder.replace(TRAFFIC, text)?;
        let last = api.moved("rds", &before, SOON).await.map_err(|failure| failure.with(&self.chancery.tail()))?;
        // A clock that was set meanwhile would make a negative time; what we saw ourselves is an upper bound.
        Ok(last.duration_since(start).unwrap_or_else(|_| began.elapsed()))
    }

    /// The numbers of responses by type that chancery has sent, from its own metrics.
    pub async fn pushes(&self) -> Outcome<BTreeMap<String, u64>> {
        let metrics = self.chancery.api().metrics().await?;
        let samples = metrics.of("chancery_xds_responses_total");
        Ok(samples.filter_map(|s| Some((s.labels.get("type")?.clone(), s.value as u64))).collect())
    }
}

/// The example's application ports and the ones they really got.
fn ports(echoes: &[Echo]) -> Vec<(String, String)> {
    let written = [("127.0.0.1:18081", "127.0.0.1:19001"), ("127.0.0.1:18082", "127.0.0.1:19002")];
    let pairs = written.into_iter().zip(echoes);
    pairs
        .flat_map(|((http, tcp), echo)| [(http.into(), echo.http.to_string()), (tcp.into(), echo.tcp.to_string())])
        .collect()
}
