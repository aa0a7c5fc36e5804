//! A node's part, played for chancery's Pods: each is run as the user that it asks for, in a folder that has what the image
//! has and can't be written, with the token of its ServiceAccount, the arguments and variables of its container, and its probes.
//! One that is deleted is ended in the time that it has.

use crate::harness::addresses::Subnet;
use crate::harness::api::Api;
use crate::harness::client::Client;
use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::spawner::{self, Process};
use crate::harness::{Failure, Outcome, deadline};
use crate::rendered::NAMESPACE;
use crate::{container, image};
use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How long something may take.
const SOON: Duration = Duration::from_secs(30);
/// The time between two looks at the Pods.
const PAUSE: Duration = Duration::from_millis(300);

/// The node, and what runs on it.
pub struct Node<'a> {
    cluster: &'a Cluster,
    subnet: Subnet,
    pods: Vec<Running>,
    /// How many Pods there have been.
    count: u8,
    /// A file with the address of the admin port of the newest Pod that is ready.
    newest: PathBuf,
}

impl<'a> Node<'a> {
    /// A node on which nothing runs yet.
    pub fn new(cluster: &'a Cluster, newest: PathBuf) -> Outcome<Self> {
        Ok(Self { cluster, subnet: Subnet::take()?, pods: Vec::new(), count: 0, newest })
    }

    /// Runs Pods while something is done.
    pub async fn during<T>(&mut self, done: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        tokio::select! {
            failure = self.serve() => Err(failure),
            outcome = done => outcome,
        }
    }

    /// Runs Pods until something fails.
    async fn serve(&mut self) -> Failure {
        loop {
            if let Err(failure) = self.look().await {
                return failure;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Looks once at what should run.
    async fn look(&mut self) -> Outcome<()> {
        let pods = pods(self.cluster).await?;
        let wanted = |name: &str| pods.iter().any(|pod| pod["metadata"]["name"] == name && !is_ending(pod));
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pods).into_iter().partition(|it| wanted(&it.name));
        self.pods = stay;
        for pod in go {
            let name = pod.name.clone();
            pod.end().await?;
            let delete =
                ["delete", "pod", &*name, "-n", NAMESPACE, "--grace-period=0", "--force", "--ignore-not-found"];
            self.cluster.kubectl(&delete).await?;
        }
        for pod in pods.iter().filter(|pod| !is_ending(pod)) {
            if !self.pods.iter().any(|running| pod["metadata"]["name"] == *running.name) {
                self.run(pod).await?;
            }
        }
        Ok(())
    }

    /// Runs a Pod, and says so once its probes do.
    async fn run(&mut self, pod: &Value) -> Outcome<()> {
        self.count += 1;
        schedule(self.cluster, &text(pod, "/metadata/name")?).await?;
        let running = Running::start(self.cluster, pod, self.subnet.ip(self.count)).await?;
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            running.passes(probe).await?;
        }
        running.is_as_it_should_be().await?;
        self.cluster.set_pod(NAMESPACE, &running.name, &format!("10.9.77.{}", self.count), true).await?;
        fs::write(&self.newest, running.port("admin")?.to_string())?;
        self.pods.push(running);
        Ok(())
    }
}

fn is_ending(pod: &Value) -> bool {
    pod["metadata"].get("deletionTimestamp").is_some()
}

/// The Pods that there are.
async fn pods(cluster: &Cluster) -> Outcome<Vec<Value>> {
    let question = ["get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=chancery", "-o", "json"];
    let mut list: Value = serde_json::from_str(&cluster.kubectl(&question).await?)?;
    Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
}

/// Puts a Pod on the only node, as the scheduler would.
async fn schedule(cluster: &Cluster, pod: &str) -> Outcome<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/binding");
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "node"}});
    let answer = cluster.try_kubectl(ADMIN, &["create", "--raw", &path, "-f", "-"], &binding.to_string()).await?;
    if answer.success { Ok(()) } else { Err(Failure::new(answer.error)) }
}

/// A Pod that runs.
struct Running {
    name: String,
    spec: Value,
    address: IpAddr,
    process: Process,
    /// What its own service account shows it.
    token: String,
    _root: TempDir,
}

