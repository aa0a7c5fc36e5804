//! Live tests: the real binary against real Envoys, in both variants of the protocol, judged by what an application
//! sees. Each test has processes, manifests and addresses of its own, so they run side by side.

#[path = "live/accounts.rs"]
mod accounts;
#[path = "live/ages.rs"]
mod ages;
#[path = "live/clocks.rs"]
mod clocks;
#[path = "live/crowd.rs"]
mod crowd;
#[path = "live/dashboards.rs"]
mod dashboards;
#[path = "live/disks.rs"]
mod disks;
#[path = "live/endpoints.rs"]
mod endpoints;
#[path = "live/expiring.rs"]
mod expiring;
#[path = "live/families.rs"]
mod families;
#[path = "live/far.rs"]
mod far;
#[path = "live/faults.rs"]
mod faults;
#[path = "live/flips.rs"]
mod flips;
#[path = "live/floods.rs"]
mod floods;
#[path = "ads/raw.rs"]
mod frames;
#[path = "live/groups.rs"]
mod groups;
#[path = "live/handmade.rs"]
mod handmade;
#[path = "live/handshakes.rs"]
mod handshakes;
mod harness;
#[path = "live/hashing.rs"]
mod hashing;
#[path = "live/identity.rs"]
mod identity;
#[path = "live/limits.rs"]
mod limits;
#[path = "live/logging.rs"]
mod logging;
#[path = "live/memory.rs"]
mod memory;
#[path = "live/mistakes.rs"]
mod mistakes;
#[path = "live/names.rs"]
mod names;
#[path = "live/near.rs"]
mod near;
#[path = "docs/pages.rs"]
mod pages;
#[path = "live/panics.rs"]
mod panics;
#[path = "live/queries.rs"]
mod queries;
#[path = "live/readiness.rs"]
mod readiness;
#[path = "trace/recorder.rs"]
mod recorder;
#[path = "live/rejections.rs"]
mod rejections;
#[path = "live/replicas.rs"]
mod replicas;
#[path = "live/resources.rs"]
mod resources;
#[path = "live/restarts.rs"]
mod restarts;
#[path = "live/rolling.rs"]
mod rolling;
#[path = "live/roots.rs"]
mod roots;
#[path = "live/routing.rs"]
mod routing;
#[path = "live/secrets.rs"]
mod secrets;
#[path = "live/showing.rs"]
mod showing;
#[path = "live/spoiled.rs"]
mod spoiled;
mod trace;
#[path = "live/tutorial.rs"]
mod tutorial;
#[path = "live/waiting.rs"]
mod waiting;
#[path = "live/warming.rs"]
mod warming;
#[path = "live/watched.rs"]
mod watched;

use harness::Outcome;
use harness::scene::Scene;

/// One test for each variant of the protocol.
macro_rules! wires {
    ($release:ident: $($module:ident::$name:ident),*) => {
        wires!(delta, Delta, $release: $($module::$name),*);
        wires!(sotw, Sotw, $release: $($module::$name),*);
    };
    ($folder:ident, $wire:ident, $release:ident: $($module:ident::$name:ident),*) => {
        mod $folder {
            use crate::harness::{Outcome, envoy::{Setup, Wire}, tools::Release};
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> Outcome<()> {
                crate::$module::$name(Setup::new(Wire::$wire, Release::$release)).await
            })*
        }
    };
}

/// The first list is for every release, the second for the newest only.
macro_rules! releases {
    (every: $($module:ident::$name:ident),*; newest: $($slow:ident::$case:ident),* $(;)?) => {
        mod newest {
            wires!(Newest: $($module::$name,)* $($slow::$case),*);
        }
        mod oldest {
            wires!(Oldest: $($module::$name),*);
        }
    };
}

