//! The product under test: the real binary, on addresses of the run, started, killed and started again.

use super::addresses::{self, Subnet};
use super::api::Api;
use super::clock::Clock;
use super::deadline;
use super::spawner::{self, Place, Process};
use super::{Failure, Outcome, tools};
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// How long a start may take.
const START: Duration = Duration::from_secs(30);

/// A chancery. It keeps its addresses over restarts.
pub struct Chancery {
    /// Where Envoys connect.
    pub xds: SocketAddr,
    /// Where it answers about itself.
    pub admin: SocketAddr,
    /// Further flags, from the next start on.
    pub flags: Vec<String>,
    /// Another program than the one of this build, from the next start on.
    pub program: Option<PathBuf>,
    /// Whether proxies have to prove who they are, from the next start on. For a folder of manifests the authority is in a
    /// directory beside the log, in a cluster in a Secret.
    pub secure: bool,
    /// The flags that say where objects come from.
    source: [String; 2],
    log: PathBuf,
    place: Place,
    process: Option<Process>,
}

impl Chancery {
    /// Starts it on a folder of manifests and waits until it is ready.
    pub async fn start(subnet: &Subnet, host: u8, config: &Path, log: PathBuf) -> Outcome<Self> {
        let ip = subnet.ip(host);
        let [xds, admin] = addresses::ports(ip)?.map(|port| SocketAddr::new(ip, port));
        Self::start_in(Place::default(), (xds, admin), config, log).await
    }

    /// The same somewhere else, at an address for Envoys and one for questions.
    pub async fn start_in(
        place: Place,
        (xds, admin): (SocketAddr, SocketAddr),
        config: &Path,
        log: PathBuf,
    ) -> Outcome<Self> {
        let mut chancery = Self::of_folder(place, (xds, admin), config, log);
        chancery.restart().await?;
        Ok(chancery)
    }

    /// The same, with proxies that have to prove who they are.
    pub async fn start_securely(subnet: &Subnet, host: u8, config: &Path, log: PathBuf) -> Outcome<Self> {
        let ip = subnet.ip(host);
        let [xds, admin] = addresses::ports(ip)?.map(|port| SocketAddr::new(ip, port));
        Self::start_securely_in(Place::default(), (xds, admin), config, log).await
    }

    /// The same somewhere else.
    pub async fn start_securely_in(
        place: Place,
        (xds, admin): (SocketAddr, SocketAddr),
        config: &Path,
        log: PathBuf,
    ) -> Outcome<Self> {
        let mut chancery = Self { secure: true, ..Self::of_folder(place, (xds, admin), config, log) };
        chancery.restart().await?;
        Ok(chancery)
    }

    fn of_folder(place: Place, (xds, admin): (SocketAddr, SocketAddr), config: &Path, log: PathBuf) -> Self {
        let source = ["--config".to_owned(), config.to_string_lossy().into_owned()];
        Self { xds, admin, flags: Vec::new(), program: None, secure: false, source, log, place, process: None }
    }

    /// One that follows a cluster, as the user of a kubeconfig, on the subnet's address that ends with `host`. Starts nothing.
    pub fn of_cluster(subnet: &Subnet, host: u8, kubeconfig: &Path, log: PathBuf) -> Outcome<Self> {
        let ip = subnet.ip(host);
        let [xds, admin] = addresses::ports(ip)?.map(|port| SocketAddr::new(ip, port));
        let source = ["--kubeconfig".to_owned(), kubeconfig.to_string_lossy().into_owned()];
        let place = Place::default();
        Ok(Self { xds, admin, flags: Vec::new(), program: None, secure: false, source, log, place, process: None })
    }

    /// Starts it again, after [`Chancery::kill`] or [`Chancery::terminate`], and waits until it is ready.
    pub async fn restart(&mut self) -> Outcome<()> {
        self.launch()?;
        self.ready(START).await
    }

    /// Starts it again and doesn't wait.
    pub fn launch(&mut self) -> Outcome<()> {
        let (xds, admin) = (self.xds.to_string(), self.admin.to_string());
        let [flag, source] = &self.source;
        let mut arguments = vec!["serve", flag, source, "--admin-address", &admin];
        let (identity, is_folder) = (self.identity().to_string_lossy().into_owned(), flag == "--config");
        match self.secure {
            true => arguments.extend(["--xds-address", &xds]),
            false => arguments.extend(["--plaintext-address", &xds, "--plaintext-anywhere", "--plaintext-only"]),
        }
        if !self.admin.ip().is_loopback() {
            arguments.extend(["--admin-access", "open"]);
        }
        if self.secure && is_folder {
            arguments.extend(["--identity", &identity]);
        }
        arguments.extend(self.flags.iter().map(String::as_str));
        let program = self.program.clone().map_or_else(tools::chancery, Ok)?;
        let process = spawner::start_in(&self.place, "chancery", &program, &arguments, &self.log)?;
        self.process = Some(process);
        Ok(())
    }

