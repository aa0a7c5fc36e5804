//! Where requests go: weights, headers, subsets, TCP.

use crate::harness::echo::VERSION;
use crate::harness::envoy::{Setup, Wire};
use crate::harness::manifests::reweighted;
use crate::harness::scene::{Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, split};
use crate::on;
use std::collections::BTreeSet;

/// The weights of the example are what an application sees.
pub async fn weights_split_requests(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        spoken(scene, setup).await?;
        let tally = scene.requests(1000).run().await?;
        tally.clean()?;
        split::check(&tally, &[("v1", 0.9), ("v2", 0.1)])
    })
    .await
}

/// Fails unless every Envoy is of the release and speaks the variant that the test is about.
async fn spoken(scene: &Scene, setup: Setup) -> Outcome<()> {
    let version = setup.release.version()?;
    let expected = match setup.wire {
        Wire::Delta => "delta",
        Wire::Sotw => "sotw",
    };
    let proxies = scene.chancery.api().proxies().await?;
    let fits = |agent: &str| version.as_ref().is_none_or(|version| agent.ends_with(&format!(" {version}")));
    let mut all = proxies.iter();
    if proxies.len() == scene.envoys.len() && all.all(|proxy| proxy.wire == expected && fits(&proxy.user_agent)) {
        return Ok(());
    }
    Err(Failure::new(format!("{expected} and {version:?} expected of every proxy: {proxies:#?}")))
}

/// The control of every test that expects no error: the application's own errors reach the client and are counted.
pub async fn an_error_of_the_application_is_seen(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        scene.echoes[1].fail(true);
        let tally = scene.requests(300).run().await?;
        let errors = tally.statuses.get(&503).copied().unwrap_or(0);
        if tally.clean().is_err() && errors > 0 && errors == tally.of("v2") {
            return Ok(());
        }
        Err(Failure::new(format!("v2 fails, and this was seen: {tally:?}")))
    })
    .await
}

/// Other weights are in effect once they are accepted, and no request fails meanwhile.
pub async fn an_edit_moves_the_split(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let original = scene.folder.read(TRAFFIC)?;
        let load = scene.traffic().start();
        for (weights, shares) in [([50, 50], [0.5, 0.5]), ([0, 100], [0.0, 1.0]), ([25, 75], [0.25, 0.75])] {
            let [first, second] = weights;
            scene.reroute(&reweighted(&original, &[("v1", first), ("v2", second)])).await?;
            let tally = scene.requests(600).run().await?;
            tally.clean()?;
            split::check(&tally, &[("v1", shares[0]), ("v2", shares[1])])?;
        }
        load.stopped().await?.clean()
    })
    .await
}

/// An expression that we accept is one that Envoy accepts: it compiles far larger than Envoy allows by default.
pub async fn a_large_expression_is_accepted(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let expression = "(tester|auditor|operator)-[a-z0-9-]{1,40}-[0-9a-f]{8}-[0-9a-f]{4}";
        let rules = scene.folder.read(TRAFFIC)?.replace("{exact: tester}", &format!("{{regex: \"{expression}\"}}"));
        scene.reroute(&rules).await?;
        let testers = scene.requests(100).header("x-user", "auditor-eu-1-01234567-89ab").run().await?;
        testers.clean()?;
        split::check(&testers, &[("v2", 1.0)])
    })
    .await
}

/// A header decides before the weights do; other values of it do not.
pub async fn a_header_chooses_the_subset(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let testers = scene.requests(200).header("x-user", "tester").run().await?;
        testers.clean()?;
        split::check(&testers, &[("v2", 1.0)])?;
        let others = scene.requests(600).header("x-user", "somebody").run().await?;
        others.clean()?;
        split::check(&others, &[("v1", 0.9), ("v2", 0.1)])?;
        let answer = scene.ask(&[("x-user", "tester")]).await?;
        let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let named = answer.headers.get(VERSION).is_some_and(|version| version == "v2");
        if named && body["host"] == "echo" { Ok(()) } else { Err(Failure::new(format!("the application saw {body}"))) }
    })
    .await
}

/// A plain TCP port carries bytes both ways, and both versions get connections.
pub async fn a_tcp_port_connects(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let mut seen = BTreeSet::new();
        for _ in 0..20 {
            seen.insert(scene.say("hello").await?);
        }
        let expected = ["v1: hello", "v2: hello"].map(str::to_owned);
        if seen == expected.into() { Ok(()) } else { Err(Failure::new(format!("the lines were {seen:?}"))) }
    })
    .await
}
