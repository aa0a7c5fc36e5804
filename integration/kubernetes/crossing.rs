//! Requests that cross from Pod to Pod, each in a network of its own, while the cluster that says where the Pods are goes away, while
//! chancery does, while all Pods of a Service are replaced, and wherever their Nodes are: endpoints are those that the real controllers
//! make of Pods.

use crate::harness::chancery::Chancery;
use crate::harness::cluster::{ADMIN, Cluster, Options, Part};
use crate::harness::echo::Echo;
use crate::harness::envoy::{Envoy, Seat, Wire};
use crate::harness::load::Load;
use crate::harness::network::{Network, Pod};
use crate::harness::relay::Relay;
use crate::harness::timing::soak;
use crate::harness::{Failure, Outcome, addresses::Subnet, deadline};
use crate::recorder::Recorder;
use crate::shared;
use crate::stage::SOON;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// The Node that every cluster of a test has, where the Pod that calls is.
const NODE: &str = "node";
/// How long controllers may take to notice that there is an API server again: they ask ever more rarely, each of its own kinds.
const RETURNED: Duration = Duration::from_secs(180);
/// Where the sidecar of the Pod that calls finds chancery.
const DOOR: &str = "127.0.0.1:15012";

/// The Service, and the Pod that calls.
fn objects(namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: {namespace}}}\n\
         spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: client, namespace: {namespace}}}\n\
         spec: {{nodeName: {NODE}, containers: [{{name: client, image: client}}]}}\n"
    )
}

/// Everything. Dropped in order.
struct Crossing {
    namespace: &'static str,
    envoy: Envoy,
    chancery: Chancery,
    relay: (Relay, Arc<Recorder>),
    servers: BTreeMap<u8, (Echo, Pod)>,
    client: Pod,
    network: Network,
    _files: TempDir,
    _subnet: Subnet,
}

impl Crossing {
    /// A namespace with those Pods of the Service, by the last byte of their address, each on a Node.
    async fn open(cluster: &Cluster, namespace: &'static str, pods: &[(u8, &str)]) -> Outcome<Self> {
        let (network, subnet) = (Network::beside()?, Subnet::take()?);
        let files =
            tempfile::Builder::new().prefix("chancery-").permissions(Permissions::from_mode(0o755)).tempdir()?;
        let client = network.pod("client", 10)?;
        cluster.namespace(namespace).await?;
        cluster.apply(&objects(namespace)).await?;
        cluster.set_pod(namespace, "client", &client.ip.to_string(), true).await?;
        let mut servers = BTreeMap::new();
        for (host, node) in pods {
            servers.insert(*host, server(cluster, &network, namespace, (*host, node)).await?);
        }
        let log = files.path().join("chancery.log");
        let mut chancery = Chancery::of_cluster(&subnet, 1, &cluster.kubeconfig(ADMIN), log)?;
        chancery.flags =
            ["--watch-seconds", "4", "--namespace", namespace, "--status", "off"].map(str::to_owned).into();
        chancery.restart().await?;
        let door = client.run(async { Ok(TcpListener::bind(DOOR).await?.into_std()?) }).await?;
        let recorder = Arc::new(Recorder::new());
        let relay = Relay::entered(TcpListener::from_std(door)?, chancery.xds, recorder.clone())?;
        let seat = Seat {
            pod: client.name.clone(),
            namespace: namespace.into(),
            ip: client.ip,
            metadata: vec![format!("OUTBOUND_BIND={}", client.ip)],
            ports: [15000, 15090, 15021],
            credential: None,
            place: client.place(),
            client: client.client(),
        };
        let envoy = Envoy::start(&seat, relay.address, Wire::Sotw.into(), files.path()).await;
        let envoy = envoy.map_err(|failure| failure.with(&chancery.tail()))?;
        let relay = (relay, recorder);
        Ok(Self { namespace, envoy, chancery, relay, servers, client, network, _files: files, _subnet: subnet })
    }

    /// Adds a Pod of the Service, and waits until requests may go there.
    async fn add(&mut self, cluster: &Cluster, host: u8) -> Outcome<()> {
        let added = server(cluster, &self.network, self.namespace, (host, NODE)).await?;
        let ip = added.1.ip.to_string();
        self.servers.insert(host, added);
        let known = async || self.endpoints().await?.contains(&ip).then_some(());
        let known = deadline::until("the Pod is an endpoint", RETURNED, known).await;
        known.map_err(|failure| failure.with(&self.chancery.tail()))
    }

    /// Envoy's name of the cluster of the Service.
    fn cluster(&self) -> String {
        format!("outbound|80||web.{}.svc.cluster.local", self.namespace)
    }

    /// The addresses to which Envoy sends requests.
    async fn endpoints(&self) -> Option<BTreeSet<String>> {
        let endpoints = self.envoy.healthy_endpoints(&self.cluster()).await.ok()?;
        Some(endpoints.iter().map(|endpoint| endpoint.ip().to_string()).collect())
    }

