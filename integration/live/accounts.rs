//! A workload that runs as a new service account takes over from another under load: who is about to come is accepted when its
//! Pod is seen, and who leaves as long as there is its Pod, so that no cluster changes when its endpoints do.

use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::scene::{SOON, Scene, TRAFFIC};
use crate::harness::tools::Release;
use crate::harness::{Failure, Outcome, deadline};
use crate::identity::{authenticated, good_handshakes};
use crate::on;
use std::net::SocketAddr;
use std::time::Duration;

/// The cluster that requests go to.
const CLUSTER: &str = "outbound|8080||echo.first-light.svc.cluster.local";
/// Who runs the first version, and who the second.
const ACCOUNTS: [&str; 2] = ["default", "next"];
/// Longer than it all takes.
const LONG: Duration = Duration::from_secs(60);
/// How many answers of a version show that it is served.
const ENOUGH: u64 = 20;

/// Handshakes all the time.
const TIRED: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo, namespace: first-light}
spec:
  host: echo
  trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 5}}}
";

/// Which Pods of the two versions there are, with an address or not, and which of them are endpoints.
struct Behind {
    pods: [Option<bool>; 2],
    endpoints: [bool; 2],
}

/// As the Service says by itself which Pods are behind it, or not; then only its endpoints do.
fn manifests(scene: &Scene, selects: bool, behind: &Behind) -> String {
    let (ips, selector) = ([2, 3].map(|host| scene.subnet.ip(host)), if selects { "{app: echo}" } else { "{}" });
    let mut text = format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: first-light}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: client, namespace: first-light, labels: {{app: client}}}}\n\
         spec: {{containers: [{{name: app, image: client}}]}}\nstatus: {{podIPs: [{{ip: {}}}]}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: echo, namespace: first-light}}\n\
         spec: {{clusterIP: 10.96.77.1, selector: {selector}, ports: [{{name: http, port: 8080, appProtocol: http}}]}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n\
         metadata: {{name: echo-1, namespace: first-light, labels: {{kubernetes.io/service-name: echo}}}}\n\
         ports: [{{name: http, port: 8080}}]\nendpoints:\n",
        scene.subnet.ip(10)
    );
    for (number, ip) in (1..).zip(ips).filter(|(number, _)| behind.endpoints[number - 1]) {
        text += &format!(
            "- {{addresses: [{ip}], targetRef: {{kind: Pod, name: echo-v{number}, namespace: first-light}}}}\n"
        );
    }
    for ((number, ip), (there, account)) in (1..).zip(ips).zip(behind.pods.into_iter().zip(ACCOUNTS)) {
        let Some(has_address) = there else { continue };
        let address = if has_address { format!("{{ip: {ip}}}") } else { String::new() };
        text += &format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: echo-v{number}, namespace: first-light, \
             labels: {{app: echo, version: v{number}, security.istio.io/tlsMode: istio}}}}\n\
             spec: {{serviceAccountName: {account}, containers: [{{name: app, image: echo}}]}}\n\
             status: {{podIPs: [{address}]}}\n"
        );
    }
    text
}

/// How often a cluster has become another at the client.
async fn changes(scene: &Scene) -> Outcome<u64> {
    Ok(scene.client().stat("cluster_manager.cluster_modified").await?.unwrap_or_default())
}

/// Waits until the client demands one of these names of servers.
async fn accepts(scene: &Scene, accounts: &[&str]) -> Outcome<()> {
    let wanted: Vec<_> = accounts.iter().map(|account| format!("/ns/first-light/sa/{account}\"")).collect();
    deadline::until(&format!("{accounts:?} are accepted"), SOON, async || {
        let clusters = scene.client().dump("dynamic_active_clusters").await.ok()?;
        let cluster = clusters.iter().find(|entry| entry["cluster"]["name"] == CLUSTER)?.to_string();
        let named = cluster.matches("/ns/first-light/sa/").count();
        (wanted.iter().all(|name| cluster.contains(name)) && named == wanted.len()).then_some(())
    })
    .await
    .map_err(|failure| failure.with(&scene.chancery.tail()))
}

