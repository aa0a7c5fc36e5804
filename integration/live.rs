//! Live tests: the real binary against real Envoys, in both variants of the protocol, judged by what an application
//! sees. Each test has processes, manifests and addresses of its own, so they run side by side.

#[path = "live/endpoints.rs"]
mod endpoints;
mod harness;
#[path = "live/mistakes.rs"]
mod mistakes;
#[path = "live/restarts.rs"]
mod restarts;
#[path = "live/routing.rs"]
mod routing;
#[path = "live/tutorial.rs"]
mod tutorial;
#[path = "live/warming.rs"]
mod warming;

use harness::Outcome;
use harness::envoy::Wire;
use harness::scene::Scene;

/// One test for each variant of the protocol.
macro_rules! both {
    ($($module:ident::$name:ident),* $(,)?) => {
        mod delta {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> super::Outcome<()> {
                super::$module::$name(super::Wire::Delta).await
            })*
        }
        mod sotw {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> super::Outcome<()> {
                super::$module::$name(super::Wire::Sotw).await
            })*
        }
    };
}

both!(
    routing::weights_split_requests,
    routing::an_edit_moves_the_split,
    routing::a_header_chooses_the_subset,
    routing::a_large_expression_is_accepted,
    routing::a_tcp_port_connects,
    routing::an_error_of_the_application_is_seen,
    endpoints::an_endpoint_comes_and_goes_without_an_error,
    endpoints::an_endpoint_that_is_not_ready_gets_nothing,
    warming::a_changed_cluster_is_active_at_once,
    warming::without_endpoints_a_changed_cluster_stays_warming,
    mistakes::a_broken_manifest_changes_nothing_and_is_reported,
    restarts::a_crash_and_restart_are_not_noticed,
    restarts::a_polite_end_is_clean,
);

/// Runs a test on an open scene; a failure gets the logs that explain it.
async fn on(scene: Scene, test: impl AsyncFnOnce(&mut Scene) -> Outcome<()>) -> Outcome<()> {
    let mut scene = scene;
    let outcome = test(&mut scene).await;
    outcome.map_err(|failure| failure.with(&scene.chancery.tail()).with(&scene.client().tail()))
}