releases!(
    every:
        routing::weights_split_requests,
        routing::an_edit_moves_the_split,
        routing::a_header_chooses_the_subset,
        routing::a_tcp_port_connects,
        endpoints::an_endpoint_comes_and_goes_without_an_error,
        endpoints::an_endpoint_that_is_not_ready_gets_nothing,
        warming::a_changed_cluster_is_active_at_once,
        warming::a_crash_between_clusters_and_endpoints_is_healed,
        rejections::a_bad_cluster_holds_back_no_other,
        rejections::one_bad_endpoint_holds_back_no_other,
        rejections::a_changed_cluster_keeps_its_endpoints,
        rejections::a_bad_cluster_keeps_none_that_goes,
        rejections::a_bad_secret_holds_back_nothing,
        rejections::a_bad_table_of_routes_holds_back_no_other,
        rejections::a_bad_host_holds_back_no_other_of_its_table,
        waiting::a_secret_follows_its_cluster,
        waiting::without_its_secret_nothing_is_sent,
        waiting::a_cluster_that_never_warms_holds_nothing_back,
        waiting::what_is_left_warming_is_found,
        waiting::a_listener_moves_without_a_gap,
        waiting::a_listener_without_its_routes_is_not_live,
        restarts::a_crash_and_restart_are_not_noticed,
        ages::a_connection_that_is_too_old_changes_nothing,
        readiness::a_proxy_is_ready_when_its_first_listeners_are,
        identity::a_token_on_disk_is_read_by_the_next_stream,
        identity::certificates_are_renewed_under_load,
        accounts::a_new_service_account_is_accepted_before_its_first_endpoint,
        roots::a_root_takes_over_under_load,
        secrets::a_secret_is_connected_with_and_changes_under_load,
        hashing::hashing_by_header_sticks_on_a_ring,
        hashing::ring_hashing_follows_endpoints;
    newest:
        flips::moving_routes_lose_nothing,
        flips::moving_listeners_lose_nothing,
        faults::a_storm_of_changes_is_gathered,
        faults::a_frozen_envoy_is_let_go_and_comes_back,
        faults::without_descriptors_connections_wait,
        routing::an_error_of_the_application_is_seen,
        identity::plain_text_is_not_understood,
        identity::no_key_is_shown,
        near::requests_stay_on_the_node,
        limits::without_limits_no_breaker_opens,
        limits::without_the_rule_nothing_is_ejected,
        readiness::connections_end_with_an_answer,
        warming::without_endpoints_a_changed_cluster_stays_warming,
        logging::without_settings_nothing_is_logged,
        logging::bad_settings_break_no_listener_and_are_reported,
        logging::settings_may_be_elsewhere,
        names::another_name_leads_to_the_service,
        mistakes::a_broken_manifest_changes_nothing_and_is_reported,
        restarts::a_polite_end_is_clean,
        rolling::an_upgrade_and_the_way_back_change_nothing,
        rolling::who_is_led_to_and_fro_has_everything_in_the_end,
        restarts::equal_manifests_send_nothing,
        families::a_pod_gains_and_loses_its_other_address,
        hashing::without_hashing_nothing_sticks,
        hashing::hashing_by_header_sticks_in_a_table,
        hashing::hashing_by_query_parameter_sticks,
        hashing::hashing_by_address_sticks,
        hashing::a_ring_that_is_not_rebuilt_is_found,
        hashing::hashing_by_cookie_sticks;
);

/// What takes long, or what proxies are told whichever way: once for each release, the variants shared out between them.
macro_rules! shared_out {
    ($($module:ident::$name:ident),* $(,)?) => {
        mod shared_out {
            mod newest {
                wires!(delta, Delta, Newest: $($module::$name),*);
            }
            mod oldest {
                wires!(sotw, Sotw, Oldest: $($module::$name),*);
            }
        }
    };
}

shared_out!(
    spoiled::a_broken_authority_is_told_of_and_not_used,
    showing::without_its_certificate_a_listener_tells_nothing,
    restarts::a_crowd_comes_back_after_a_crash,
    expiring::a_server_certificate_that_ends_harms_nobody_who_is_there,
    clocks::a_clock_that_is_set_harms_nobody,
    clocks::proxies_that_are_early_or_late_are_served,
    routing::a_large_expression_is_accepted,
    mistakes::a_large_rule_holds_nobody_up,
    near::requests_stay_in_the_zone,
    families::a_pod_of_both_families_has_one_share,
    families::a_pod_is_reached_by_its_other_address,
    names::a_name_outside_is_looked_up,
    names::a_silent_dns_holds_nothing_up,
    limits::a_breaker_opens_and_closes,
    limits::an_endpoint_that_fails_is_ejected_and_returns,
    logging::requests_and_connections_are_logged,
    logging::requests_are_logged_as_objects,
);

/// The names and labels of statistics are the release's, so each is asked once, the variants shared out between them.
mod asked {
    use crate::dashboards::what_is_installed_is_answered as answered;
    use crate::handshakes::the_queries_of_mutual_tls_are_right as tried;
    use crate::harness::envoy::{Setup, Wire};
    use crate::harness::{Outcome, tools::Release};
    use crate::queries::the_queries_of_the_documents_are_right as right;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_queries_of_the_documents_are_right_newest() -> Outcome<()> {
        right(Setup::new(Wire::Delta, Release::Newest)).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_queries_of_the_documents_are_right_oldest() -> Outcome<()> {
        right(Setup::new(Wire::Sotw, Release::Oldest)).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_queries_of_mutual_tls_are_right_newest() -> Outcome<()> {
        tried(Setup::new(Wire::Sotw, Release::Newest)).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_queries_of_mutual_tls_are_right_oldest() -> Outcome<()> {
        tried(Setup::new(Wire::Delta, Release::Oldest)).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn alerts_and_dashboards_are_answered_newest() -> Outcome<()> {
        answered(Setup::new(Wire::Delta, Release::Newest)).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn alerts_and_dashboards_are_answered_oldest() -> Outcome<()> {
        answered(Setup::new(Wire::Sotw, Release::Oldest)).await
    }
}

/// Runs a test on an open scene; a failure gets the logs that explain it.
async fn on(scene: Scene, test: impl AsyncFnOnce(&mut Scene) -> Outcome<()>) -> Outcome<()> {
    let mut scene = scene;
    let outcome = test(&mut scene).await;
    outcome.map_err(|failure| failure.with(&scene.chancery.tail()).with(&scene.client().tail()))
}
