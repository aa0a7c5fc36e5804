//! A namespace of a cluster with a client's Pod, chancery that follows the cluster, and the Envoy of that Pod.
//!
//! One Service is an external name, so that requests really arrive: at an application on this machine. Of the other the
//! addresses are a cluster's, at which nobody answers; what Envoy has of it is looked at.

use crate::harness::addresses::{self, Subnet};
use crate::harness::chancery::{Chancery, Credential};
use crate::harness::client::Client;
use crate::harness::cluster::Cluster;
use crate::harness::dns::Dns;
use crate::harness::echo::Echo;
use crate::harness::envoy::{Envoy, Seat, Setup, Wire};
use crate::harness::load::Load;
use crate::harness::passage::Passage;
use crate::harness::relay::Relay;
use crate::harness::spawner::Place;
use crate::harness::{Failure, Outcome, deadline};
use crate::recorder::Recorder;
use crate::trace::{Event, What};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// How long a change may take.
pub const SOON: Duration = Duration::from_secs(15);
/// How many seconds a watch lasts in tests.
pub const WATCH: &str = "4";

/// The last bytes of the addresses of a passage, of a relay and of another server.
const PASSAGE: u8 = 7;
const RELAY: u8 = 6;
const SPARE: u8 = 8;

/// The name that the Service outside stands for, in a DNS of the test's own.
const NAME: &str = "outside.example.test";

/// Everything. Dropped in order.
pub struct Stage {
    pub envoy: Option<Envoy>,
    pub chancery: Chancery,
    pub namespace: String,
    /// Between the client's Envoy and chancery, if it is to be recorded what passes.
    recorded: Option<(Relay, Arc<Recorder>)>,
    echo: Echo,
    dns: Dns,
    seat: Seat,
    pub files: TempDir,
    subnet: Subnet,
}

impl Stage {
    /// Puts the objects into a cluster, and makes everything ready to be started; the namespace must not be there yet.
    pub async fn set(cluster: &Cluster, user: &str, namespace: &str) -> Outcome<Self> {
        let subnet = Subnet::take()?;
        let files = tempfile::Builder::new().prefix("chancery-").tempdir()?;
        let echo = Echo::start("v1", IpAddr::V4(Ipv4Addr::LOCALHOST), 0, 0).await?;
        let dns = Dns::start(subnet.ip(2)).await?;
        dns.tell(NAME, &[Ipv4Addr::LOCALHOST]);
        cluster.namespace(namespace).await?;
        cluster.apply(&objects(namespace, echo.http.port())).await?;
        cluster.set_pod(namespace, "client", "10.9.0.10", true).await?;
        let log = files.path().join("chancery.log");
        let mut chancery = Chancery::of_cluster(&subnet, 1, &cluster.kubeconfig(user), log)?;
        chancery.flags = flags(namespace);
        let ip = subnet.ip(10);
        let metadata = vec![format!("OUTBOUND_BIND={}", subnet.ip(110))];
        let (ports, place, client) = (addresses::ports(ip)?, Place::default(), Client::default());
        let seat = Seat {
            pod: "client".into(),
            namespace: namespace.into(),
            ip,
            metadata,
            ports,
            credential: None,
            place,
            client,
        };
        let namespace = namespace.into();
        Ok(Self { envoy: None, chancery, namespace, recorded: None, echo, dns, seat, files, subnet })
    }

    /// Lets chancery reach the API server by way of a passage only, from its next start on.
    pub async fn by_way_of_a_passage(&mut self, cluster: &Cluster, user: &str) -> Outcome<Passage> {
        let passage = Passage::start(self.subnet.free(PASSAGE)?, cluster.address).await?;
        self.reaches_by(&cluster.kubeconfig_by_way_of(user, passage.address)?)?;
        Ok(passage)
    }

