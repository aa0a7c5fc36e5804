//! Translation: what the World means for a subject, as Envoy resources. Pure: no clock, no I/O, no randomness.
//!
//! Two steps. [`select`] reads the World through recorded look-ups and returns comparable [`Inputs`]; [`build`] turns
//! inputs into encoded resources and sees nothing else, so equal inputs may share one result.

mod alias;
mod balance;
pub mod check;
mod cluster;
mod destination;
mod dns;
mod domains;
mod endpoint;
mod filter;
mod fixed;
mod headless;
mod inbound;
mod listener;
mod names;
mod near;
mod peers;
mod proto;
mod route;
mod route_match;
mod route_table;
pub mod secret;
mod secure;
mod settings;
mod speech;
mod tls;
pub mod unit;
mod visible;

use crate::model::audience::Subject;
use crate::model::near::Near;
use crate::model::provenance::Provenance;
use crate::model::tracked::Tracked;
use crate::model::view::View;
use crate::snapshot::fragments::Fragments;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::Resource;
use std::sync::Arc;
use unit::{Built, Inputs, Selection, Table, Unit};

/// Selects what `unit` of `subject` is built from.
pub fn select(world: &Tracked, subject: &Subject, unit: &Unit) -> Selection {
    match (subject, unit) {
        (Subject::Audience(audience), _) => {
            let view = View::new(audience);
            let selection = outbound(world, &view, unit);
            Selection { asked: view.into_asked(), ..selection }
        }
        (Subject::Workload(workload), Unit::Roots) => {
            let near = workload.near.iter().flat_map(|near| near::units(world, near));
            let secrets = workload.grants.iter().cloned().map(Unit::Secrets);
            Selection::of_children([Unit::Inbound].into_iter().chain(near).chain(secrets))
        }
        (Subject::Workload(workload), Unit::Endpoints(service)) => {
            let near = workload.near.as_ref();
            let select =
                |near: &Arc<Near>| endpoint::select(world, &View::new(&near.audience), service, Some(&near.here));
            near.map(select).unwrap_or_default()
        }
        (Subject::Workload(_), Unit::Secrets(grant)) => secret::select(world, grant),
        (Subject::Workload(workload), _) => inbound::select(world, workload),
    }
}

fn outbound_roots(world: &Tracked, view: &View) -> Selection {
    let per_service =
        visible::needed(world, view).into_iter().flat_map(|key| [Unit::Clusters(key.clone()), Unit::Endpoints(key)]);
    let shown = |port: &u16| view.outlook().on(*port).is_some();
    let per_port = world.ports().into_iter().filter(shown).map(Unit::Port);
    Selection::of_children([Unit::Fixed].into_iter().chain(per_port).chain(per_service))
}

fn outbound(world: &Tracked, view: &View, unit: &Unit) -> Selection {
    match unit {
        Unit::Roots => outbound_roots(world, view),
        Unit::Inbound | Unit::Secrets(_) => Selection::default(),
        Unit::Fixed => fixed::select(world, view),
        Unit::Port(port) => listener::select(world, view, *port),
        Unit::RouteTable(table) => route_table::select(world, view, table),
        Unit::VirtualHost(host) => route::select(world, view, host),
        Unit::CatchAll(table) => Selection::of_inputs([Inputs::CatchAll(view.unknown_on(table.port))]),
        Unit::Clusters(service) => cluster::select(world, view, service),
        Unit::Endpoints(service) => endpoint::select(world, view, service, None),
    }
}

/// Builds and encodes what `inputs` describe.
pub fn build(inputs: &Inputs) -> Built {
    let resource = match inputs {
        Inputs::BlackHole => cluster::black_hole(),
        Inputs::Cluster(inputs) => cluster::build(inputs),
        Inputs::Endpoints(inputs) => endpoint::build(inputs),
        Inputs::Passthrough(name) => fixed::passthrough(name),
        Inputs::VirtualOutbound(inputs) => fixed::virtual_outbound(inputs),
        Inputs::Listener(inputs) => listener::build(inputs),
        Inputs::InboundCluster(inputs) => inbound::cluster(inputs),
        Inputs::InboundListener(inputs) => inbound::listener(inputs),
        Inputs::VirtualInbound(inputs) => inbound::captured::listener(inputs),
        Inputs::Pair(name, secret) => secret::pair(name, secret),
        Inputs::Authorities(name, secret) => secret::authorities(name, secret),
        Inputs::VirtualHost(inputs) => return Built::Fragment(Arc::new(route::build(inputs))),
        Inputs::CatchAll(unknown) => return Built::Fragment(Arc::new(route::catch_all(*unknown))),
    };
    Built::Resource(Arc::new(resource))
}

/// Assembles a route configuration from its virtual hosts.
pub fn assemble(table: &Table, fragments: Fragments) -> Resource {
    let name = table.name();
    Resource::of_fragments(Kind::Route, &name, &route_table::head(&name), fragments, Provenance::default())
}
