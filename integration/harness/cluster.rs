//! A real Kubernetes control plane on addresses of its own: etcd, the API server and, if asked for, controllers.
//!
//! Its only node, `node`, is a name: a Pod is what a test says of it. What fails says the end of the logs. A part can be ended, started
//! again with its data, and frozen; for that a test needs a cluster to itself, others may share one, each with
//! namespaces of its own. Everything ends when the value is dropped or this process ends.

mod definitions;
mod keys;
pub mod kubectl;
mod parts;
mod store;

pub use definitions::Definitions;
use keys::Keys;
use kubectl::Kubectl;
pub use parts::Part;
use parts::Parts;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

use super::addresses::{self, Subnet};
use super::metrics::Metrics;
use super::{Failure, Outcome, deadline};

/// How long a part may take to be ready, on a machine that does much else.
const START: Duration = Duration::from_secs(90);

/// Who may do everything.
pub const ADMIN: &str = "admin";

/// The only node, which no machine stands for. Pods have to name it, or controllers leave them out.
const NODE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: node
  labels: {topology.kubernetes.io/region: region, topology.kubernetes.io/zone: zone}
";

/// What a cluster has besides etcd and an API server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Users besides [`ADMIN`]; they may do nothing until a test applies a role and a binding.
    pub users: Vec<&'static str>,
    /// The kinds that are known besides Kubernetes' own.
    pub definitions: Vec<Definitions>,
    /// Whether controllers keep EndpointSlices, ServiceAccounts and Namespaces.
    pub controllers: bool,
    /// Further flags of the API server.
    pub flags: Vec<&'static str>,
}

/// What makes an API server serve ClusterTrustBundles.
pub const TRUST_BUNDLES: [&str; 2] = [
    "--feature-gates=ClusterTrustBundle=true",
    "--runtime-config=certificates.k8s.io/v1beta1/clustertrustbundles=true",
];

impl Default for Options {
    /// Istio's kinds, nobody but the admin, and no controllers: what starts soon, and is enough for most tests.
    fn default() -> Self {
        Self { users: Vec::new(), definitions: vec![Definitions::Istio], controllers: false, flags: Vec::new() }
    }
}

/// What becomes of etcd's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backup {
    /// It is copied.
    Made,
    /// It is what was copied before.
    Restored,
}

/// A running control plane.
pub struct Cluster {
    /// Where the API server is.
    pub address: SocketAddr,
    parts: Parts,
    kubectl: Kubectl,
    store: SocketAddr,
    folder: TempDir,
    _subnet: Subnet,
}

impl Cluster {
    /// Starts one and waits until it is ready and knows the kinds.
    pub async fn start(options: Options) -> Outcome<Self> {
        let subnet = Subnet::take()?;
        let folder = tempfile::Builder::new().prefix("chancery-cluster-").tempdir()?;
        let ip = subnet.ip(1);
        let [api, client, peer] = addresses::ports(ip)?.map(|port| SocketAddr::new(ip, port));
        let keys = Keys::write(folder.path(), ip)?;
        write_users(&folder, &options.users, api, &keys)?;
        let kubectl = Kubectl::new(folder.path().join("admin.kubeconfig"), folder.path().join("cache"))?;
        let parts = Parts::new(folder.path(), api, [client, peer], &options)?;
        let mut cluster = Self { address: api, parts, kubectl, store: client, folder, _subnet: subnet };
        let ready = cluster.bring_up(&options).await;
        ready.map_err(|failure| failure.with(&cluster.tail()))?;
        Ok(cluster)
    }

    async fn bring_up(&mut self, options: &Options) -> Outcome<()> {
        self.parts.of(Part::Etcd).start()?;
        self.restart(Part::Apiserver).await?;
        definitions::install(&self.kubectl, &options.definitions, START).await?;
        self.apply(NODE).await?;
        if options.controllers {
            self.restart(Part::Controllers).await?;
        }
        Ok(())
    }

    /// Makes kinds known that the options left out.
    pub async fn define(&self, definitions: Definitions) -> Outcome<()> {
        definitions::install(&self.kubectl, &[definitions], START).await
    }