/// Waits until the client has those endpoints.
async fn has(scene: &Scene, endpoints: &[SocketAddr]) -> Outcome<()> {
    deadline::until(&format!("{endpoints:?} are there"), SOON, async || {
        let mut there = scene.client().endpoints(CLUSTER).await.ok()?;
        there.sort();
        (there == endpoints).then_some(())
    })
    .await
}

/// Requests until that version has answered often enough.
async fn serves(scene: &Scene, version: &str) -> Outcome<()> {
    deadline::until(&format!("{version} is served"), SOON, async || {
        let tally = scene.requests(4 * ENOUGH).run().await.ok()?;
        (tally.clean().is_ok() && tally.of(version) >= ENOUGH).then_some(())
    })
    .await
}

/// The second version takes over from the first; how often a cluster changed when the endpoints did.
async fn takes_over(scene: &mut Scene, setup: Setup, selects: bool) -> Outcome<u64> {
    let [first, second] = [2, 3].map(|host| scene.pod(host));
    let put = |scene: &Scene, pods, endpoints| {
        let text = manifests(scene, selects, &Behind { pods, endpoints });
        scene.folder.replace("workloads.yaml", &text)
    };
    put(scene, [Some(true), Some(false)], [true, false])?;
    if selects {
        accepts(scene, &ACCOUNTS).await?;
    }
    put(scene, [Some(true), Some(true)], [true, false])?;
    let envoy = scene.started_as("echo-v2", ACCOUNTS[1], setup).await?;
    scene.envoys.push(envoy);
    scene.settled().await?;
    let before = changes(scene).await?;
    put(scene, [Some(true), Some(true)], [true, true])?;
    has(scene, &[first, second]).await?;
    serves(scene, "v2").await?;
    put(scene, [Some(true), Some(true)], [false, true])?;
    has(scene, &[second]).await?;
    scene.settled().await?;
    Ok(changes(scene).await? - before)
}

/// No request and no handshake fails, and no cluster changes when endpoints do. The control: where the Service doesn't say who
/// is behind it, so that only its endpoints do, one does.
pub async fn a_new_service_account_is_accepted_before_its_first_endpoint(setup: Setup) -> Outcome<()> {
    for selects in [true, false].into_iter().take(if setup.release == Release::Newest { 2 } else { 1 }) {
        on(Scene::secured().await?, async |scene| under_load(scene, setup, selects).await).await?;
    }
    Ok(())
}

async fn under_load(scene: &mut Scene, setup: Setup, selects: bool) -> Outcome<()> {
    authenticated(scene, setup, "1h").await?;
    let alone = Behind { pods: [Some(true), None], endpoints: [true, false] };
    scene.envoys.truncate(2);
    scene.folder.replace(TRAFFIC, TIRED)?;
    scene.folder.replace("workloads.yaml", &manifests(scene, selects, &alone))?;
    has(scene, &[scene.pod(2)]).await?;
    accepts(scene, &ACCOUNTS[..1]).await?;
    scene.settled().await?;
    let load = Load { time: LONG, ..scene.traffic() }.start();
    let changed = takes_over(scene, setup, selects).await?;
    if (changed == 0) != selects {
        return Err(Failure::new(format!("{selects}: clusters changed {changed} times with their endpoints")));
    }
    if !selects {
        return Ok(());
    }
    let before = changes(scene).await?;
    let gone = Behind { pods: [None, Some(true)], endpoints: [false, true] };
    scene.folder.replace("workloads.yaml", &manifests(scene, selects, &gone))?;
    accepts(scene, &ACCOUNTS[1..]).await?;
    if changes(scene).await? == before {
        return Err(Failure::new("the control: nothing is counted"));
    }
    load.stopped().await?.clean()?;
    handshakes_were_good(scene).await
}

/// Many, of which none failed.
async fn handshakes_were_good(scene: &Scene) -> Outcome<()> {
    match good_handshakes(scene, CLUSTER).await? {
        0..20 => Err(Failure::new("the control: there were few handshakes")),
        _ => Ok(()),
    }
}
