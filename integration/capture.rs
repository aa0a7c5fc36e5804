//! Transparent capture, live: real sidecars in network namespaces, iptables in front of them, judged by what
//! applications see. Each test has a network, processes and manifests of its own.

#[path = "capture/bare.rs"]
mod bare;
mod harness;
#[path = "capture/headless.rs"]
mod headless;
#[path = "capture/how_to.rs"]
mod how_to;
#[path = "capture/inbound.rs"]
mod inbound;
#[path = "capture/links.rs"]
mod links;
#[path = "capture/logging.rs"]
mod logging;
#[path = "capture/mutual.rs"]
mod mutual;
#[path = "capture/odd.rs"]
mod odd;
#[path = "capture/outbound.rs"]
mod outbound;
#[path = "capture/passthrough.rs"]
mod passthrough;
#[path = "capture/sidecars.rs"]
mod sidecars;
#[path = "capture/speaker.rs"]
mod speaker;
#[path = "capture/stage.rs"]
mod stage;

/// Tests for one variant of the protocol and one release.
macro_rules! tests {
    ($folder:ident, $wire:ident, $release:ident: $($module:ident::$name:ident),*) => {
        mod $folder {
            use crate::harness::{Outcome, envoy::{Setup, Wire}, tools::Release};
            use crate::stage::on_stage;
            $(#[test]
            fn $name() -> Outcome<()> {
                on_stage(Setup::new(Wire::$wire, Release::$release), crate::$module::$name)
            })*
        }
    };
}

/// The first list is for every release, incrementally; the second is for the newest in the other variant as well.
macro_rules! releases {
    (every: $($module:ident::$name:ident),*; sotw: $($again:ident::$case:ident),* $(;)?) => {
        tests!(newest, Delta, Newest: $($module::$name),*);
        tests!(oldest, Delta, Oldest: $($module::$name),*);
        tests!(sotw, Sotw, Newest: $($again::$case),*);
    };
}

releases!(
    every:
        outbound::http_by_address_and_host,
        outbound::tcp_by_address,
        outbound::a_port_that_says_nothing,
        outbound::a_server_speaks_first,
        outbound::a_server_speaks_first_unannounced,
        outbound::a_pod_calls_itself,
        outbound::ipv6,
        outbound::an_address_goes_and_the_other_stays,
        outbound::what_nobody_knows_is_allowed,
        outbound::what_nobody_knows_is_refused,
        inbound::ports_of_every_sort,
        inbound::the_ports_of_the_capture_refuse,
        inbound::ports_change_apart,
        inbound::the_ports_of_the_capture_change_places_in_turn,
        logging::captured_traffic_is_logged,
        headless::who_is_picked_answers,
        headless::pods_come_and_go_apart,
        inbound::a_change_of_the_listener_ends_all,
        sidecars::ports_are_where_a_sidecar_says,
        sidecars::an_application_is_where_a_sidecar_says,
        odd::what_is_odd_is_accepted,
        odd::what_is_refused_is_seen,
        sidecars::what_arrives_is_limited,
        passthrough::a_request_goes_where_it_was_sent;
    sotw:
        outbound::http_by_address_and_host,
        outbound::an_address_goes_and_the_other_stays,
        outbound::a_port_that_says_nothing,
        inbound::ports_of_every_sort,
        inbound::ports_change_apart;
);

#[test]
fn a_link_that_swallows_everything_is_noticed() -> harness::Outcome<()> {
    use harness::{envoy::Setup, envoy::Wire, tools::Release};
    stage::on_stage(Setup::new(Wire::Delta, Release::Newest), links::a_link_that_swallows_everything_is_noticed)
}

/// Where proxies have proven who they are.
mod secure {
    use crate::harness::envoy::{Setup, Wire};
    use crate::harness::{Outcome, tools::Release};
    use crate::mutual::test;

    #[test]
    fn captured_ports_take_mutual_tls_newest() -> Outcome<()> {
        test(Setup::new(Wire::Sotw, Release::Newest))
    }

    #[test]
    fn captured_ports_take_mutual_tls_oldest() -> Outcome<()> {
        test(Setup::new(Wire::Delta, Release::Oldest))
    }
}