    /// Starts a part again after [`Cluster::stop`], with the data that it had, and waits until it serves.
    pub async fn restart(&mut self, part: Part) -> Outcome<()> {
        self.parts.of(part).start()?;
        let what = format!("{} is ready", part.name());
        let ready = deadline::until(&what, START, async || {
            if let Some(status) = self.parts.of(part).status() {
                return Some(Err(Failure::new(format!("{} ended: {status}", part.name()))));
            }
            self.serves(part).await.then_some(Ok(()))
        });
        let ready = ready.await.and_then(|ready| ready);
        ready.map_err(|failure| failure.with(&self.parts.of(part).tail()))
    }

    /// Starts a part again with another flag, from now on, after those it has; of two for the same the last counts. Doesn't wait: it
    /// may never be what it calls ready.
    pub fn start_as(&mut self, part: Part, flag: &str) -> Outcome<()> {
        self.parts.of(part).add(flag);
        self.parts.of(part).start()
    }

    /// Whether a part does what it is there for.
    async fn serves(&self, part: Part) -> bool {
        match part {
            Part::Etcd => store::revision(self.store).await.is_ok(),
            Part::Apiserver => self.accepts().await && self.reads(&["get", "--raw", "/readyz"]).await,
            Part::Controllers => self.reads(&["get", "serviceaccount", "default", "-n", "default"]).await,
        }
    }

    /// Whether the API server's port is open: kubectl, which costs more to ask, has nothing to say before.
    async fn accepts(&self) -> bool {
        tokio::net::TcpStream::connect(self.address).await.is_ok()
    }

    async fn reads(&self, arguments: &[&str]) -> bool {
        self.kubectl.succeed(arguments, "").await.is_ok()
    }

    /// Ends a part at once, as a crash would; its data stays.
    pub fn stop(&mut self, part: Part) -> Outcome<()> {
        self.parts.of(part).kill()
    }

    /// Stops a part from running on; connections to it stay open, and nothing is answered.
    pub fn freeze(&mut self, part: Part) -> Outcome<()> {
        self.parts.of(part).freeze()
    }

    /// Keeps a copy of what etcd has, or goes back to it. Ends both and starts them again.
    pub async fn restart_with(&mut self, backup: Backup) -> Outcome<()> {
        self.stop(Part::Apiserver)?;
        self.stop(Part::Etcd)?;
        let [data, copy] = ["etcd", "etcd.backup"].map(|name| self.folder.path().join(name));
        match backup {
            Backup::Made => store::copy(&data, &copy)?,
            Backup::Restored => {
                fs::remove_dir_all(&data)?;
                store::copy(&copy, &data)?;
            }
        }
        self.restart(Part::Etcd).await?;
        self.restart(Part::Apiserver).await
    }

    /// Another key signs the tokens of ServiceAccounts from now on; those that the last one has signed are good still, or not.
    pub async fn rotate_accounts(&mut self, still: bool) -> Outcome<()> {
        let folder = self.folder.path();
        let last = if still { fs::read_to_string(folder.join("accounts.pub"))? } else { String::new() };
        keys::rotate_accounts(folder, &last)?;
        self.stop(Part::Apiserver)?;
        self.restart(Part::Apiserver).await
    }

    /// Lets a part run on after [`Cluster::freeze`].
    pub fn thaw(&mut self, part: Part) -> Outcome<()> {
        self.parts.of(part).thaw()
    }

    /// Forgets in etcd what all objects were before now: once the API server is started again, a list that was being read
    /// in pages can't be continued. For watches to be too old, starting it again is enough.
    pub async fn compact(&self) -> Outcome<()> {
        store::compact(self.store).await
    }

    /// Writes objects into etcd as they are, by the path of each below `/registry/`: what validation would refuse, or what is too
    /// much to be sent to the API server one by one. Their kinds' own defaults have to be among what is written.
    pub async fn write(&self, objects: &[(String, serde_json::Value)]) -> Outcome<()> {
        store::write(self.store, objects).await
    }

