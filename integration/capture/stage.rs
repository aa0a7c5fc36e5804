//! The capture example, alive: chancery on the machine, two captured pods with a real sidecar each, applications on
//! the ports of the service and on one that nobody declared. Nothing here knows what is expected.

use crate::harness::chancery::{Chancery, Credential};
use crate::harness::client::Answer;
use crate::harness::echo::Echo;
use crate::harness::envoy::{Envoy, Seat, Setup};
use crate::harness::manifests::Folder;
use crate::harness::metrics::Metrics;
use crate::harness::network::{Network, Pod, on_a_network, v4, v6};
use crate::harness::{Failure, Outcome, tools};
use crate::speaker::{self, Speaker, Talk};
use std::fs::Permissions;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// The file with the Service and its slices.
pub const WORKLOADS: &str = "workloads.yaml";
/// The addresses of the service.
pub const SERVICE: [&str; 2] = ["10.96.77.1", "fd00:96:77::1"];
/// A port that the service's pod listens on and no Service has.
pub const UNDECLARED: u16 = 6000;
/// A port that the service's pod listens on and that a test may declare.
pub const LATER: u16 = 9100;
/// How long a change may take to be accepted everywhere.
pub const SOON: Duration = Duration::from_secs(5);
const NAMESPACE: &str = "capture";

/// The example, running. Fields are dropped in order: processes first, the pods last.
pub struct Stage {
    envoys: Vec<Envoy>,
    /// The control plane.
    pub chancery: Chancery,
    /// The copy of the manifests.
    pub folder: Folder,
    _applications: Vec<Speaker>,
    _echo: Echo,
    files: TempDir,
    /// The pod that calls.
    pub client: Pod,
    /// The pod of the service.
    pub server: Pod,
}

/// Runs a test on an open stage; a failure gets the logs that explain it.
pub fn on_stage(setup: Setup, test: impl AsyncFnOnce(&mut Stage) -> Outcome<()> + Send) -> Outcome<()> {
    on(setup, false, test)
}

/// The same where proxies have to prove who they are, and take mutual TLS.
pub fn on_secure_stage(setup: Setup, test: impl AsyncFnOnce(&mut Stage) -> Outcome<()> + Send) -> Outcome<()> {
    on(setup, true, test)
}

fn on(setup: Setup, secure: bool, test: impl AsyncFnOnce(&mut Stage) -> Outcome<()> + Send) -> Outcome<()> {
    on_a_network(async |network| {
        let mut stage = Stage::open(network, setup, secure).await?;
        let outcome = test(&mut stage).await;
        outcome.map_err(|failure| {
            stage.envoys.iter().fold(failure.with(&stage.chancery.tail()), |all, envoy| all.with(&envoy.tail()))
        })
    })
}

impl Stage {
    async fn open(network: &Network, setup: Setup, secure: bool) -> Outcome<Self> {
        let (client, server) = (network.pod("client", 10)?, network.pod("echo", 2)?);
        client.capture()?;
        server.capture()?;
        let files =
            tempfile::Builder::new().prefix("chancery-").permissions(Permissions::from_mode(0o755)).tempdir()?;
        let example = tools::root().join("manifests/examples/capture");
        let folder = Folder::copy(&example, files.path().join("manifests"), "", &[])?;
        if secure {
            let label = |app: &str| format!("labels: {{security.istio.io/tlsMode: istio, app: {app}}}");
            let plain = folder.read(WORKLOADS)?;
            let text = ["client", "echo"].iter().fold(plain, |text, app| {
                text.replace(&format!("  labels: {{app: {app}}}"), &format!("  {}", label(app)))
            });
            folder.replace(WORKLOADS, &text)?;
        }
        let addresses = (SocketAddr::new(network.ip(), 15012), SocketAddr::new(network.ip(), 15014));
        let log = files.path().join("chancery.log");
        let chancery = match secure {
            true => Chancery::start_securely_in(network.machine(), addresses, folder.path(), log).await?,
            false => Chancery::start_in(network.machine(), addresses, folder.path(), log).await?,
        };
        let echo = server.run(Echo::start("v1", Ipv6Addr::UNSPECIFIED.into(), 8080, 0)).await?;
        let mut applications = Vec::new();
        for port in [9000, 7000, UNDECLARED, LATER] {
            applications.push(server.run(Speaker::start("echo", port)).await?);
        }
        applications.push(server.run(Speaker::start_first("echo", 9025)).await?);
        let start = |pod| Envoy::start(pod, chancery.xds, setup, files.path());
        let (one, two) = (seat(&client, &chancery)?, seat(&server, &chancery)?);
        let (one, two) =
            tokio::try_join!(start(&one), start(&two)).map_err(|failure| failure.with(&chancery.tail()))?;
        let envoys = vec![one, two];
        let stage = Self { envoys, chancery, folder, _applications: applications, _echo: echo, files, client, server };
        stage.settled().await?;
        Ok(stage)
    }

