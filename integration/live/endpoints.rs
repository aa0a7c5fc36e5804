//! Endpoints that come, go and are not ready, under load.

use crate::harness::echo::Echo;
use crate::harness::envoy::Setup;
use crate::harness::manifests::reweighted;
use crate::harness::scene::{SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use std::net::SocketAddr;

/// The cluster of the first version.
const CLUSTER: &str = "outbound|8080|v1|echo.first-light.svc.cluster.local";
/// The last byte of the third pod's address.
const THIRD: u8 = 4;

/// A pod is added and taken away again while requests flow: it gets its share, and nobody sees an error.
pub async fn an_endpoint_comes_and_goes_without_an_error(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let third = Echo::start("third", scene.subnet.ip(THIRD), 8080, 9000).await?;
        let address = scene.pod(THIRD);
        let load = scene.traffic().start();
        scene.folder.replace("third.yaml", &manifest(address))?;
        listed(scene, address, true).await?;
        deadline::until("the new pod gets requests", SOON, async || (third.requests() >= 20).then_some(())).await?;
        scene.folder.remove("third.yaml")?;
        listed(scene, address, false).await?;
        third.close().await?;
        let after = scene.requests(200).run().await?;
        after.clean()?;
        load.stopped().await?.clean()?;
        if after.of("third") == 0 { Ok(()) } else { Err(Failure::new("the removed pod still gets requests")) }
    })
    .await
}

/// A pod that says it is not ready gets no request, although its address is known; ready again, it does.
pub async fn an_endpoint_that_is_not_ready_gets_nothing(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let third = Echo::start("third", scene.subnet.ip(THIRD), 8080, 9000).await?;
        let unready = manifest(scene.pod(THIRD)).replace("ready: true", "ready: false");
        scene.reroute(&reweighted(&scene.folder.read(TRAFFIC)?, &[("v1", 100), ("v2", 0)])).await?;
        scene.folder.replace("third.yaml", &unready)?;
        listed(scene, scene.pod(THIRD), true).await?;
        let tally = scene.requests(200).run().await?;
        tally.clean()?;
        if third.requests() > 0 {
            return Err(Failure::new(format!("a pod that is not ready got requests: {tally:?}")));
        }
        scene.folder.replace("third.yaml", &manifest(scene.pod(THIRD)))?;
        let asked = async || {
            scene.requests(20).run().await.ok()?;
            (third.requests() > 0).then_some(())
        };
        deadline::until("the pod that became ready gets requests", SOON, asked).await
    })
    .await
}

/// Waits until the client's Envoy lists, or no longer lists, an endpoint of the first version.
async fn listed(scene: &Scene, address: SocketAddr, there: bool) -> Outcome<()> {
    let what = if there { "the endpoint is listed" } else { "the endpoint is gone" };
    deadline::until(what, SOON, async || {
        let endpoints = scene.client().endpoints(CLUSTER).await.ok()?;
        (endpoints.contains(&address) == there).then_some(())
    })
    .await
}

/// A third pod of version v1, in a slice of its own. It has no proxy: its application listens on the pod's address.
fn manifest(address: SocketAddr) -> String {
    let ip = address.ip();
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: echo-v1-b, namespace: first-light, labels: {{app: echo, version: v1}}}}
spec: {{containers: [{{name: app, image: echo}}]}}
status: {{podIPs: [{{ip: {ip}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: echo-2, namespace: first-light, labels: {{kubernetes.io/service-name: echo}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}, {{name: tcp, port: 9000}}]
endpoints:
- addresses: [{ip}]
  conditions: {{ready: true}}
  targetRef: {{kind: Pod, name: echo-v1-b, namespace: first-light}}
"
    )
}
