//! Endpoints chosen by where the client is: its zone, its Node, and what happens when nothing near is healthy.

use crate::harness::echo::Echo;
use crate::harness::envoy::Setup;
use crate::harness::load::{Load, Tally};
use crate::harness::scene::{SOON, Scene};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;

const FILE: &str = "near.yaml";
const WORKLOADS: &str = "workloads.yaml";
/// The last bytes of the addresses of the application here, and of that in another zone.
const HERE: u8 = 4;
const THERE: u8 = 5;

/// What the file says.
#[derive(Clone, Copy)]
struct Said {
    /// A field of the Service.
    policy: &'static str,
    /// Whether the endpoint here is ready.
    ready: bool,
}

/// Requests go to the client's zone as long as there is anybody, then to the next; and follow the client to another Node.
pub async fn requests_stay_in_the_zone(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let here = Echo::start("here", scene.subnet.ip(HERE), 8080, 9000).await?;
        let there = Echo::start("there", scene.subnet.ip(THERE), 8080, 9000).await?;
        on_node(scene, "spec:", "spec:\n  nodeName: n1")?;
        // The control: nothing is preferred, and both are used.
        write(scene, Said { policy: "type: ClusterIP", ready: true })?;
        until(scene, "both are used", |tally| tally.of("here") > 20 && tally.of("there") > 20).await?;
        let zone = Said { policy: "trafficDistribution: PreferSameZone", ready: true };
        write(scene, zone)?;
        until(scene, "all stay here", only("here")).await?;
        write(scene, Said { ready: false, ..zone })?;
        until(scene, "all go there", only("there")).await?;
        write(scene, zone)?;
        until(scene, "all are back", only("here")).await?;
        on_node(scene, "nodeName: n1", "nodeName: n2")?;
        until(scene, "all are where the client is", only("there")).await?;
        here.close().await?;
        there.close().await
    })
    .await
}

/// With a policy of the Node there is nobody else: without an endpoint on it, requests fail.
pub async fn requests_stay_on_the_node(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let here = Echo::start("here", scene.subnet.ip(HERE), 8080, 9000).await?;
        let there = Echo::start("there", scene.subnet.ip(THERE), 8080, 9000).await?;
        on_node(scene, "spec:", "spec:\n  nodeName: n1")?;
        let node = Said { policy: "internalTrafficPolicy: Local", ready: true };
        write(scene, node)?;
        until(scene, "all stay here", only("here")).await?;
        write(scene, Said { ready: false, ..node })?;
        until(scene, "none is answered", |tally| tally.of("here") + tally.of("there") == 0).await?;
        here.close().await?;
        there.close().await
    })
    .await
}

fn only(name: &'static str) -> impl Fn(&Tally) -> bool {
    move |tally| tally.clean().is_ok() && tally.of(name) == 100
}

/// Asks a hundred times until what is found is as wished.
async fn until(scene: &Scene, what: &str, wish: impl Fn(&Tally) -> bool) -> Outcome<()> {
    let mut found = None;
    let asked = deadline::until(what, SOON, async || {
        found = Load::closed(scene.http(), "near", 100).run().await.ok();
        found.as_ref().is_some_and(&wish).then_some(())
    });
    let asked = asked.await;
    asked.map_err(|failure: Failure| failure.with(&format!("{found:?}")))
}

/// Replaces what the client's Pod says of its Node.
fn on_node(scene: &Scene, from: &str, to: &str) -> Outcome<()> {
    let rest = "\n  containers: [{name: app, image: client}]";
    scene.folder.edit(WORKLOADS, &format!("{from}{rest}"), &format!("{to}{rest}"))
}

fn write(scene: &Scene, Said { policy, ready }: Said) -> Outcome<()> {
    let [here, there] = [HERE, THERE].map(|host| scene.subnet.ip(host));
    let node = |name: &str, zone: &str| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{topology.kubernetes.io/zone: {zone}}}}}\n---\n"
        )
    };
    let text = format!(
        "{}{}apiVersion: v1
kind: Service
metadata: {{name: near, namespace: first-light}}
spec:
  clusterIP: 10.96.77.9
  {policy}
  ports: [{{name: http, port: 8080}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: near-1, namespace: first-light, labels: {{kubernetes.io/service-name: near}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints:
- {{addresses: [{here}], nodeName: n1, conditions: {{ready: {ready}}}}}
- {{addresses: [{there}], nodeName: n2}}
",
        node("n1", "a"),
        node("n2", "b")
    );
    scene.folder.replace(FILE, &text)
}