    /// Waits until what both sidecars had before is gone, connections included.
    pub async fn drained(&self) -> Outcome<()> {
        for envoy in &self.envoys {
            envoy.drained(SOON).await?;
        }
        Ok(())
    }

    /// All that a sidecar has written; the client's is the first.
    pub fn written(&self, at: usize) -> String {
        self.envoys[at].written()
    }

    /// What a sidecar has counted; the client's is the first.
    pub async fn scrape(&self, at: usize) -> Outcome<Metrics> {
        self.envoys[at].scrape().await
    }

    /// Waits until both sidecars have accepted everything.
    pub async fn settled(&self) -> Outcome<()> {
        self.settled_within(SOON).await
    }

    /// The same with another deadline.
    pub async fn settled_within(&self, limit: Duration) -> Outcome<()> {
        let nodes: Vec<&str> = self.envoys.iter().map(|envoy| envoy.node.as_str()).collect();
        self.chancery.api().settled(&nodes, limit).await.map(drop)
    }

    /// Edits the workloads, replacing each first text, which must be there, by its second, in one step; waits until the
    /// listeners of both sidecars are other ones than before.
    pub async fn edit(&self, swaps: &[(&str, &str)]) -> Outcome<()> {
        let api = self.chancery.api();
        let before = api.accepted("lds").await?;
        let mut text = self.folder.read(WORKLOADS)?;
        for (from, to) in swaps {
            if !text.contains(from) {
                return Err(Failure::new(format!("{WORKLOADS} doesn't contain {from:?}")));
            }
            text = text.replace(from, to);
        }
        self.folder.replace(WORKLOADS, &text)?;
        api.moved("lds", &before, SOON).await?;
        self.settled().await
    }

    /// A folder for files of a test's own, which the sidecars can reach.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Adds or replaces a file and waits until the sidecars of some pods have accepted another version of a type.
    pub async fn declare(&self, name: &str, text: &str, kind: &str, pods: &[&Pod]) -> Outcome<()> {
        let api = self.chancery.api();
        let mut before = api.accepted(kind).await?;
        before.retain(|node, _| pods.iter().any(|pod| node.contains(&format!("~{}.", pod.name))));
        self.folder.replace(name, text)?;
        api.moved(kind, &before, SOON).await?;
        self.settled().await
    }

    /// Gives the mesh settings and waits until both sidecars have accepted other listeners.
    pub async fn restrict(&self, settings: &str) -> Outcome<()> {
        let api = self.chancery.api();
        let before = api.accepted("lds").await?;
        self.folder.replace("mesh.yaml", settings)?;
        api.moved("lds", &before, SOON).await?;
        self.settled().await
    }
}

fn seat(pod: &Pod, chancery: &Chancery) -> Outcome<Seat> {
    Ok(Seat {
        pod: pod.name.clone(),
        namespace: NAMESPACE.into(),
        ip: pod.ip,
        metadata: ["INTERCEPTION_MODE=REDIRECT", "SERVER_FIRST_PORTS=9025"].map(str::to_owned).to_vec(),
        ports: [15000, 15090, 15021],
        credential: chancery.credential(&pod.name, NAMESPACE, "default")?.map(within_reach).transpose()?,
        place: pod.sidecar(),
        client: pod.client(),
    })
}

/// The same with the roots where another user finds them: the directory of the authority is for its owner.
fn within_reach(Credential { roots, token }: Credential) -> Outcome<Credential> {
    let near = token.with_extension("roots");
    std::fs::copy(roots, &near)?;
    Ok(Credential { roots: near, token })
}

/// The addresses of the service, the IPv4 one first.
pub fn service() -> [IpAddr; 2] {
    SERVICE.map(|ip| ip.parse().expect("it is written as an address"))
}

/// The addresses of the service's pod, the IPv4 one first.
pub fn server() -> [IpAddr; 2] {
    [v4(2), v6(2)]
}

/// One request of a pod's application, over a connection of its own.
pub async fn get(pod: &Pod, ip: IpAddr, port: u16, host: &str) -> Outcome<Answer> {
    pod.client().get(SocketAddr::new(ip, port), "/", &[("host", host)]).await
}

/// One line of a pod's application, over a connection of its own.
pub async fn say(pod: &Pod, ip: IpAddr, port: u16, text: &'static str) -> Outcome<String> {
    pod.run(speaker::line(SocketAddr::new(ip, port), text)).await
}

/// A connection of a pod's application that stays open.
pub async fn talk(pod: &Pod, ip: IpAddr, port: u16) -> Outcome<Talk> {
    pod.run(Talk::begin(SocketAddr::new(ip, port))).await
}