    /// From the next start on it goes by another clock.
    pub fn follow(&mut self, clock: &Clock) {
        self.place.clock = Some(clock.clone());
    }

    /// From the next start on what it writes goes there, and nobody reads it.
    pub fn write_to(&mut self, log: &Path) {
        self.log = log.into();
    }

    /// Waits until it is ready.
    pub async fn ready(&mut self, limit: Duration) -> Outcome<()> {
        let api = self.api();
        let process = self.running()?;
        let ready = deadline::until("chancery is ready", limit, async || {
            if let Some(status) = process.status() {
                return Some(Err(Failure::new(format!("chancery ended: {status}"))));
            }
            api.is_ready().await.then_some(Ok(()))
        });
        let ready = ready.await.and_then(|ready| ready);
        ready.map_err(|failure| failure.with(&self.tail()))
    }

    /// Stops it from running on; its connections stay open.
    pub fn freeze(&mut self) -> Outcome<()> {
        self.running()?.signal(Signal::STOP)
    }

    /// Lets it run on after [`Chancery::freeze`].
    pub fn thaw(&mut self) -> Outcome<()> {
        self.running()?.signal(Signal::CONT)
    }

    /// The directory of the authority for a folder of manifests.
    pub fn identity(&self) -> PathBuf {
        self.log.with_file_name("identity")
    }

    /// What the proxy of a Pod needs to prove who it is; none where it need not.
    pub fn credential(&self, pod: &str, namespace: &str, account: &str) -> Outcome<Option<Credential>> {
        if !self.secure {
            return Ok(None);
        }
        let identity = self.identity();
        let (folder, who) = (identity.to_string_lossy(), format!("{pod}.{namespace}"));
        let arguments = ["token", "--identity", &folder, "--pod", &who, "--service-account", account];
        let token = identity.with_file_name(format!("{who}.token"));
        fs::write(&token, spawner::output(&tools::chancery()?, &arguments)?)?;
        let mut roots = identity.join("root-cert.pem");
        if identity.is_symlink() {
            // Where that leads to an Envoy may refuse to read.
            let beside = identity.with_file_name("root-cert.pem");
            fs::copy(&roots, &beside)?;
            roots = beside;
        }
        Ok(Some(Credential { roots, token }))
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Its account of itself.
    pub fn api(&self) -> Api {
        Api::new(self.admin)
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Outcome<()> {
        self.running()?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Asks it to end and waits.
    pub async fn terminate(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        self.ask_to_end()?;
        self.ended(limit).await
    }

    /// Asks it to end and doesn't wait.
    pub fn ask_to_end(&mut self) -> Outcome<()> {
        self.running()?.terminate()
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self, limit: Duration) -> Outcome<ExitStatus> {
        self.running()?.ended(limit).await
    }

    /// Allows it so many descriptors until it is started again.
    pub fn limit_descriptors(&self, count: u64) -> Outcome<()> {
        let process = self.process.as_ref().ok_or_else(|| Failure::new("chancery isn't running"))?;
        process.limit_descriptors(count)
    }

    /// The end of its log, for a failure's text.
    pub fn tail(&self) -> String {
        self.process.as_ref().map(Process::tail).unwrap_or_default()
    }

    /// All of its log.
    pub fn written(&self) -> String {
        self.process.as_ref().map(Process::written).unwrap_or_default()
    }

    fn running(&mut self) -> Outcome<&mut Process> {
        self.process.as_mut().ok_or_else(|| Failure::new("chancery isn't running"))
    }
}

/// How a proxy proves who it is, and whom it trusts.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The file of the roots.
    pub roots: PathBuf,
    /// The file of the token.
    pub token: PathBuf,
}

/// What `chancery bootstrap` prints for a proxy, as JSON.
pub fn bootstrap(arguments: &[String]) -> Outcome<serde_json::Value> {
    let all: Vec<&str> =
        ["bootstrap"].into_iter().chain(arguments.iter().map(String::as_str)).chain(["-o", "json"]).collect();
    let printed = spawner::output(&tools::chancery()?, &all)?;
    serde_json::from_str(&printed).map_err(|error| Failure::new(format!("chancery bootstrap: {error}")).with(&printed))
}
