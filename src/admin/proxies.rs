//! A connected proxy as JSON: who it is, and per type how far it has come.

use crate::model::identity::Identity;
use crate::xds::registry::Proxy;
use crate::xds::session::status::TypeStatus;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How many names a list shows.
const SHOWN: usize = 20;

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
        "proven": proven(proxy),
        "peer": proxy.peer.map(|peer| peer.to_string()),
        "connectedAt": time(proxy.connected_at),
        "leftWarming": proxy.is_stranded(),
        "types": types,
    })
}

/// Who it has proven to be, and by what; nothing where it is believed what it says.
fn proven(proxy: &Proxy) -> Option<Value> {
    let (Identity { namespace, service_account, .. }, means) = (proxy.facts.identity.as_ref()?, proxy.means?);
    Some(json!({"serviceAccount": format!("{namespace}/{service_account}"), "by": means.as_str()}))
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
        self.describe_waits(status, &mut value);
        if let Some(rejection) = &status.nacked {
            value["nacked"] = self.mark(&rejection.version, rejection.at);
            value["nacked"]["message"] = rejection.message.clone().into();
        }
        value
    }

    /// What is not as the newest configuration says, and why; left out where there is nothing.
    fn describe_waits(&self, status: &TypeStatus, value: &mut Value) {
        let held = status.held.iter().take(SHOWN).map(|wait| {
            json!({
                "name": &*wait.name,
                "part": wait.part.as_deref(),
                "waitsFor": wait.clusters.iter().take(SHOWN).map(|name| &**name).collect::<Vec<_>>(),
                "ageSeconds": self.age(wait.since),
            })
        });
        let names = |names: &[Arc<str>]| names.iter().take(SHOWN).map(|name| Value::from(&**name)).collect();
        let rejected = status.rejected.iter().take(SHOWN).map(|charge| {
            json!({
                "name": &*charge.unit.name,
                "part": charge.unit.part.as_deref(),
                "found": charge.found,
                "reason": &*charge.reason,
                "ageSeconds": self.age(charge.at),
            })
        });
        let lists: [(&str, Vec<Value>); 5] = [
            ("held", held.collect()),
            ("rejected", rejected.collect()),
            ("paced", names(&status.paced)),
            ("lingering", names(&status.lingering)),
            ("warming", names(&status.warming)),
        ];
        for (key, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            value[key] = list.into();
        }
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
