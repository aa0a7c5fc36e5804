//! Services of type ExternalName: names outside that Envoy looks up in a DNS server of the test's own, and other names
//! for a service.

use crate::harness::client::{Client, line};
use crate::harness::dns::Dns;
use crate::harness::echo::{Echo, VERSION};
use crate::harness::envoy::Setup;
use crate::harness::scene::{SOON, Scene};
use crate::harness::{Failure, Outcome, addresses, deadline};
use crate::on;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The Service that stands for a name outside, and that name.
const HOST: &str = "partner";
const NAME: &str = "api.partner.example";
/// The last bytes of the DNS server's address and of those outside.
const SERVER: u8 = 8;
const OUTSIDE: [u8; 2] = [20, 21];
/// Three tries of a second or two, and some time to start the next.
const GIVEN_UP: Duration = Duration::from_secs(15);

/// A name outside is looked up, and again when the answer has run out; the application there sees the Host that the client
/// sent. The control, before: a name that DNS doesn't know has nobody to answer.
pub async fn a_name_outside_is_looked_up(setup: Setup) -> Outcome<()> {
    let (scene, dns) = opened(setup).await?;
    on(scene, async |scene| {
        let [first, second] = OUTSIDE.map(|host| scene.subnet.ip(host));
        let [http, tcp] = addresses::ports(first)?;
        let _first = Echo::start("first", first, http, tcp).await?;
        let _second = Echo::start("second", second, http, tcp).await?;
        published(scene, &[("http", http), ("tcp", tcp)]).await?;
        if let Some(version) = answered(scene, http).await? {
            return Err(Failure::new(format!("DNS doesn't know the name, and {version} answers")));
        }
        for (version, ip) in [("first", first), ("second", second)] {
            dns.tell(NAME, &[v4(ip)]);
            let told = format!("{version}: hello");
            let follows = async || (answered(scene, http).await.ok()?.as_deref() == Some(version)).then_some(());
            deadline::until(&format!("the {version} address answers"), SOON, follows).await?;
            // Each port is a cluster that looks the name up for itself.
            let said = async || (line(scene.outbound(tcp), "hello").await.ok()? == told).then_some(());
            deadline::until(&format!("the {version} address says hello"), SOON, said).await?;
        }
        Ok(())
    })
    .await
}

/// While DNS is silent a cluster warms and Envoy accepts no clusters, and everything else arrives all the same: another
/// service, its endpoints and its routes. After a few tries the cluster is in service without endpoints, and once DNS
/// answers with them.
pub async fn a_silent_dns_holds_nothing_up(setup: Setup) -> Outcome<()> {
    let (scene, dns) = opened(setup).await?;
    on(scene, async |scene| {
        let outside = scene.subnet.ip(OUTSIDE[0]);
        let [http, tcp] = addresses::ports(outside)?;
        let _outside = Echo::start("first", outside, http, tcp).await?;
        dns.silence(true);
        scene.folder.replace("partner.yaml", &manifest(&[("http", http)]))?;
        deadline::until("the name is asked for", SOON, async || (dns.asked(NAME) > 0).then_some(())).await?;
        let _other = Echo::start("other", outside, http + 1, 0).await?;
        scene.folder.replace("other.yaml", &other(outside, http + 1))?;
        let arrived = async || (version(scene, "other", http + 1).await.ok()?? == "other").then_some(());
        deadline::until("another service arrives", SOON, arrived).await?;
        if scene.client().stat("cluster_manager.warming_clusters").await? != Some(1) {
            return Err(Failure::new("no cluster was warming, so nothing was held up"));
        }
        scene.settled_within(GIVEN_UP).await?;
        if let Some(version) = answered(scene, http).await? {
            return Err(Failure::new(format!("DNS is silent, and {version} answers")));
        }
        dns.tell(NAME, &[v4(outside)]);
        dns.silence(false);
        let follows = async || answered(scene, http).await.ok()?;
        deadline::until("the address answers", GIVEN_UP, follows).await.map(drop)
    })
    .await
}

/// Another name for a service leads to it, by its rules; the control, before: an unknown host.
pub async fn another_name_leads_to_the_service(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let ask = async |user: &str| {
            let headers = [("host", "alias.first-light"), ("x-user", user)];
            Client::default().get(scene.http(), "/", &headers).await
        };
        let before = ask("tester").await?;
        if before.status != 502 {
            return Err(Failure::new(format!("a host that nobody has got {}", before.status)));
        }
        let service = "apiVersion: v1
kind: Service
metadata: {name: alias, namespace: first-light}
spec: {type: ExternalName, externalName: echo.first-light.svc.cluster.local}
";
        scene.folder.replace("alias.yaml", service)?;
        let known = async || (ask("nobody").await.ok()?.status == 200).then_some(());
        deadline::until("the other name is known", SOON, known).await?;
        for _ in 0..20 {
            let answer = ask("tester").await?;
            if answer.status != 200 || answer.headers.get(VERSION).is_none_or(|version| version != "v2") {
                return Err(Failure::new(format!("a tester got {} {:?}", answer.status, answer.headers)));
            }
        }
        Ok(())
    })
    .await
}

/// A scene whose Envoys ask a DNS server of the test's own, and soon again.
async fn opened(setup: Setup) -> Outcome<(Scene, Dns)> {
    let scene = Scene::prepared().await?;
    // That a name doesn't exist is an answer, too, and doesn't say how long it holds.
    scene.folder.replace("mesh.yaml", "dnsRefreshRate: 1s\n")?;
    let dns = Dns::start(scene.subnet.ip(SERVER)).await?;
    let setup = Setup { dns: Some(dns.address), ..setup };
    Ok((scene.with_envoys(setup, false).await?, dns))
}

fn v4(ip: IpAddr) -> Ipv4Addr {
    match ip {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => unreachable!("the addresses of a run are IPv4"),
    }
}

/// Who answers requests to the name outside; none where there is nobody to.
async fn answered(scene: &Scene, port: u16) -> Outcome<Option<String>> {
    version(scene, HOST, port).await
}

async fn version(scene: &Scene, host: &str, port: u16) -> Outcome<Option<String>> {
    let answer = Client::default().get(scene.outbound(port), "/", &[("host", host)]).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    match answer.status.as_u16() {
        200 if body.contains(&format!("\"host\":\"{host}\"")) => {}
        503 => return Ok(None),
        _ => return Err(Failure::new(format!("{} {body}", answer.status))),
    }
    let version = answer.headers.get(VERSION).and_then(|version| version.to_str().ok());
    Ok(version.map(str::to_owned))
}

/// Adds the Service and waits until the client's Envoy has its clusters and listeners.
async fn published(scene: &Scene, ports: &[(&str, u16)]) -> Outcome<()> {
    let api = scene.chancery.api();
    let mut before = api.accepted("lds").await?;
    before.retain(|node, _| *node == scene.client().node);
    scene.folder.replace("partner.yaml", &manifest(ports))?;
    api.moved("lds", &before, SOON).await?;
    scene.settled().await
}

fn manifest(ports: &[(&str, u16)]) -> String {
    let ports: Vec<_> = ports.iter().map(|(name, port)| format!("{{name: {name}, port: {port}}}")).collect();
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {HOST}, namespace: first-light}}
spec: {{type: ExternalName, externalName: {NAME}, ports: [{}]}}
",
        ports.join(", ")
    )
}

fn other(ip: IpAddr, port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: other, namespace: first-light}}
spec: {{clusterIP: None, ports: [{{name: http, port: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: other, namespace: first-light, labels: {{kubernetes.io/service-name: other}}}}
addressType: IPv4
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [{ip}]}}]
"
    )
}
