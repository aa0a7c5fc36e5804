//! The alerts and dashboards that are installed, put to a real Prometheus that scrapes chancery while it follows a cluster and
//! writes status.

use crate::harness::cluster::{ADMIN, Options};
use crate::harness::monitoring::{answered, expressions};
use crate::harness::prometheus::{Prometheus, Target};
use crate::harness::{Failure, Outcome};
use crate::shared;
use crate::stage::Stage;
use crate::told::says;
use std::path::Path;

/// What is counted from its first event on, and happens to nobody here.
const RARE: [&str; 3] =
    ["chancery_kubernetes_relists_total", "chancery_xds_large_messages_total", "chancery_xds_refusals_total"];

/// What is scraped where proxies prove who they are: there the same is asked.
const ELSEWHERE: [&str; 2] = ["envoy_", "chancery_ca_"];

/// A rule that the API server takes, and Envoy would not.
const BROKEN: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad, namespace: watched}
spec: {hosts: [other], http: [{match: [{uri: {regex: 'a**'}}], route: [{destination: {host: inside}}]}]}
";

#[tokio::test]
async fn what_is_installed_is_answered_of_a_cluster() -> Outcome<()> {
    // Without the kinds of the Gateway API, whose absence is counted.
    let (cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "watched").await?;
    stage.write_status(3);
    stage.chancery.restart().await?;
    cluster.apply(BROKEN).await?;
    says(&cluster, &stage, "virtualservice/bad", ("Accepted", "False Invalid")).await?;
    stage.connect().await?;
    stage.envoy = None;
    let target = Target { address: stage.chancery.admin, path: "/metrics", pod: "chancery".into() };
    let files = tempfile::tempdir()?;
    let prometheus = Prometheus::start(stage.spare()?, &[target], Path::new(files.path())).await?;
    let unknown = answered(&prometheus, &expressions()?).await;
    let unknown = unknown.map_err(|failure| failure.with(&prometheus.tail()).with(&stage.chancery.tail()))?;
    let elsewhere = |name: &str| ELSEWHERE.iter().any(|prefix| name.starts_with(prefix));
    let strange = unknown.iter().find(|name| !elsewhere(name) && !RARE.contains(&&***name));
    match strange {
        Some(name) => Err(Failure::new(format!("{name} is not scraped: {unknown:?}"))),
        None => Ok(()),
    }
}
