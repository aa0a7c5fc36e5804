//! A changed cluster must not stay warming: Envoy keeps the old one in service until it gets the endpoints again, and
//! does not ask for them by itself. The control shows that the test can fail: a relay holds the endpoints back.

use crate::harness::envoy::{Envoy, Setup};
use crate::harness::scene::{SOON, Scene, TRAFFIC};
use crate::harness::{Failure, Outcome, deadline};
use crate::on;
use chancery::snapshot::kind::Kind;
use std::time::{Duration, Instant};

/// The time a change may take to be in service.
const AT_ONCE: Duration = Duration::from_secs(2);
/// How long the control watches; well above [`AT_ONCE`], below Envoy's own way out after 15 s.
const STUCK: Duration = Duration::from_secs(4);

/// When Envoy gives up waiting for endpoints by itself, and how much earlier chancery has to have sent them.
const OWN_WAY_OUT: Duration = Duration::from_secs(15);
const MARGIN: Duration = Duration::from_secs(2);

/// The timeout in the example, and the edited ones, as in the manifest and as Envoy prints them.
const OLD: (&str, &str) = ("connectTimeout: 2s", "2s");
const NEW: (&str, &str) = ("connectTimeout: 3s", "3s");
const NEWEST: (&str, &str) = ("connectTimeout: 4s", "4s");

/// An edit of a cluster is in service at once, nothing is left warming, and no request fails.
pub async fn a_changed_cluster_is_active_at_once(setup: Setup) -> Outcome<()> {
    on(Scene::open(setup).await?, async |scene| {
        let load = scene.traffic().start();
        scene.folder.edit(TRAFFIC, OLD.0, NEW.0)?;
        for envoy in &scene.envoys {
            in_service(envoy, NEW.1).await?;
        }
        scene.settled().await?;
        load.stopped().await?.clean()
    })
    .await
}

/// The control: without the endpoints the same edit leaves the clusters warming and the old ones in service.
pub async fn without_endpoints_a_changed_cluster_stays_warming(setup: Setup) -> Outcome<()> {
    on(Scene::relayed(setup).await?, async |scene| {
        let relay = scene.relay.as_ref().ok_or_else(|| Failure::new("the scene has no relay"))?;
        relay.withhold(Kind::Endpoint);
        scene.folder.edit(TRAFFIC, OLD.0, NEW.0)?;
        let envoy = scene.client();
        deadline::until("the change arrives", SOON, async || (warming(envoy).await? > 0).then_some(())).await?;
        deadline::throughout("the clusters stay warming", STUCK, async || {
            warming(envoy).await.is_some_and(|count| count > 0)
                && timeouts(envoy).await.iter().all(|time| time == OLD.1)
        })
        .await?;
        if relay.swallowed() > 0 {
            Ok(())
        } else {
            Err(Failure::new("chancery sent no endpoints that could be held back"))
        }
    })
    .await
}

/// chancery dies after it has sent clusters and before their endpoints. Envoy, still warming, asks a new chancery for
/// endpoints and not for clusters, and states the versions of endpoints it holds from before; it must get them all the
/// same, well before its own way out. On that stream, where endpoints were asked for first, endpoints follow their clusters
/// as they do on any other.
pub async fn a_crash_between_clusters_and_endpoints_is_healed(setup: Setup) -> Outcome<()> {
    on(Scene::relayed(setup).await?, async |scene| {
        let relay = scene.relay.as_ref().ok_or_else(|| Failure::new("the scene has no relay"))?;
        relay.withhold(Kind::Endpoint);
        let began = Instant::now();
        scene.folder.edit(TRAFFIC, OLD.0, NEW.0)?;
        for envoy in &scene.envoys {
            deadline::until("clusters are warming", SOON, async || (warming(envoy).await? > 0).then_some(())).await?;
        }
        scene.chancery.kill()?;
        for envoy in &scene.envoys {
            let gone = async || (envoy.stat("control_plane.connected_state").await.ok()? == Some(0)).then_some(());
            deadline::until("Envoy has noticed", SOON, gone).await?;
        }
        relay.pass(Kind::Endpoint);
        let before = relay.first_asked().len();
        scene.chancery.restart().await?;
        for envoy in &scene.envoys {
            let left = (OWN_WAY_OUT - MARGIN).saturating_sub(began.elapsed());
            let healed = async || (warming(envoy).await? == 0).then_some(());
            deadline::until("the clusters leave warming", left, healed).await?;
            in_service(envoy, NEW.1).await?;
        }
        let relay = scene.relay.as_ref().ok_or_else(|| Failure::new("the scene has no relay"))?;
        let asked = relay.first_asked().split_off(before);
        if asked.iter().filter(|asked| **asked == Kind::Endpoint.type_url()).count() < scene.envoys.len() {
            return Err(Failure::new(format!("not every Envoy asked for endpoints first: {asked:?}")));
        }
        scene.settled().await?;
        scene.folder.edit(TRAFFIC, NEW.0, NEWEST.0)?;
        for envoy in &scene.envoys {
            in_service(envoy, NEWEST.1).await?;
        }
        scene.settled().await?;
        scene.requests(100).run().await?.clean()
    })
    .await
}

async fn in_service(envoy: &Envoy, timeout: &str) -> Outcome<()> {
    let what = format!("{}: clusters with a connect timeout of {timeout} in service, none warming", envoy.node);
    deadline::until(&what, AT_ONCE, async || {
        let times = timeouts(envoy).await;
        let all = !times.is_empty() && times.iter().all(|time| time == timeout);
        (all && warming(envoy).await? == 0).then_some(())
    })
    .await
}

/// How many clusters are warming.
async fn warming(envoy: &Envoy) -> Option<u64> {
    envoy.stat("cluster_manager.warming_clusters").await.ok()?
}

/// The connect timeouts of the service's clusters in service.
async fn timeouts(envoy: &Envoy) -> Vec<String> {
    let clusters = envoy.dump("dynamic_active_clusters").await.unwrap_or_default();
    let ours = clusters.iter().filter_map(|entry| entry.get("cluster")).filter(|cluster| {
        cluster["name"].as_str().is_some_and(|name| name.ends_with("|echo.first-light.svc.cluster.local"))
    });
    ours.filter_map(|cluster| Some(cluster.get("connect_timeout")?.as_str()?.to_owned())).collect()
}
