//! Names of clusters, listeners and secrets, as istioctl, dashboards and users' expressions parse them.

use crate::model::name::Host;
use crate::model::provenance::ObjectKey;
use crate::model::secret::authorities_of;
use crate::snapshot::resource::OF_NAMESPACE;
use std::net::IpAddr;
use std::sync::Arc;

/// The cluster that has no endpoints: where a route to something unknown leads.
pub const BLACK_HOLE: &str = "BlackHoleCluster";

/// The cluster that leads to the original destination of an outgoing connection.
pub const PASSTHROUGH: &str = "PassthroughCluster";
/// The cluster that leads to the original destination of an incoming connection.
pub const INBOUND_PASSTHROUGH: &str = "InboundPassthroughCluster";

/// `outbound|<service port>|<subset or empty>|<host>`.
pub fn outbound(port: u16, subset: Option<&str>, host: &Host) -> Arc<str> {
    format!("outbound|{port}|{}|{host}", subset.unwrap_or_default()).into()
}

/// Beside a cluster that leads to the original destination, the one that has its endpoints. No subset can be called `*`.
pub fn twin(port: u16, host: &Host) -> Arc<str> {
    outbound(port, Some("*"), host)
}

/// What clients of the mesh ask a cluster's workloads for in TLS: `outbound_.<service port>_.<subset or empty>_.<host>`.
pub fn sni(port: u16, subset: Option<&str>, host: &Host) -> Arc<str> {
    format!("outbound_.{port}_.{}_.{host}", subset.unwrap_or_default()).into()
}

/// `inbound|<port>||`.
pub fn inbound(port: u16) -> String {
    format!("inbound|{port}||")
}

/// `<address>_<port>`.
pub fn listener(bind: IpAddr, port: u16) -> String {
    format!("{bind}_{port}")
}

/// A stat name or prefix: it ends where the bootstrap's stat tags cut.
pub fn stat(name: &str) -> String {
    format!("{name};")
}

/// `kubernetes://<name>`: a certificate and its key, out of a Secret of the proxy's own namespace.
pub fn pair(secret: &ObjectKey) -> String {
    format!("{OF_NAMESPACE}{}", secret.name)
}

/// `kubernetes://<name>-cacert`: authorities that go with it.
pub fn authorities(secret: &ObjectKey) -> String {
    pair(&authorities_of(secret))
}
