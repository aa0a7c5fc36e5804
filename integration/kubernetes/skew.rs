//! An API server of another release, which serves less than this one knows: what it used to serve stays as it was, what it does not
//! serve is named, and what it still serves goes on. By the API server's own switches, as an upgrade that is taken back would do it.

use crate::harness::cluster::{ADMIN, Options, Part};
use crate::harness::{Outcome, deadline};
use crate::shared;
use crate::stage::{SOON, Stage, pod, slice};
use crate::told::says;
use std::time::Duration;

/// What an API server from before serves: neither these EndpointSlices nor these Events.
const OLDER: &str = "--runtime-config=discovery.k8s.io/v1=false,events.k8s.io/v1=false";
const NEWER: &str = "--runtime-config=discovery.k8s.io/v1=true,events.k8s.io/v1=true";
const SLICES: &str = "endpointslices.discovery.k8s.io";
/// How long what must not happen is waited for.
const WHILE: Duration = Duration::from_secs(3);

fn route(host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: route, namespace: skew}}\n\
         spec: {{hosts: [inside], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_api_server_does_not_serve_stays_as_it_was() -> Outcome<()> {
    let (mut cluster, _held) = shared::own(Options::default()).await?;
    let mut stage = Stage::set(&cluster, ADMIN, "skew").await?;
    stage.write_status(15);
    stage.record().await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;
    cluster.apply(&route("inside")).await?;
    says(&cluster, &stage, "virtualservice/route", ("ResolvedRefs", "True ResolvedRefs")).await?;
    cluster.apply(&pod("skew", "second")).await?;
    let load = stage.traffic(Duration::from_secs(180)).start();

    cluster.stop(Part::Apiserver)?;
    cluster.start_as(Part::Apiserver, OLDER)?;
    let answers = async || cluster.kubectl(&["get", "virtualservices", "-n", "skew"]).await.ok().map(drop);
    deadline::until("it answers", Duration::from_secs(90), answers).await?;
    let refused = cluster.apply(&slice("skew", "inside", &["10.9.0.25"])).await.expect_err("it is not served");
    // Who has asked before what there is has it from there, and is told by whom it asks.
    let words = ["no matches for kind", "could not find the requested resource"];
    assert!(words.iter().any(|words| refused.to_string().contains(words)), "{refused}");
    stage.is(SLICES, "missing").await?;
    stage.is("services", "watching").await?;
    assert!(stage.chancery.api().is_ready().await, "what is known is served");
    // Who comes now is given what was known; what is still served goes on, and conditions need no Events.
    let second = stage.another_envoy(&cluster, &stage.chancery, "second", 11).await?;
    assert_eq!(second.endpoints(&stage.cluster_of("inside")).await?.len(), 2);
    cluster.apply(&route("nobody")).await?;
    says(&cluster, &stage, "virtualservice/route", ("ResolvedRefs", "False NotFound")).await?;
    stage.has_endpoints("inside", &["10.9.0.20", "10.9.0.21"]).await?;

    // One that starts now can't do without.
    stage.chancery.kill()?;
    stage.chancery.launch()?;
    stage.is(SLICES, "missing").await?;
    let waits = async || {
        let told = stage.chancery.api().readiness().await.unwrap_or_default();
        told.contains(SLICES) && !stage.chancery.api().is_ready().await
    };
    deadline::until("it says what it waits for", SOON, async || waits().await.then_some(())).await?;
    deadline::throughout("it is not ready", WHILE, waits).await?;

    cluster.stop(Part::Apiserver)?;
    cluster.start_as(Part::Apiserver, NEWER)?;
    stage.chancery.ready(Duration::from_secs(60)).await?;
    cluster.apply(&slice("skew", "inside", &["10.9.0.25"])).await?;
    stage.has_endpoints("inside", &["10.9.0.25"]).await?;
    load.stopped().await?.clean()?;
    stage.has_lost_nothing(&cluster).await
}
