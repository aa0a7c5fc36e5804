//! Traffic policies: load balancer, limits, outlier detection, TLS, and the same for single ports. Bounds are Istio's, or Envoy's where Istio has none.

use super::client_tls::{ClientTlsSpec, Secrets};
use super::load_balancer::LoadBalancerSpec;
use super::notes::Notes;
use super::syntax;
use crate::model::destination::{ConnectionPool, OutlierDetection, TcpKeepalive, TrafficPolicy};
use crate::source::yaml::marks;
use serde::Deserialize;
use serde_json::Number;
use std::collections::BTreeMap;
use std::time::Duration;

/// `trafficPolicy` as written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicySpec {
    load_balancer: Option<LoadBalancerSpec>,
    connection_pool: Option<ConnectionPoolSpec>,
    outlier_detection: Option<OutlierDetectionSpec>,
    tls: Option<ClientTlsSpec>,
    port_level_settings: Vec<PortSpec>,
}

/// One of `portLevelSettings` as written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PortSpec {
    port: PortSelector,
    load_balancer: Option<LoadBalancerSpec>,
    connection_pool: Option<ConnectionPoolSpec>,
    outlier_detection: Option<OutlierDetectionSpec>,
    tls: Option<ClientTlsSpec>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PortSelector {
    number: Option<Number>,
}

