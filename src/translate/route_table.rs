//! Route configurations: which virtual hosts a port has.

use super::listener;
use super::proto::bool_value;
use super::unit::{HostUnit, Selection, Table, Unit};
use crate::model::tracked::Tracked;
use crate::model::view::View;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;

/// Selects the virtual hosts: those of the services on a port, and the catch-all; or the one the address decided for.
/// Whether a service is exported is left to each virtual host.
pub fn select(world: &Tracked, view: &View, table: &Table) -> Selection {
    let host = |service| Unit::VirtualHost(HostUnit { table: table.clone(), service });
    if let Some(service) = &table.service {
        return Selection::of_children([host(service.clone())]);
    }
    let services = listener::speaking_http(world, view, table.port);
    Selection::of_children(services.into_iter().map(host).chain([Unit::CatchAll(table.clone())]))
}

/// A route configuration without its virtual hosts.
pub fn head(name: &str) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        // A route may name a cluster the proxy does not hold yet; refusing the whole for that would be worse.
        validate_clusters: Some(bool_value(false)),
        ignore_port_in_host_matching: true,
        ..Default::default()
    }
}