    /// Lets chancery reach the API server as a kubeconfig says, from its next start on.
    pub fn reaches_by(&mut self, kubeconfig: &Path) -> Outcome<()> {
        let log = self.files.path().join("chancery.log");
        let mut chancery = Chancery::of_cluster(&self.subnet, 1, kubeconfig, log)?;
        chancery.flags.clone_from(&self.chancery.flags);
        self.chancery = chancery;
        Ok(())
    }

    /// The same, started.
    pub async fn open(cluster: &Cluster, user: &str, namespace: &str) -> Outcome<Self> {
        let mut stage = Self::set(cluster, user, namespace).await?;
        stage.chancery.restart().await?;
        stage.connect().await?;
        Ok(stage)
    }

    /// The same, and what Envoy is told is recorded.
    pub async fn recorded(cluster: &Cluster, user: &str, namespace: &str) -> Outcome<Self> {
        let mut stage = Self::set(cluster, user, namespace).await?;
        stage.record().await?;
        Ok(stage)
    }

    /// Starts what was made ready, and records what Envoy is told.
    pub async fn record(&mut self) -> Outcome<()> {
        self.chancery.restart().await?;
        self.connect_recorded().await
    }

    /// Starts the Envoy, and records what it is told by the chancery that runs already, and by those started after it.
    pub async fn connect_recorded(&mut self) -> Outcome<()> {
        self.connect_recorded_to(self.chancery.xds).await
    }

    /// The same by whatever is at an address.
    pub async fn connect_recorded_to(&mut self, xds: SocketAddr) -> Outcome<()> {
        let recorder = Arc::new(Recorder::new());
        let relay = Relay::watched(self.subnet.free(RELAY)?, xds, recorder.clone()).await?;
        self.recorded = Some((relay, recorder));
        self.connect().await
    }

    /// Fails unless exactly these Services were taken from Envoy, of all that it was told since it was started. What goes in
    /// other namespaces of a cluster that tests share is their business.
    pub fn has_lost(&self, services: &[&str]) -> Outcome<()> {
        let (_, recorder) = self.recorded.as_ref().expect("it is recorded what passes");
        let gone: BTreeSet<String> = services.iter().map(|service| self.cluster_of(service)).collect();
        let hosts: BTreeSet<String> = services.iter().map(|service| self.host_of(service)).collect();
        let (mut taken, mut taken_hosts) = (recorder.taken(), recorder.taken_hosts());
        let own = format!(".{}.svc.", self.namespace);
        for names in [&mut taken, &mut taken_hosts] {
            names.retain(|name| !name.contains(".svc.") || name.contains(&own));
        }
        let told = recorder.with(|trace| trace.events.iter().any(|event| matches!(event.what, What::Sent(_))));
        if told && taken == gone && taken_hosts == hosts {
            return Ok(());
        }
        let trace = recorder.with(ToString::to_string);
        let text = format!("taken from Envoy: {taken:?} and {taken_hosts:?}, instead of {gone:?} and {hosts:?}");
        Err(Failure::new(text).with(&trace))
    }

    /// Fails if an address was taken from Envoy that a Service has.
    fn kept(&self, there: &BTreeMap<String, BTreeSet<IpAddr>>) -> Outcome<()> {
        let (_, recorder) = self.recorded.as_ref().expect("it is recorded what passes");
        let taken = recorder.taken_addresses();
        let of = |service: &String| taken.get(&self.cluster_of(service)).cloned().unwrap_or_default();
        let wrong = there.iter().flat_map(|(service, ips)| of(service).into_iter().filter(|ip| ips.contains(ip)));
        let wrong: Vec<_> = wrong.collect();
        let trace = || recorder.with(ToString::to_string);
        let failure = || Failure::new(format!("taken from Envoy, and there: {wrong:?}")).with(&trace());
        if wrong.is_empty() { Ok(()) } else { Err(failure()) }
    }

    /// Fails if anything was taken from Envoy since it was started. The control: what is really deleted now is seen to be taken.
    pub async fn has_lost_nothing(&self, cluster: &Cluster) -> Outcome<()> {
        self.has_lost_only(cluster, &[]).await
    }

