//! Pods of both families of addresses: each has one share of the requests, and is reached while either address works.

use crate::harness::echo::Echo;
use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::scene::Scene;
use crate::harness::{Failure, Outcome, addresses};
use crate::on;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// The service under test, on a port of its own, and how many requests it gets.
const HOST: &str = "pair";
const PORT: u16 = 8090;
const COUNT: u64 = 60;
/// The last bytes of the pods' addresses, and of two where nobody listens.
const BOTH: u8 = 4;
const ONE: u8 = 5;
const NOBODY: [u8; 2] = [6, 7];
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A pod of both families gets as many requests as a pod of one; the control is that the same addresses, not said to be
/// of one pod, get twice as many.
pub async fn a_pod_of_both_families_has_one_share(setup: Setup) -> Outcome<()> {
    on(Scene::prepared().await?.of_both_families()?.with_envoys(setup, false).await?, async |scene| {
        let port = addresses::free(V6)?.port();
        let (four, one) = (scene.subnet.ip(BOTH), scene.subnet.ip(ONE));
        let _both = [Echo::start("both", four, port, 0).await?, Echo::start("both", V6, port, 0).await?];
        let _one = Echo::start("one", one, port, 0).await?;
        let pods = [("both", four), ("both", V6), ("one", one)];
        shared(scene, &manifest(&pods, port), COUNT / 2).await?;
        let strangers = manifest(&pods, port).replace("targetRef: {kind: Pod", "targetRef: {kind: Other");
        shared(scene, &strangers, COUNT * 2 / 3).await
    })
    .await
}

/// A pod whose first address leads nowhere is reached by the other; the control is a pod without another.
pub async fn a_pod_is_reached_by_its_other_address(setup: Setup) -> Outcome<()> {
    on(Scene::prepared().await?.of_both_families()?.with_envoys(setup, false).await?, async |scene| {
        let port = addresses::free(V6)?.port();
        let _six = Echo::start("both", V6, port, 0).await?;
        let [nobody, other] = NOBODY.map(|host| ("both", scene.subnet.ip(host)));
        published(scene, &manifest(&[other], port)).await?;
        unanswered(scene).await?;
        published(scene, &manifest(&[nobody, ("both", V6)], port)).await?;
        load(scene).run().await?.clean()
    })
    .await
}

/// An endpoint whose first address stays gains its other address and loses it again.
pub async fn a_pod_gains_and_loses_its_other_address(setup: Setup) -> Outcome<()> {
    on(Scene::prepared().await?.of_both_families()?.with_envoys(setup, false).await?, async |scene| {
        let port = addresses::free(V6)?.port();
        let _six = Echo::start("both", V6, port, 0).await?;
        let nobody = ("both", scene.subnet.ip(NOBODY[0]));
        published(scene, &manifest(&[nobody], port)).await?;
        unanswered(scene).await?;
        published(scene, &manifest(&[nobody, ("both", V6)], port)).await?;
        load(scene).run().await?.clean()?;
        published(scene, &manifest(&[nobody], port)).await?;
        unanswered(scene).await
    })
    .await
}

async fn unanswered(scene: &Scene) -> Outcome<()> {
    let tally = load(scene).run().await?;
    let none = tally.statuses == [(503, COUNT)].into();
    if none { Ok(()) } else { Err(Failure::new(format!("without the other address: {tally:?}"))) }
}

/// Fails unless the pod of both families answers about as many requests as expected.
async fn shared(scene: &Scene, manifest: &str, expected: u64) -> Outcome<()> {
    published(scene, manifest).await?;
    let tally = load(scene).run().await?;
    tally.clean()?;
    let seen = tally.of("both");
    // Taken in turn, by one thread of Envoy.
    if seen.abs_diff(expected) <= 2 { Ok(()) } else { Err(Failure::new(format!("{expected} expected: {tally:?}"))) }
}

fn load(scene: &Scene) -> Load {
    Load::closed(scene.outbound(PORT), HOST, COUNT)
}

/// Writes the manifest, and waits until the client's Envoy has accepted it all.
async fn published(scene: &Scene, manifest: &str) -> Outcome<()> {
    let api = scene.chancery.api();
    let mut before = api.accepted("eds").await?;
    before.retain(|node, _| *node == scene.client().node);
    scene.folder.replace("pair.yaml", manifest)?;
    api.moved("eds", &before, Duration::from_secs(5)).await?;
    scene.settled().await
}

/// The service, taken in turn, and a slice for each address.
fn manifest(pods: &[(&str, IpAddr)], port: u16) -> String {
    let service = format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {HOST}, namespace: first-light}}
spec: {{clusterIP: None, ipFamilies: [IPv4, IPv6], ports: [{{name: http, port: {PORT}}}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {HOST}, namespace: first-light}}
spec: {{host: {HOST}, trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}}}}}
"
    );
    let slices = pods.iter().map(|(pod, ip)| slice(pod, SocketAddr::new(*ip, port)));
    slices.fold(service, |all, slice| all + &slice)
}

fn slice(pod: &str, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    format!(
        "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {HOST}-{pod}-{}, namespace: first-light, labels: {{kubernetes.io/service-name: {HOST}}}}}
addressType: {family}
ports: [{{name: http, port: {port}}}]
endpoints: [{{addresses: [\"{ip}\"], targetRef: {{kind: Pod, name: {pod}}}}}]
",
        family.to_lowercase()
    )
}