    async fn has(&self, hosts: &[u8]) -> Outcome<()> {
        let (mut found, expected) = (None, hosts.iter().map(|host| self.servers[host].1.ip.to_string()).collect());
        let same = deadline::until("Envoy has the endpoints", SOON, async || {
            found = self.endpoints().await;
            (found.as_ref()? == &expected).then_some(())
        });
        let same = same.await;
        same.map_err(|failure| failure.with(&format!("it has {found:?}")).with(&self.chancery.tail()))
    }

    fn load(&self, count: u64) -> Load {
        Load::closed(SocketAddr::new(self.client.ip, 80), "web", count).by(self.client.client())
    }

    fn traffic(&self) -> Load {
        let address = SocketAddr::new(self.client.ip, 80);
        Load::steady(address, "web", soak(15) + 2 * RETURNED).by(self.client.client())
    }

    /// How many requests have reached a Pod.
    fn requests(&self, host: u8) -> u64 {
        self.servers[&host].0.requests()
    }

    /// Waits until requests go to each of these, and to nobody else.
    async fn sends_to(&self, hosts: &[u8]) -> Outcome<()> {
        let mut last = Vec::new();
        let same = deadline::until("requests go there", SOON, async || {
            let counts = || self.servers.keys().map(|host| (*host, self.requests(*host))).collect::<Vec<_>>();
            let before = counts();
            self.load(60).run().await.ok()?.clean().ok()?;
            last =
                counts().into_iter().zip(before).filter(|(now, then)| now.1 > then.1).map(|(now, _)| now.0).collect();
            (last == hosts).then_some(())
        });
        let same = same.await;
        same.map_err(|failure| failure.with(&format!("they go to {last:?}, not {hosts:?}")).with(&self.chancery.tail()))
    }

    /// Waits until as many more requests have reached a Pod.
    async fn is_asked(&self, host: u8, count: u64) -> Outcome<()> {
        let before = self.requests(host);
        let asked = async || (self.requests(host) >= before + count).then_some(());
        deadline::until("requests arrive", SOON, asked).await
    }

    /// A Pod that is no endpoint any more ends as soon as what was on its way there has arrived, and its node says so.
    async fn ends(&self, cluster: &Cluster, host: u8) -> Outcome<()> {
        let left = async || {
            let before = self.requests(host);
            tokio::time::sleep(Duration::from_millis(300)).await;
            (self.requests(host) == before).then_some(())
        };
        deadline::until("nobody is sent there", SOON, left).await?;
        self.servers[&host].0.fail(true);
        let ended = ["delete", "pod", &format!("web-{host}"), "-n", self.namespace, "--force", "--grace-period=0"];
        cluster.kubectl(&ended).await.map(drop)
    }

    /// The API server says of Pods that they go.
    async fn goes(&self, cluster: &Cluster, hosts: &[u8]) -> Outcome<()> {
        let names: Vec<String> = hosts.iter().map(|host| format!("web-{host}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let ending = ["-n", self.namespace, "--grace-period=300", "--wait=false"];
        cluster.kubectl(&[&["delete", "pod"], &*names, &ending].concat()).await.map(drop)
    }
}

/// A Pod of the Service with its application, in the network and in the cluster, where it is on a Node.
async fn server(
    cluster: &Cluster,
    network: &Network,
    namespace: &str,
    (host, node): (u8, &str),
) -> Outcome<(Echo, Pod)> {
    let name = format!("web-{host}");
    let pod = network.pod(&name, host)?;
    let echo = pod.run(Echo::start("v1", pod.ip, 8080, 0)).await?;
    let object = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{app: web}}}}\n\
         spec: {{nodeName: {node}, containers: [{{name: web, image: web}}]}}\n"
    );
    cluster.apply(&object).await?;
    cluster.set_pod(namespace, &name, &pod.ip.to_string(), true).await?;
    Ok((echo, pod))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_cross_from_pod_to_pod_whatever_goes_away() -> Outcome<()> {
    let (mut cluster, _held) = shared::own(Options { controllers: true, ..Options::default() }).await?;
    let mut crossing = Crossing::open(&cluster, "crossing", &[(21, NODE), (22, NODE)]).await?;
    crossing.has(&[21, 22]).await?;
    crossing.load(20).run().await?.clean()?;
    let load = crossing.traffic().start();
    everybody_goes_away(&mut cluster, &mut crossing).await?;
    let taken = crossing.relay.1.taken_addresses();
    assert_eq!(taken.get(&crossing.cluster()).cloned().unwrap_or_default(), BTreeSet::new(), "no address was taken");
    one_pod_is_replaced(&cluster, &mut crossing).await?;
    all_pods_are_replaced(&cluster, &mut crossing).await?;
    let tally = load.stopped().await?;
    tally.clean()?;
    println!("{} requests crossed", tally.answers());
    let own = |name: &String| !name.contains(".svc.") || name.contains(".crossing.svc.");
    let (mut taken, mut hosts) = (crossing.relay.1.taken(), crossing.relay.1.taken_hosts());
    taken.retain(own);
    hosts.retain(own);
    assert!(taken.is_empty() && hosts.is_empty(), "taken: {taken:?} and {hosts:?}");
    let taken = crossing.relay.1.taken_addresses();
    let gone: BTreeSet<_> = [21, 22, 23].map(|host| crossing.servers[&host].1.ip).into();
    assert_eq!(taken.get(&crossing.cluster()), Some(&gone), "the control: what went was seen to go");
    // The control: requests depend on the Pods that they cross to.
    crossing.servers[&24].0.fail(true);
    crossing.load(20).run().await?.clean().map_or(Ok(()), |()| Err(Failure::new("a Pod that fails isn't noticed")))
}