impl Running {
    /// Starts the container of a Pod, at an address that stands for the Pod's.
    async fn start(cluster: &Cluster, pod: &Value, address: IpAddr) -> Outcome<Self> {
        let (name, spec) = (text(pod, "/metadata/name")?, pod["spec"].clone());
        let files = tempfile::Builder::new().prefix("chancery-pod-").tempdir()?;
        fs::set_permissions(files.path(), PermissionsExt::from_mode(0o755))?;
        let root = files.path().join("root");
        image::unpack(&root)?;
        credentials(cluster, &name, &spec, &root).await?;
        let user = |field: &str| spec["securityContext"][field].as_u64().ok_or_else(|| Failure::new(field.to_owned()));
        let mut arguments = vec![
            "-i".to_owned(),
            format!("KUBERNETES_SERVICE_HOST={}", cluster.address.ip()),
            format!("KUBERNETES_SERVICE_PORT={}", cluster.address.port()),
            "/usr/sbin/chroot".to_owned(),
            format!("--userspec={}:{}", user("runAsUser")?, user("runAsGroup")?),
            root.to_string_lossy().into_owned(),
            image::PROGRAM.to_owned(),
        ];
        let ip = address.to_string();
        let variables = container::variables(&spec, &name, &ip)?;
        arguments.splice(1..1, variables.iter().map(|(name, value)| format!("{name}={value}")));
        arguments.extend(container::arguments(&spec, &variables, &ip));
        let log = files.path().join("log");
        let process = spawner::start(&name, Path::new("/usr/bin/env"), &arguments, &log)?;
        let account = text(&spec, "/serviceAccountName")?;
        let create = ["create", "token", &*account, "-n", NAMESPACE, "--audience=chancery"];
        let token = cluster.kubectl(&create).await?.trim().to_owned();
        Ok(Self { name, spec, address, process, token, _root: files })
    }

    /// The address of a port of the container by its name.
    fn port(&self, name: &str) -> Outcome<SocketAddr> {
        let ports = self.spec.pointer("/containers/0/ports").and_then(Value::as_array);
        let port = ports.into_iter().flatten().find(|port| port["name"] == name);
        let number = port.and_then(|port| port["containerPort"].as_u64()).and_then(|number| number.try_into().ok());
        Ok(SocketAddr::new(self.address, number.ok_or_else(|| Failure::new(format!("no port is called {name}")))?))
    }

    /// Waits until a probe succeeds.
    async fn passes(&self, probe: &str) -> Outcome<()> {
        let get = format!("/containers/0/{probe}/httpGet");
        let address = self.port(&text(&self.spec, &format!("{get}/port"))?)?;
        let path = text(&self.spec, &format!("{get}/path"))?;
        let (client, what) = (Client::default(), format!("{probe} of {}", self.name));
        let passed = deadline::until(&what, SOON, async || {
            client.get(address, &path, &[]).await.ok()?.status.is_success().then_some(())
        });
        passed.await.map_err(|failure| failure.with(&self.process.tail()))
    }

    /// Its account of itself, for who shows that token.
    fn api(&self, token: &str) -> Outcome<Api> {
        let mut api = Api::new(self.port("admin")?);
        api.token = token.to_owned();
        Ok(api)
    }

    /// It runs as nobody, can write nothing, and may see every kind that there is.
    async fn is_as_it_should_be(&self) -> Outcome<()> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        assert_eq!(line("Uid:"), "Uid:\t65532\t65532\t65532\t65532");
        assert_eq!(line("CapEff:"), "CapEff:\t0000000000000000");
        if self.api("")?.kinds().await.is_ok() {
            return Err(Failure::new("the admin port asks nobody who comes"));
        }
        let api = self.api(&self.token)?;
        deadline::until("every kind is watched", SOON, async || {
            let kinds = api.kinds().await.ok()?;
            kinds.iter().all(|kind| kind.state == "watching").then_some(())
        })
        .await
        .map_err(|failure| failure.with(&self.process.tail()))
    }

    /// Ends it as a node does; it must do so in the time that the Pod gives it.
    async fn end(mut self) -> Outcome<()> {
        let grace = self.spec["terminationGracePeriodSeconds"].as_u64().unwrap_or_default();
        self.process.terminate()?;
        let status = self.process.ended(Duration::from_secs(grace)).await?;
        match status.success() {
            true => Ok(()),
            false => Err(Failure::new(format!("{}: {status}", self.name)).with(&self.process.tail())),
        }
    }
}

/// Writes what a node mounts for the ServiceAccount, where the Pod says.
async fn credentials(cluster: &Cluster, pod: &str, spec: &Value, root: &Path) -> Outcome<()> {
    let folder = text(spec, "/containers/0/volumeMounts/0/mountPath")?;
    let folder = root.join(folder.trim_start_matches('/'));
    let account = text(spec, "/serviceAccountName")?;
    let bound = ["--bound-object-kind=Pod", "--bound-object-name", pod, "-n", NAMESPACE];
    let create = ["create", "token", &*account];
    let token = cluster.kubectl(&[&create[..], &bound[..]].concat()).await?;
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("token"), token)?;
    fs::write(folder.join("namespace"), NAMESPACE)?;
    fs::copy(cluster.authority(), folder.join("ca.crt"))?;
    Ok(())
}

fn text(value: &Value, path: &str) -> Outcome<String> {
    let found = value.pointer(path).and_then(Value::as_str);
    found.map(str::to_owned).ok_or_else(|| Failure::new(format!("there is no {path} in {value}")))
}
