//! A connected proxy as JSON: who it is, and per type how far it has come.

use crate::xds::registry::Proxy;
use crate::xds::session::status::TypeStatus;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Describes a proxy and the types it has asked for.
pub fn describe(proxy: &Proxy) -> Value {
    let clock = Clock { instant: Instant::now(), wall: SystemTime::now() };
    let types: Map<_, _> =
        proxy.status().iter().map(|status| (status.kind.short().to_owned(), clock.describe(status))).collect();
    json!({
        "node": proxy.node_id,
        "namespace": proxy.facts.namespace.as_str(),
        "pod": proxy.facts.pod.as_str(),
        "wire": proxy.wire.short(),
        "userAgent": proxy.user_agent,
        "peer": proxy.peer.map(|peer| peer.to_string()),
        "connectedAt": time(proxy.connected_at),
        "leftWarming": proxy.is_stranded(),
        "types": types,
    })
}

/// One moment, as both clocks saw it.
struct Clock {
    instant: Instant,
    wall: SystemTime,
}

impl Clock {
    fn describe(&self, status: &TypeStatus) -> Value {
        let mark = |(version, at): &(_, Instant)| self.mark(version, *at);
        let mut value = json!({
            "wildcard": status.wildcard,
            "names": status.names,
            "waiting": status.waiting,
            "desired": status.desired_at.map(|at| self.mark(&status.desired, at)),
            "sent": status.sent.as_ref().map(mark),
            "acked": status.acked.as_ref().map(mark),
            "inFlightSeconds": status.in_flight_since.map(|at| self.age(at)),
        });
        if let Some(rejection) = &status.nacked {
            value["nacked"] = self.mark(&rejection.version, rejection.at);
            value["nacked"]["message"] = rejection.message.clone().into();
        }
        value
    }

    /// A version and since when it is what it is.
    fn mark(&self, version: &impl ToString, at: Instant) -> Value {
        let age = self.instant.saturating_duration_since(at);
        let wall = self.wall.checked_sub(age).unwrap_or(UNIX_EPOCH);
        let micros = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros();
        json!({
            "version": version.to_string(),
            "atUnixMicros": u64::try_from(micros).unwrap_or(u64::MAX),
            "ageSeconds": age.as_secs_f64(),
        })
    }

    fn age(&self, at: Instant) -> f64 {
        self.instant.saturating_duration_since(at).as_secs_f64()
    }
}

fn time(wall: SystemTime) -> String {
    jiff::Timestamp::try_from(wall).map(|time| time.to_string()).unwrap_or_default()
}