    /// The same where these Services were really deleted.
    pub async fn has_lost_only(&self, cluster: &Cluster, services: &[&str]) -> Outcome<()> {
        const GOES: &str = "goes-last";
        self.has_lost(services)?;
        self.kept(&there(cluster, &self.namespace).await?)?;
        let (namespace, address) = (&*self.namespace, "10.9.0.99");
        let two = slice(namespace, GOES, &["10.9.0.98", address]);
        cluster.apply(&format!("{}---\n{two}", service(namespace, GOES))).await?;
        self.has_endpoints(GOES, &["10.9.0.98", address]).await?;
        let before = there(cluster, namespace).await?;
        self.kept(&before)?;
        cluster.apply(&slice(namespace, GOES, &[address])).await?;
        self.has_endpoints(GOES, &[address]).await?;
        self.kept(&there(cluster, namespace).await?)?;
        if self.kept(&before).is_ok() {
            return Err(Failure::new("it is not seen that an address was taken"));
        }
        self.has_lost(services)?;
        cluster.kubectl(&["delete", "service", GOES, "-n", namespace]).await?;
        let with = [services, &[GOES]].concat();
        let seen = deadline::until("a deletion is seen", SOON, async || self.has_lost(&with).ok()).await;
        seen.or_else(|_| self.has_lost(&with))
    }

    /// Lets chancery write status from its next start on, under a Lease of so many seconds.
    pub fn write_status(&mut self, seconds: u32) {
        let flags = ["--status", "on", "--lease-seconds", &seconds.to_string()].map(str::to_owned);
        self.chancery.flags.truncate(4);
        self.chancery.flags.extend(flags);
    }

    /// Makes proxies prove who they are, from the next starts on.
    pub fn secure(&mut self) {
        self.chancery.secure = true;
    }

    /// Gives the client's Envoy, from its next start on, a token for its Pod with that audience, and the roots as they are.
    pub async fn hand_token(&mut self, cluster: &Cluster, audience: &str) -> Outcome<()> {
        let namespace = &self.namespace;
        let secret = ["get", "secret", "chancery-ca", "-n", namespace, "-o", "jsonpath={.data.root-cert\\.pem}"];
        let roots = BASE64_STANDARD.decode(cluster.kubectl(&secret).await?)?;
        self.hand_token_and(cluster, audience, &roots).await
    }

    /// The same, and these roots.
    pub async fn hand_token_and(&mut self, cluster: &Cluster, audience: &str, roots: &[u8]) -> Outcome<()> {
        let of_pod = ["--bound-object-kind", "Pod", "--bound-object-name", "client", "--audience", audience];
        let issue = [&["create", "token", "default", "-n", &self.namespace][..], &of_pod].concat();
        let path = |name| self.files.path().join(name);
        let credential = Credential { roots: path("root-cert.pem"), token: path("token") };
        fs::write(&credential.roots, roots)?;
        fs::write(&credential.token, cluster.kubectl(&issue).await?)?;
        self.seat.credential = Some(credential);
        Ok(())
    }

    /// Starts the client's Envoy and doesn't wait.
    pub fn launch_envoy(&mut self) -> Outcome<()> {
        self.envoy = Some(Envoy::launch(&self.seat, self.chancery.xds, self.setup(), self.files.path())?);
        Ok(())
    }

    /// A place for another server.
    pub fn spare(&self) -> Outcome<SocketAddr> {
        self.subnet.free(SPARE)
    }

    /// An address of the stage's own on which nobody listens.
    pub fn vacant(&self) -> IpAddr {
        self.subnet.ip(111)
    }

    /// Starts the Envoy and waits until requests arrive.
    pub async fn connect(&mut self) -> Outcome<()> {
        let xds = self.recorded.as_ref().map_or(self.chancery.xds, |(relay, _)| relay.address);
        let started = Envoy::start(&self.seat, xds, self.setup(), self.files.path()).await;
        self.envoy = Some(started.map_err(|failure| failure.with(&self.chancery.tail()))?);
        let first = self.load(1);
        deadline::until("a request arrives", SOON, async || {
            first.clone().run().await.and_then(|tally| tally.clean()).ok()
        })
        .await
    }

