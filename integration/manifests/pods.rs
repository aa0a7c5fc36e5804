//! The Pods of the Deployment, made by the real controllers in a namespace that enforces Pod Security, and run as a node
//! would: as the user that they ask for, in a folder that has what the image has and can't be written, with the token of
//! their ServiceAccount, the arguments of their container, and its probes.

use crate::harness::addresses::Subnet;
use crate::harness::api::Api;
use crate::harness::client::Client;
use crate::harness::cluster::{ADMIN, Cluster};
use crate::harness::spawner::{self, Process};
use crate::harness::{Failure, Outcome, deadline};
use crate::rendered::{NAMESPACE, kustomize};
use crate::{image, shared};
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// How long something may take.
const SOON: Duration = Duration::from_secs(30);
/// What Pods see of their node by default.
const EVERYWHERE: &str = "0.0.0.0";

/// A Pod that runs.
struct Running {
    name: String,
    spec: Value,
    address: IpAddr,
    process: Process,
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
        let own = spec.pointer("/containers/0/args").and_then(Value::as_array).into_iter().flatten();
        arguments.extend(own.filter_map(Value::as_str).map(|argument| argument.replace(EVERYWHERE, &ip)));
        let log = files.path().join("log");
        let process = spawner::start(&name, Path::new("/usr/bin/env"), &arguments, &log)?;
        Ok(Self { name, spec, address, process, _root: files })
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

    /// Its account of itself.
    fn api(&self) -> Outcome<Api> {
        Ok(Api::new(self.port("admin")?))
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

/// The Pods that the controllers have made.
async fn made(cluster: &Cluster, count: usize) -> Outcome<Vec<Value>> {
    let question = ["get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=chancery", "-o", "json"];
    deadline::until("the controllers make the Pods", SOON, async || {
        let list: Value = serde_json::from_str(&cluster.kubectl(&question).await.ok()?).ok()?;
        let pods = list["items"].as_array()?.clone();
        (pods.len() == count).then_some(pods)
    })
    .await
}

/// Puts a Pod on the only node, as the scheduler would.
async fn schedule(cluster: &Cluster, pod: &str) -> Outcome<()> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/binding");
    let binding = serde_json::json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
        "target": {"apiVersion": "v1", "kind": "Node", "name": "node"}});
    let answer = cluster.try_kubectl(ADMIN, &["create", "--raw", &path, "-f", "-"], &binding.to_string()).await?;
    if answer.success { Ok(()) } else { Err(Failure::new(answer.error)) }
}

/// The ready addresses behind our Service.
async fn behind(cluster: &Cluster) -> Option<Vec<String>> {
    let question =
        ["get", "endpointslices", "-n", NAMESPACE, "-l", "kubernetes.io/service-name=chancery", "-o", "json"];
    let list: Value = serde_json::from_str(&cluster.kubectl(&question).await.ok()?).ok()?;
    let slices = list["items"].as_array()?.iter();
    let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let mut found: Vec<_> = ready.filter_map(|endpoint| Some(endpoint["addresses"][0].as_str()?.to_owned())).collect();
    found.sort();
    Some(found)
}

#[tokio::test]
async fn both_replicas_serve_as_they_are_deployed() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    let subnet = Subnet::take()?;
    cluster.apply(&kustomize("base")?).await?;
    let mut replicas = Vec::new();
    for (pod, host) in made(&cluster, 2).await?.iter().zip(1..) {
        schedule(&cluster, &text(pod, "/metadata/name")?).await?;
        replicas.push(Running::start(&cluster, pod, subnet.ip(host)).await?);
    }
    for (replica, host) in replicas.iter().zip(1..) {
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            replica.passes(probe).await?;
        }
        as_it_should_be(replica).await?;
        cluster.set_pod(NAMESPACE, &replica.name, &format!("10.9.77.{host}"), true).await?;
    }
    // What an operator asks after an installation.
    cluster.kubectl(&["rollout", "status", "deployment/chancery", "-n", NAMESPACE, "--timeout=30s"]).await?;
    deadline::until("the Service leads to both", SOON, async || {
        (behind(&cluster).await? == ["10.9.77.1", "10.9.77.2"]).then_some(())
    })
    .await?;
    for replica in replicas {
        replica.end().await?;
    }
    Ok(())
}

/// It runs as nobody, can write nothing, and may see every kind that there is.
async fn as_it_should_be(replica: &Running) -> Outcome<()> {
    let status = fs::read_to_string(format!("/proc/{}/status", replica.process.id()))?;
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert_eq!(line("Uid:"), "Uid:\t65532\t65532\t65532\t65532");
    assert_eq!(line("CapEff:"), "CapEff:\t0000000000000000");
    let api = replica.api()?;
    deadline::until("every kind is watched", SOON, async || {
        let kinds = api.kinds().await.ok()?;
        kinds.iter().all(|kind| kind.state == "watching").then_some(())
    })
    .await
    .map_err(|failure| failure.with(&replica.process.tail()))
}