/// The API server goes, and then chancery, and both come back: every Pod goes on being asked.
async fn everybody_goes_away(cluster: &mut Cluster, crossing: &mut Crossing) -> Outcome<()> {
    cluster.stop(Part::Apiserver)?;
    tokio::time::sleep(soak(5)).await;
    for host in [21, 22] {
        crossing.is_asked(host, 20).await?;
    }
    crossing.chancery.kill()?;
    crossing.chancery.launch()?;
    tokio::time::sleep(soak(3)).await;
    for host in [21, 22] {
        crossing.is_asked(host, 20).await?;
    }
    cluster.restart(Part::Apiserver).await?;
    crossing.chancery.ready(Duration::from_secs(60)).await?;
    crossing.has(&[21, 22]).await
}

/// One comes, and then another goes, whose application closes as soon as nobody is sent there.
async fn one_pod_is_replaced(cluster: &Cluster, crossing: &mut Crossing) -> Outcome<()> {
    crossing.add(cluster, 23).await?;
    crossing.goes(cluster, &[21]).await?;
    crossing.has(&[22, 23]).await?;
    crossing.ends(cluster, 21).await?;
    for host in [22, 23] {
        crossing.is_asked(host, 20).await?;
    }
    Ok(())
}

/// All go at once: those that go serve as long as nobody else does (decision 35).
async fn all_pods_are_replaced(cluster: &Cluster, crossing: &mut Crossing) -> Outcome<()> {
    crossing.goes(cluster, &[22, 23]).await?;
    let slices =
        ["get", "endpointslices", "-n", crossing.namespace, "-o", "jsonpath={.items[*].endpoints[*].conditions.ready}"];
    let none = async || (!cluster.kubectl(&slices).await.ok()?.contains("true")).then_some(());
    deadline::until("no Pod is ready", SOON, none).await?;
    for host in [22, 23] {
        crossing.is_asked(host, 40).await?;
    }
    crossing.add(cluster, 24).await?;
    crossing.has(&[24]).await?;
    for host in [22, 23] {
        crossing.ends(cluster, host).await?;
    }
    crossing.is_asked(24, 40).await
}

/// Nodes beside the first one: in its zone, and in another.
const NODES: &str = "
apiVersion: v1
kind: Node
metadata:
  name: crossing-beside
  labels: {topology.kubernetes.io/region: region, topology.kubernetes.io/zone: zone}
---
apiVersion: v1
kind: Node
metadata:
  name: crossing-far
  labels: {topology.kubernetes.io/region: region, topology.kubernetes.io/zone: other}
";

/// Requests go where the Service wants them to go of the endpoints that the controllers know, by their Nodes and hints. The control:
/// where it wants nothing they go everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_stay_as_near_as_the_service_says() -> Outcome<()> {
    let cluster = shared::cluster().await?;
    cluster.apply(NODES).await?;
    let pods = [(31, NODE), (32, "crossing-beside"), (33, "crossing-far")];
    let crossing = Crossing::open(&cluster, "nearby", &pods).await?;
    crossing.has(&[31, 32, 33]).await?;
    let load = crossing.traffic().start();
    crossing.sends_to(&[31, 32, 33]).await?;
    for (spec, hosts) in [
        (r#"{"trafficDistribution":"PreferSameZone"}"#, &[31, 32][..]),
        (r#"{"trafficDistribution":"PreferSameNode"}"#, &[31]),
        (r#"{"trafficDistribution":null}"#, &[31, 32, 33]),
        (r#"{"internalTrafficPolicy":"Local"}"#, &[31]),
        (r#"{"internalTrafficPolicy":"Cluster","trafficDistribution":"PreferSameZone"}"#, &[31, 32]),
    ] {
        let patch = format!(r#"{{"spec":{spec}}}"#);
        cluster.kubectl(&["patch", "service", "web", "-n", "nearby", "--type=merge", "-p", &patch]).await?;
        crossing.sends_to(hosts).await.map_err(|failure| failure.with(spec))?;
    }
    // Nobody is near any more, and then somebody is.
    for (ready, hosts) in [(false, &[33][..]), (true, &[31, 32])] {
        for host in [31, 32] {
            let ip = crossing.servers[&host].1.ip.to_string();
            cluster.set_pod("nearby", &format!("web-{host}"), &ip, ready).await?;
        }
        crossing.sends_to(hosts).await?;
    }
    cluster.kubectl(&["delete", "nodes", "crossing-beside", "crossing-far"]).await?;
    load.stopped().await?.clean()
}