/// `connectionPool` as written.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct ConnectionPoolSpec {
    tcp: Option<TcpSpec>,
    http: Option<HttpSpec>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct TcpSpec {
    max_connections: Option<Number>,
    connect_timeout: Option<String>,
    tcp_keepalive: Option<KeepaliveSpec>,
    max_connection_duration: Option<String>,
    idle_timeout: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct KeepaliveSpec {
    probes: Option<Number>,
    time: Option<String>,
    interval: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct HttpSpec {
    http1_max_pending_requests: Option<Number>,
    http2_max_requests: Option<Number>,
    max_requests_per_connection: Option<Number>,
    max_retries: Option<Number>,
    idle_timeout: Option<String>,
    max_concurrent_streams: Option<Number>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct OutlierDetectionSpec {
    #[serde(rename = "consecutive5xxErrors")]
    consecutive_5xx_errors: Option<Number>,
    consecutive_gateway_errors: Option<Number>,
    split_external_local_origin_errors: bool,
    consecutive_local_origin_failures: Option<Number>,
    interval: Option<String>,
    base_ejection_time: Option<String>,
    max_ejection_percent: Option<Number>,
    min_health_percent: Option<Number>,
}

impl TrafficPolicySpec {
    /// Validates the policy, which stands at `path`.
    pub fn parse(self, path: &str, secrets: Secrets, notes: &mut Notes) -> TrafficPolicy {
        TrafficPolicy {
            load_balancer: self.load_balancer.and_then(|spec| spec.parse(&format!("{path}.loadBalancer"), notes)),
            connection_pool: self.connection_pool.map(|spec| spec.parse(&format!("{path}.connectionPool"), notes)),
            outlier_detection: self
                .outlier_detection
                .map(|spec| spec.parse(&format!("{path}.outlierDetection"), notes)),
            tls: self.tls.and_then(|spec| spec.parse(&format!("{path}.tls"), secrets, notes)),
            ports: ports(self.port_level_settings, &format!("{path}.portLevelSettings"), secrets, notes),
        }
    }
}

fn ports(written: Vec<PortSpec>, path: &str, secrets: Secrets, notes: &mut Notes) -> BTreeMap<u16, TrafficPolicy> {
    let mut ports = BTreeMap::new();
    for (at, spec) in written.into_iter().enumerate() {
        let path = marks::index(path, at);
        let field = format!("{path}.port.number");
        let number = spec.port.number.as_ref().and_then(Number::as_i64).unwrap_or(0);
        let port = notes.check(&field, syntax::port(number));
        let PortSpec { load_balancer, connection_pool, outlier_detection, tls, .. } = spec;
        let general =
            TrafficPolicySpec { load_balancer, connection_pool, outlier_detection, tls, ..Default::default() };
        let policy = general.parse(&path, secrets, notes);
        if let Some(port) = port
            && ports.insert(port, policy).is_some()
        {
            notes.error(field, format!("the port {port} is there twice"));
        }
    }
    ports
}

impl ConnectionPoolSpec {
    /// Validates the limits, which stand at `path`.
    pub fn parse(self, path: &str, notes: &mut Notes) -> ConnectionPool {
        if self.tcp.is_none() && self.http.is_none() {
            notes.error(path, "must have tcp or http");
        }
        let (tcp, http) = (self.tcp.unwrap_or_default(), self.http.unwrap_or_default());
        let mut tcp_at = At { path: format!("{path}.tcp"), notes };
        let tcp_part = ConnectionPool {
            max_connections: tcp_at.limit("maxConnections", tcp.max_connections),
            connect_timeout: tcp_at.positive("connectTimeout", tcp.connect_timeout),
            tcp_keepalive: tcp.tcp_keepalive.map(|spec| tcp_at.keepalive(spec)),
            // Istio takes 0s here: never.
            tcp_idle_timeout: tcp_at.check("idleTimeout", tcp.idle_timeout, syntax::duration),
            tcp_max_connection_duration: tcp_at.positive("maxConnectionDuration", tcp.max_connection_duration),
            ..ConnectionPool::default()
        };
        let mut at = At { path: format!("{path}.http"), notes };
        ConnectionPool {
            max_pending_requests: at.limit("http1MaxPendingRequests", http.http1_max_pending_requests),
            max_requests: at.limit("http2MaxRequests", http.http2_max_requests),
            max_requests_per_connection: at.limit("maxRequestsPerConnection", http.max_requests_per_connection),
            max_retries: at.limit("maxRetries", http.max_retries),
            http_idle_timeout: at.positive("idleTimeout", http.idle_timeout),
            max_concurrent_streams: at.limit("maxConcurrentStreams", http.max_concurrent_streams),
            ..tcp_part
        }
    }
}

impl OutlierDetectionSpec {
    fn parse(self, path: &str, notes: &mut Notes) -> OutlierDetection {
        let mut at = At { path: path.to_owned(), notes };
        OutlierDetection {
            consecutive_5xx: at.count("consecutive5xxErrors", self.consecutive_5xx_errors),
            consecutive_gateway_errors: at.count("consecutiveGatewayErrors", self.consecutive_gateway_errors),
            split_external_local_origin_errors: self.split_external_local_origin_errors,
            consecutive_local_origin_failures: at
                .count("consecutiveLocalOriginFailures", self.consecutive_local_origin_failures),
            interval: at.positive("interval", self.interval),
            base_ejection_time: at.positive("baseEjectionTime", self.base_ejection_time),
            max_ejection_percent: at.percent("maxEjectionPercent", self.max_ejection_percent),
            min_health_percent: at.percent("minHealthPercent", self.min_health_percent),
        }
    }
}

/// The block whose fields are being checked.
struct At<'n> {
    path: String,
    notes: &'n mut Notes,
}

impl At<'_> {
    fn check<W, T>(&mut self, name: &str, written: Option<W>, check: impl Fn(&str) -> Result<T, String>) -> Option<T>
    where
        W: AsRef<str>,
    {
        let result = check(written?.as_ref());
        self.notes.check(&format!("{}.{name}", self.path), result)
    }

    fn within(&mut self, name: &str, written: Option<Number>, most: u32) -> Option<u32> {
        // What is no whole number was noted by the walk along the field table.
        let written = written.filter(|written| !written.is_f64())?;
        let result = syntax::within(&written, 0, most);
        self.notes.check(&format!("{}.{name}", self.path), result)
    }

    /// A limit, an `int32` in Istio; zero means none, like its absence.
    fn limit(&mut self, name: &str, written: Option<Number>) -> Option<u32> {
        self.within(name, written, i32::MAX.unsigned_abs()).filter(|limit| *limit > 0)
    }

    fn count(&mut self, name: &str, written: Option<Number>) -> Option<u32> {
        self.within(name, written, u32::MAX)
    }

    fn percent(&mut self, name: &str, written: Option<Number>) -> Option<u32> {
        self.within(name, written, 100)
    }

    fn positive(&mut self, name: &str, written: Option<String>) -> Option<Duration> {
        self.check(name, written, syntax::positive)
    }

    fn keepalive(&mut self, spec: KeepaliveSpec) -> TcpKeepalive {
        let mut at = At { path: format!("{}.tcpKeepalive", self.path), notes: self.notes };
        TcpKeepalive {
            probes: at.within("probes", spec.probes, MOST_PROBES).filter(|probes| *probes > 0),
            time: at.check("time", spec.time, whole_seconds),
            interval: at.check("interval", spec.interval, whole_seconds),
        }
    }
}

/// The most probes that Linux takes.
const MOST_PROBES: u32 = 127;
/// The longest times of keepalive that Linux takes. With more, Envoy would take the cluster and no connection would come
/// about.
const LONGEST: Duration = Duration::from_secs(32_767);

fn whole_seconds(text: &str) -> Result<Duration, String> {
    let duration = syntax::positive(text)?;
    if duration.subsec_nanos() > 0 {
        return Err(format!("{text} is not a whole number of seconds"));
    }
    if duration > LONGEST { Err(format!("is {text}; it must be at most {}s", LONGEST.as_secs())) } else { Ok(duration) }
}
