//! VirtualServices: hosts, and rules for requests.

mod conditions;

use super::notes::Notes;
use super::{exports, policy, syntax};
use crate::model::name::{Host, Namespace};
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::route::{Destination, HttpRoute, VirtualService, WeightedDestination};
use crate::source::yaml::marks;
use conditions::MatchSpec;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Number, Value};
use std::time::Duration;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    hosts: Vec<String>,
    gateways: Vec<String>,
    http: Vec<RouteSpec>,
    export_to: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RouteSpec {
    name: String,
    #[serde(rename = "match")]
    matches: Vec<MatchSpec>,
    route: Vec<WeightedSpec>,
    timeout: Option<String>,
    // What can stand instead of a route; the field table refuses all three.
    redirect: Option<IgnoredAny>,
    direct_response: Option<IgnoredAny>,
    delegate: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WeightedSpec {
    destination: DestinationSpec,
    weight: Option<Number>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DestinationSpec {
    host: String,
    subset: Option<String>,
    port: Option<PortSpec>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PortSpec {
    number: Option<i64>,
}

/// The word in `gateways` that stands for all sidecars.
const MESH: &str = "mesh";

/// What is said of a timeout of 0s, which only a folder can hold.
const ENDLESS: &str = "0s is without end, as without the field; an API server with Istio's definitions refuses it";

/// The share of a single destination, whatever it says: it gets every request.
const WHOLE: u32 = 100;

/// Parses a VirtualService. One for gateways only is fine and nothing to us.
pub fn parse(value: &Value, key: &ObjectKey, notes: &mut Notes) -> Option<VirtualService> {
    let spec: Spec = policy::spec(value, ObjectKind::VirtualService, notes)?;
    let hosts = hosts(&spec.hosts, &key.namespace, notes);
    let routes = spec.http.into_iter().enumerate();
    let http: Vec<_> =
        routes.map(|(at, route)| route.parse(&marks::index("spec.http", at), &key.namespace, notes)).collect();
    if http.is_empty() && value.pointer("/spec/tcp").is_none() && value.pointer("/spec/tls").is_none() {
        notes.error("spec.http", "a VirtualService needs at least one rule");
    }
    let exports = notes.check("spec.exportTo", exports::parse(&spec.export_to));
    if !spec.gateways.is_empty() && !spec.gateways.iter().any(|gateway| gateway == MESH) {
        notes.warning(
            "spec.gateways",
            "gateways are not supported yet, and without mesh sidecars are not meant: no effect",
        );
        return None;
    }
    Some(VirtualService { hosts, http, exports: exports? })
}

/// How many hosts one VirtualService may have: each is compared with each, and looked for among all services.
const MAX_HOSTS: usize = 1_000;

fn hosts(written: &[String], namespace: &Namespace, notes: &mut Notes) -> Vec<Host> {
    if written.is_empty() {
        notes.error("spec.hosts", "at least one host is needed");
    }
    if written.len() > MAX_HOSTS {
        notes.error("spec.hosts", format!("has {} hosts; {MAX_HOSTS} are allowed", written.len()));
        return Vec::new();
    }
    let mut hosts: Vec<Host> = Vec::new();
    for (at, text) in written.iter().enumerate() {
        let path = marks::index("spec.hosts", at);
        let Some(host) = notes.check(&path, syntax::host(text, namespace)) else { continue };
        if host.as_str() == "*" {
            notes.error(&path, "* is for gateways only; sidecars need to know the host");
        } else if let Some(other) = hosts.iter().find(|other| covers(other, &host) || covers(&host, other)) {
            notes.error(&path, format!("{host} and {other} of the same VirtualService overlap"));
        }
        hosts.push(host);
    }
    hosts
}

/// Whether each name of `inner` is one of `outer`.
fn covers(outer: &Host, inner: &Host) -> bool {
    match outer.as_str().strip_prefix('*') {
        Some(suffix) => inner.as_str().trim_start_matches('*').ends_with(suffix),
        None => outer == inner,
    }
}

impl RouteSpec {
    fn parse(self, path: &str, namespace: &Namespace, notes: &mut Notes) -> HttpRoute {
        let matches = self.matches.into_iter().enumerate();
        let instead = self.redirect.or(self.direct_response).or(self.delegate);
        if self.route.is_empty() && instead.is_none() {
            notes.error(format!("{path}.route"), "at least one destination is needed");
        }
        let timeout = self.timeout.and_then(|text| notes.check(&format!("{path}.timeout"), syntax::duration(&text)));
        if timeout == Some(Duration::ZERO) {
            notes.warning(format!("{path}.timeout"), ENDLESS);
        }
        HttpRoute {
            name: self.name.into(),
            matches: matches.map(|(at, spec)| spec.parse(&marks::index(&format!("{path}.match"), at), notes)).collect(),
            destinations: destinations(self.route, &format!("{path}.route"), namespace, notes),
            timeout: timeout.filter(|timeout| *timeout > Duration::ZERO),
        }
    }
}

fn destinations(
    written: Vec<WeightedSpec>,
    path: &str,
    namespace: &Namespace,
    notes: &mut Notes,
) -> Vec<WeightedDestination> {
    let several = written.len() > 1;
    let mut destinations = Vec::new();
    let mut sum = 0u64;
    for (at, spec) in written.into_iter().enumerate() {
        let path = marks::index(path, at);
        if several && spec.weight.is_none() {
            notes.warning(&path, "has no weight among others, so it gets no requests");
        }
        // What is no whole number was noted by the walk along the field table.
        let written = spec.weight.map_or(Some(0.into()), |weight| Some(weight).filter(|weight| !weight.is_f64()));
        let weight = written.map(|written| syntax::within(&written, 0, i32::MAX.unsigned_abs()));
        let weight = weight.and_then(|weight| notes.check(&format!("{path}.weight"), weight));
        // A weight that was noted must not look like a sum of zero as well.
        sum += u64::from(weight.unwrap_or(1));
        let weight = if several { weight.unwrap_or(0) } else { WHOLE };
        let destination = spec.destination.parse(&format!("{path}.destination"), namespace, notes);
        destinations.extend(destination.map(|destination| WeightedDestination { destination, weight }));
    }
    if several && sum == 0 {
        notes.error(path, "the weights of all destinations are 0; at least one must be more");
    }
    if sum > u64::from(u32::MAX) {
        notes.error(path, format!("the weights add up to {sum}; at most {} is allowed", u32::MAX));
    }
    destinations
}

impl DestinationSpec {
    fn parse(self, path: &str, namespace: &Namespace, notes: &mut Notes) -> Option<Destination> {
        let host = notes.check(&format!("{path}.host"), syntax::plain_host(&self.host, namespace));
        let subset = self.subset.filter(|subset| !subset.is_empty());
        if let Some(subset) = &subset {
            notes.check(&format!("{path}.subset"), syntax::label(subset));
        }
        let number = self.port.map(|port| port.number.unwrap_or(0));
        let port = number.and_then(|number| notes.check(&format!("{path}.port.number"), syntax::port(number)));
        Some(Destination { host: host?, subset: subset.map(Into::into), port })
    }
}
