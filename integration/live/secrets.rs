//! Secrets of its namespace that a proxy connects with, to a server that takes nobody without one.

use crate::far::{Far, NAME};
use crate::harness::authority::Certificate;
use crate::harness::client::Client;
use crate::harness::envoy::Setup;
use crate::harness::load::Load;
use crate::harness::scene::{SOON, Scene};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use std::time::Duration;

/// What the server is called by the client.
const HOST: &str = "far";
/// The file with the Secret.
const SECRET: &str = "secret.yaml";
/// Longer than all steps take.
const LONG: Duration = Duration::from_secs(60);

/// The server as a Service, and the rule that lets the client connect to it with a Secret. Handshakes all the time.
pub fn manifests(far: &Far) -> String {
    let port = far.address.port();
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {HOST}, namespace: first-light}}
spec: {{ports: [{{name: http, port: 8080, targetPort: {port}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {HOST}-1, namespace: first-light, labels: {{kubernetes.io/service-name: {HOST}}}}}
addressType: IPv4
ports: [{{name: http, port: {port}, protocol: TCP}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {HOST}, namespace: first-light}}
spec:
  host: {HOST}
  workloadSelector: {{matchLabels: {{app: client}}}}
  trafficPolicy:
    connectionPool: {{http: {{maxRequestsPerConnection: 5}}}}
    tls: {{mode: MUTUAL, credentialName: far-client, sni: {NAME}, subjectAltNames: [{NAME}]}}
"
    )
}

/// A Secret with a certificate, which is proven by that key.
pub fn secret(far: &Far, chain: &str, key: &str) -> String {
    let block = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: far-client, namespace: first-light}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}  ca.crt: |
{}",
        block(chain),
        block(key),
        block(far.authorities())
    )
}

/// Asks once: the status, and whose certificate was shown.
async fn asked(scene: &Scene) -> Option<(u16, String)> {
    let answer = Client::default().get(scene.http(), "/", &[("host", HOST)]).await.ok()?;
    let shown = answer.headers.get(crate::harness::echo::VERSION).and_then(|value| value.to_str().ok());
    Some((answer.status.as_u16(), shown.unwrap_or_default().to_owned()))
}

pub async fn becomes(scene: &Scene, what: &str, status: u16, shown: &str) -> Outcome<()> {
    let is = async || (asked(scene).await? == (status, shown.to_owned())).then_some(());
    deadline::until(what, SOON, is).await.map_err(|failure| failure.with(&scene.chancery.tail()))
}

/// Waits until a problem of an object at a field says that.
async fn problem(scene: &Scene, object: &str, field: &str, text: &str) -> Outcome<()> {
    let api = scene.chancery.api();
    let said = async || {
        let problems = api.problems().await.ok()?;
        let found = problems.iter().any(|problem| {
            problem.object.as_deref() == Some(object) && problem.field == field && problem.text.contains(text)
        });
        found.then_some(())
    };
    deadline::until(&format!("{object}: {field}: {text}"), SOON, said).await
}

/// With the Secret the server is reached, its certificate is shown, and another one when the Secret changes, without a request
/// lost; a broken one changes nothing. The control: without the Secret, requests fail, and the rule is told why.
pub async fn a_secret_is_connected_with_and_changes_under_load(setup: Setup) -> Outcome<()> {
    on(Scene::secured().await?.with_envoys(setup, false).await?, async |scene| {
        let far = Far::start().await?;
        scene.folder.replace("far.yaml", &manifests(&far))?;
        becomes(scene, "without the Secret requests fail", 503, "").await?;
        let (rule, field) = ("DestinationRule first-light/far", "spec.trafficPolicy.tls.credentialName");
        problem(scene, rule, field, "no certificate with a key in Secret first-light/far-client is known").await?;

        let Certificate { chain, key } = far.client("first")?;
        scene.folder.replace(SECRET, &secret(&far, &chain, &key))?;
        becomes(scene, "the first certificate is shown", 200, "first").await?;
        let load = Load { time: LONG, ..Load::steady(scene.http(), HOST, LONG) }.start();
        let second = far.client("second")?;
        scene.folder.replace(SECRET, &secret(&far, &second.chain, &second.key))?;
        becomes(scene, "the second certificate is shown", 200, "second").await?;

        // A key that belongs to no part of it.
        scene.folder.replace(SECRET, &secret(&far, &second.chain, &key))?;
        let object = "Secret first-light/far-client";
        problem(scene, object, r#"stringData["tls.key"]"#, "is the key of another certificate").await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let tally = load.stopped().await?;
        tally.clean()?;
        if tally.of("first") == 0 || tally.of("second") < 50 {
            return Err(Failure::new(format!("the control: both were to be shown under load: {tally:?}")));
        }

        scene.folder.remove(SECRET)?;
        becomes(scene, "the Secret is gone and nobody gets through", 503, "").await?;
        problem(scene, rule, field, "no certificate with a key in Secret first-light/far-client is known").await?;
        scene.folder.replace(SECRET, &secret(&far, &second.chain, &second.key))?;
        becomes(scene, "it is there again", 200, "second").await?;
        scene.settled().await
    })
    .await
}