    /// Flags of a replica of that name that talks with the others.
    pub fn talks(&self, replica: &str, host: u8) -> Outcome<Vec<String>> {
        let address = self.subnet.free(host)?.to_string();
        Ok(["--replica", replica, "--peer-address", &address].map(str::to_owned).into())
    }

    /// Another chancery for the same cluster, not started.
    pub fn another(&self, cluster: &Cluster, user: &str, replica: &str, host: u8) -> Outcome<Chancery> {
        let log = self.files.path().join(format!("{replica}.log"));
        let mut other = Chancery::of_cluster(&self.subnet, host, &cluster.kubeconfig(user), log)?;
        other.flags = flags(&self.namespace);
        other.flags.extend(self.talks(replica, host)?);
        Ok(other)
    }

    /// An Envoy of another Pod, at an address of its own, connected to a chancery.
    pub async fn another_envoy(&self, cluster: &Cluster, chancery: &Chancery, pod: &str, host: u8) -> Outcome<Envoy> {
        self.another_envoy_at(cluster, chancery.xds, pod, host).await
    }

    /// The same, connected to whatever is at an address.
    pub async fn another_envoy_at(&self, cluster: &Cluster, xds: SocketAddr, pod: &str, host: u8) -> Outcome<Envoy> {
        cluster.set_pod(&self.namespace, pod, &format!("10.9.0.{host}"), true).await?;
        let seat = self.another_seat(pod, host)?;
        Envoy::start(&seat, xds, self.setup(), self.files.path()).await
    }

    /// An Envoy of a Pod that is known already, or is not, which is not waited for.
    pub fn launched(&self, xds: SocketAddr, pod: &str, host: u8) -> Outcome<Envoy> {
        Envoy::launch(&self.another_seat(pod, host)?, xds, self.setup(), self.files.path())
    }

    fn another_seat(&self, pod: &str, host: u8) -> Outcome<Seat> {
        let ip = self.subnet.ip(host);
        let metadata = vec![format!("OUTBOUND_BIND={}", self.subnet.ip(host + 100))];
        Ok(Seat { pod: pod.into(), ip, metadata, ports: addresses::ports(ip)?, ..self.seat.clone() })
    }

    /// The variants of the protocol are shared out among the tests, each of which has a namespace of its own.
    fn setup(&self) -> Setup {
        let wire = if self.namespace.len().is_multiple_of(2) { Wire::Delta } else { Wire::Sotw };
        Setup { dns: Some(self.dns.address), ..wire.into() }
    }

    /// The Envoy.
    pub fn envoy(&self) -> &Envoy {
        self.envoy.as_ref().expect("it is started")
    }

    /// Requests to the application on this machine.
    pub fn load(&self, count: u64) -> Load {
        Load::closed(self.outbound(), "outside", count)
    }

    /// The same without end.
    pub fn traffic(&self, time: Duration) -> Load {
        Load::steady(self.outbound(), "outside", time)
    }

    /// How many streams were opened through what records.
    pub fn streams(&self) -> usize {
        let (_, recorder) = self.recorded.as_ref().expect("it is recorded what passes");
        let opened = |event: &&Event| matches!(event.what, What::Opened(_));
        recorder.with(|trace| trace.events.iter().filter(opened).count())
    }

    fn outbound(&self) -> SocketAddr {
        SocketAddr::new(
            self.seat.metadata[0]["OUTBOUND_BIND=".len()..].parse().expect("an address"),
            self.echo.http.port(),
        )
    }

    /// Envoy's name of the cluster of a Service on port 80.
    pub fn cluster_of(&self, service: &str) -> String {
        format!("outbound|80||{service}.{}.svc.cluster.local", self.namespace)
    }

