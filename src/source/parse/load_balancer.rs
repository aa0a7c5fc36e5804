//! Load balancers: how an endpoint is picked. Bounds are Istio's, or Envoy's where Istio has none.

use super::notes::Notes;
use super::syntax;
use crate::model::destination::{HashKey, HashTable, LoadBalancer};
use serde::Deserialize;
use serde_json::Number;

/// `loadBalancer` as written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerSpec {
    simple: Option<String>,
    consistent_hash: Option<HashSpec>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HashSpec {
    http_header_name: Option<String>,
    http_cookie: Option<CookieSpec>,
    use_source_ip: bool,
    http_query_parameter_name: Option<String>,
    ring_hash: Option<RingSpec>,
    maglev: Option<MaglevSpec>,
    minimum_ring_size: Option<Number>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct CookieSpec {
    name: String,
    path: String,
    ttl: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct RingSpec {
    minimum_ring_size: Option<Number>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct MaglevSpec {
    table_size: Option<Number>,
}

/// Istio's least ring (Envoy: the same).
const RING: u32 = 1024;
/// The largest ring Envoy takes.
const MOST_RING: u32 = 8 * 1024 * 1024;
/// The largest Maglev table Envoy takes.
const MOST_TABLE: u32 = 5_000_011;

impl LoadBalancerSpec {
    /// Validates the load balancer, which stands at `path`.
    pub fn parse(self, path: &str, notes: &mut Notes) -> Option<LoadBalancer> {
        match (self.simple, self.consistent_hash) {
            (Some(_), Some(_)) => {
                notes.error(path, "only one of simple and consistentHash is allowed");
                None
            }
            (None, hash) => hash?.parse(&format!("{path}.consistentHash"), notes),
            (Some(simple), None) => match &*simple {
                "ROUND_ROBIN" => Some(LoadBalancer::RoundRobin),
                "RANDOM" => Some(LoadBalancer::Random),
                "PASSTHROUGH" => Some(LoadBalancer::Passthrough),
                "LEAST_REQUEST" | "LEAST_CONN" | "UNSPECIFIED" => Some(LoadBalancer::LeastRequest),
                // Another name was noted by the walk along the field table.
                _ => None,
            },
        }
    }
}

impl HashSpec {
    fn parse(self, path: &str, notes: &mut Notes) -> Option<LoadBalancer> {
        let keys = [
            self.http_header_name.is_some(),
            self.http_cookie.is_some(),
            self.use_source_ip,
            self.http_query_parameter_name.is_some(),
        ];
        if keys.into_iter().filter(|given| *given).count() != 1 {
            let text = "exactly one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName is needed";
            notes.error(path, text);
        }
        let header = self.http_header_name.map(|name| {
            let name = notes.check(&format!("{path}.httpHeaderName"), header(&name));
            name.map(|name| HashKey::Header(name.into()))
        });
        let query = self.http_query_parameter_name.map(|name| {
            let name = notes.check(&format!("{path}.httpQueryParameterName"), visible(&name));
            name.map(|name| HashKey::QueryParameter(name.into()))
        });
        let cookie = self.http_cookie.map(|cookie| cookie.parse(&format!("{path}.httpCookie"), notes));
        let address = self.use_source_ip.then_some(Some(HashKey::SourceIp));
        let least = self.minimum_ring_size;
        let table = table((self.ring_hash, self.maglev, least), path, notes);
        Some(LoadBalancer::ConsistentHash { key: header.or(cookie).or(address).or(query)??, table: table? })
    }
}

fn table(
    (ring, maglev, least): (Option<RingSpec>, Option<MaglevSpec>, Option<Number>),
    path: &str,
    notes: &mut Notes,
) -> Option<HashTable> {
    let size = |field: String, written: Option<Number>, most: u32, notes: &mut Notes| {
        let written = written.unwrap_or_else(|| 0.into());
        let size = notes.check(&field, syntax::within(&written, 0, most))?;
        Some((size > 0).then_some(size))
    };
    let ring_field = format!("{path}.ringHash.minimumRingSize");
    match (ring, maglev) {
        (Some(_), Some(_)) => {
            notes.error(path, "only one of ringHash and maglev is allowed");
            None
        }
        (Some(ring), None) => {
            let size = size(ring_field, ring.minimum_ring_size, MOST_RING, notes)?;
            Some(HashTable::Ring(size.unwrap_or(RING)))
        }
        (None, Some(maglev)) => {
            let field = format!("{path}.maglev.tableSize");
            let size = size(field.clone(), maglev.table_size, MOST_TABLE, notes)?;
            if let Some(size) = size.filter(|size| !is_prime(*size)) {
                notes.error(field, format!("{size} is not a prime number, which a Maglev table needs"));
            }
            Some(HashTable::Maglev(size))
        }
        (None, None) => {
            let size = size(format!("{path}.minimumRingSize"), least, MOST_RING, notes)?;
            Some(HashTable::Ring(size.unwrap_or(RING)))
        }
    }
}

impl CookieSpec {
    fn parse(self, path: &str, notes: &mut Notes) -> Option<HashKey> {
        let name = notes.check(&format!("{path}.name"), cookie_name(&self.name));
        let place = notes.check(&format!("{path}.path"), cookie_path(&self.path));
        let ttl = self.ttl.map(|ttl| notes.check(&format!("{path}.ttl"), syntax::duration(&ttl)));
        Some(HashKey::Cookie { name: name?.into(), path: place?.into(), ttl: ttl.flatten() })
    }
}

fn header(name: &str) -> Result<String, String> {
    syntax::header(name).map_err(|_| format!("{} is not the name of an HTTP header", syntax::quoted(name)))
}

fn cookie_name(name: &str) -> Result<String, String> {
    let name = visible(name)?;
    let bad = |c: char| "()<>@,;:\\\"/[]?={}".contains(c);
    if name.contains(bad) { Err(format!("{} is not the name of a cookie", syntax::quoted(&name))) } else { Ok(name) }
}

fn cookie_path(path: &str) -> Result<String, String> {
    let good = |c: char| (c.is_ascii_graphic() && c != ';') || c == ' ';
    if path.chars().all(good) {
        Ok(path.to_owned())
    } else {
        Err(format!("{} is not the path of a cookie", syntax::quoted(path)))
    }
}

fn visible(name: &str) -> Result<String, String> {
    if !name.is_empty() && name.len() <= 256 && name.chars().all(|c| c.is_ascii_graphic()) {
        Ok(name.to_owned())
    } else {
        Err(format!("{} is not a name: 1 to 256 visible characters are expected", syntax::quoted(name)))
    }
}

fn is_prime(number: u32) -> bool {
    number > 1 && (2..).take_while(|divisor| divisor * divisor <= number).all(|divisor| !number.is_multiple_of(divisor))
}