    /// The file with which a user reaches the API server: [`ADMIN`], or one of the options'.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.folder.path().join(format!("{}.kubeconfig", file_name(user)))
    }

    /// The same, reaching it by way of another address, such as that of a passage.
    pub fn kubeconfig_by_way_of(&self, user: &str, way: SocketAddr) -> Outcome<PathBuf> {
        let direct: serde_json::Value = serde_json::from_slice(&fs::read(self.kubeconfig(user))?)?;
        let mut config = direct;
        let cluster = config.pointer_mut("/clusters/0/cluster").ok_or_else(|| Failure::new("no cluster is named"))?;
        cluster["server"] = format!("https://{way}").into();
        cluster["tls-server-name"] = "kubernetes".into();
        let path = self.folder.path().join(format!("{}-{}.kubeconfig", file_name(user), way.port()));
        fs::write(&path, serde_json::to_vec_pretty(&config)?)?;
        Ok(path)
    }

    /// The same for a ServiceAccount that is there, with a token such as its Pods get.
    pub async fn account(&self, namespace: &str, name: &str) -> Outcome<PathBuf> {
        let token = self.kubectl(&["create", "token", name, "-n", namespace]).await?;
        let path = self.folder.path().join(format!("{namespace}-{name}.kubeconfig"));
        write_config(&path, name, token.trim(), self.address, &self.authority())?;
        Ok(path)
    }

    /// The certificate that the API server's is signed by.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Runs kubectl as the admin; it must succeed. Returns what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Outcome<String> {
        self.kubectl.succeed(arguments, "").await
    }

    /// Runs kubectl as anybody, with an input, and returns what came of it.
    pub async fn try_kubectl(&self, user: &str, arguments: &[&str], input: &str) -> Outcome<kubectl::Answer> {
        self.kubectl.of(self.kubeconfig(user)).run(arguments, input).await
    }

    /// Applies manifests.
    pub async fn apply(&self, manifests: &str) -> Outcome<()> {
        self.kubectl.succeed(&["apply", "-f", "-"], manifests).await.map(drop)
    }

    /// Makes a namespace; where there are controllers, Pods can be made in it at once.
    pub async fn namespace(&self, name: &str) -> Outcome<()> {
        self.kubectl(&["create", "namespace", name, "--save-config"]).await?;
        if self.parts.has_controllers() {
            let account = ["get", "serviceaccount", "default", "-n", name];
            deadline::until("a new namespace has its ServiceAccount", START, async || {
                self.reads(&account).await.then_some(())
            })
            .await?;
        }
        Ok(())
    }

    /// Says of a Pod, as its node would, that it runs at an address and is ready or not.
    pub async fn set_pod(&self, namespace: &str, name: &str, ip: &str, ready: bool) -> Outcome<()> {
        let condition = serde_json::json!({"type": "Ready", "status": if ready { "True" } else { "False" }});
        let status = serde_json::json!({
            "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}
        });
        let patch = status.to_string();
        let arguments = ["patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch];
        self.kubectl(&arguments).await.map(drop)
    }

    /// What the API server counts.
    pub async fn metrics(&self) -> Outcome<Metrics> {
        Ok(Metrics::parse(&self.kubectl(&["get", "--raw", "/metrics"]).await?))
    }

    /// The ends of all logs, for a failure's text.
    pub fn tail(&self) -> String {
        self.parts.tail()
    }
}

/// Writes who everybody is: the API server's list of tokens, and a kubeconfig for each.
fn write_users(folder: &TempDir, users: &[&str], api: SocketAddr, keys: &Keys) -> Outcome<()> {
    let mut tokens = format!("token-of-{ADMIN},{ADMIN},{ADMIN},system:masters\n");
    for user in users {
        tokens.push_str(&format!("token-of-{user},{user},{user}\n"));
    }
    fs::write(folder.path().join("tokens.csv"), tokens)?;
    for user in users.iter().chain([&ADMIN]) {
        let path = folder.path().join(format!("{}.kubeconfig", file_name(user)));
        write_config(&path, user, &format!("token-of-{user}"), api, &keys.authority)?;
    }
    Ok(())
}

/// Writes a kubeconfig.
fn write_config(path: &Path, user: &str, token: &str, api: SocketAddr, authority: &Path) -> Outcome<()> {
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://{api}"),
            "certificate-authority": authority,
        }}],
        "users": [{"name": user, "user": {"token": token}}],
    });
    Ok(fs::write(path, serde_json::to_vec_pretty(&config)?)?) // JSON is YAML.
}

/// A user's name as part of a file's: that of a ServiceAccount has colons, which separate kubeconfigs from each other.
fn file_name(user: &str) -> String {
    user.replace(':', "-")
}