    /// The name of the virtual host of a Service on port 80.
    fn host_of(&self, service: &str) -> String {
        format!("{service}.{}.svc.cluster.local:80", self.namespace)
    }

    /// Waits until Envoy has exactly these healthy addresses of a Service.
    pub async fn has_endpoints(&self, service: &str, expected: &[&str]) -> Outcome<()> {
        let (name, mut found) = (self.cluster_of(service), Vec::new());
        let same = deadline::until("Envoy has the endpoints", SOON, async || {
            let endpoints = self.envoy().healthy_endpoints(&name).await.ok()?;
            found = endpoints.iter().map(|endpoint| endpoint.ip().to_string()).collect();
            found.sort();
            (found == expected).then_some(())
        });
        let same = same.await;
        same.map_err(|failure| failure.with(&format!("it has {found:?}")).with(&self.chancery.tail()))
    }

    /// How many clusters Envoy was told to remove.
    pub async fn removed(&self) -> Outcome<u64> {
        Ok(self.envoy().stat("cluster_manager.cluster_removed").await?.unwrap_or_default())
    }

    /// Waits until a kind's watch is in a state.
    pub async fn is(&self, resource: &str, state: &str) -> Outcome<()> {
        let (api, mut found) = (self.chancery.api(), None);
        let what = format!("{resource} is {state}");
        let same = deadline::until(&what, SOON, async || {
            found = api.kind(resource).await.ok();
            (found.as_ref()?.state == state).then_some(())
        });
        let same = same.await;
        same.map_err(|failure| failure.with(&format!("{found:?}")).with(&self.chancery.tail()))
    }
}

/// What every chancery is started with. Many of them watch one cluster: only tests of it let them write to it.
fn flags(namespace: &str) -> Vec<String> {
    ["--watch-seconds", WATCH, "--namespace", namespace, "--status", "off"].map(str::to_owned).into()
}

/// The addresses of each Service of a namespace that take requests, as the API server has them.
async fn there(cluster: &Cluster, namespace: &str) -> Outcome<BTreeMap<String, BTreeSet<IpAddr>>> {
    let printed = cluster.kubectl(&["get", "endpointslices", "-n", namespace, "-o", "json"]).await?;
    let list: Value = serde_json::from_str(&printed)?;
    let mut there = BTreeMap::<String, BTreeSet<IpAddr>>::new();
    for slice in list["items"].as_array().into_iter().flatten() {
        let service = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str().unwrap_or_default();
        let ready = |endpoint: &&Value| endpoint["conditions"]["ready"] != false;
        let endpoints = slice["endpoints"].as_array().into_iter().flatten().filter(ready);
        let texts = endpoints.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
        let ips = texts.filter_map(|text| text.as_str()?.parse::<IpAddr>().ok());
        there.entry(service.to_owned()).or_default().extend(ips);
    }
    Ok(there)
}

/// An EndpointSlice of a Service, by hand.
pub fn slice(namespace: &str, service: &str, addresses: &[&str]) -> String {
    let endpoints: Vec<_> =
        addresses.iter().map(|ip| serde_json::json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
    serde_json::json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints,
    })
    .to_string()
}

/// A Pod that nobody runs, for a proxy.
pub fn pod(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{nodeName: node, containers: [{{name: client, image: client}}]}}\n"
    )
}

/// A Service without a selector.
pub fn service(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{ports: [{{name: http, port: 80}}]}}\n"
    )
}

fn objects(namespace: &str, port: u16) -> String {
    let inside = [service(namespace, "inside"), slice(namespace, "inside", &["10.9.0.20", "10.9.0.21"])].join("---\n");
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: default, namespace: {namespace}}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: outside, namespace: {namespace}}}\n\
         spec: {{type: ExternalName, externalName: {NAME}, ports: [{{name: http, port: {port}}}]}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: client, namespace: {namespace}}}\n\
         spec: {{nodeName: node, containers: [{{name: client, image: client}}]}}\n---\n{inside}\n"
    )
}
