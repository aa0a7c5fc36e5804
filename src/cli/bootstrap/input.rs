//! The values of flags, parsed once: text comes in, a value or the reason why not leaves.

use serde_json::Value;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// Why a value of a flag is refused. The flag itself is named by the command line.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
#[error("{0}")]
pub struct Refused(String);

fn refused<T>(reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(reason.into()))
}

/// The host of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// An address, used as it is.
    Ip(IpAddr),
    /// A DNS name, resolved by Envoy.
    Name(String),
}

/// A host and a port other than 0: `127.0.0.1:15012`, `[::1]:15012`, `chancery.chancery-system.svc:15012`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// The host.
    pub host: Host,
    /// The port.
    pub port: u16,
}

impl FromStr for HostPort {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Self::new(Host::Ip(address.ip()), address.port());
        }
        let Some((host, port)) = text.rsplit_once(':') else { return refused("no port; write HOST:PORT") };
        let Ok(port) = port.parse() else { return refused(format!("{port:?} is not a port from 1 to 65535")) };
        if host.contains([':', '[', ']']) {
            return refused("not an IPv6 address; write [ADDRESS]:PORT");
        }
        if !is_dns_name(host) {
            return refused(format!("{host:?} is neither an IP address nor a DNS name"));
        }
        Self::new(Host::Name(host.to_owned()), port)
    }
}

/// A path as it can stand in a configuration: without quotation marks, backslashes and control characters, and no slash at
/// its end.
pub fn path(text: &str) -> Result<String, Refused> {
    match text.is_empty() || text.contains(['"', '\\']) || text.chars().any(char::is_control) {
        true => refused("not a path without quotation marks, backslashes and control characters"),
        false => Ok(text.strip_suffix('/').unwrap_or(text).to_owned()),
    }
}

impl HostPort {
    fn new(host: Host, port: u16) -> Result<Self, Refused> {
        if port == 0 { refused("\"0\" is not a port from 1 to 65535") } else { Ok(Self { host, port }) }
    }
}

/// A DNS name by RFC 1035, underscores allowed. A last label of digits alone would be a broken IPv4 address.
fn is_dns_name(name: &str) -> bool {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253 && name.split('.').all(good) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Who a proxy is, as Istio writes it: `sidecar~IP~POD.NAMESPACE~DOMAIN`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceNode {
    /// The whole, Envoy's node id.
    pub id: String,
    /// The third part, `POD.NAMESPACE`.
    pub workload: String,
    /// The Pod's namespace.
    pub namespace: String,
}

impl FromStr for ServiceNode {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let parts: Vec<&str> = text.split('~').collect();
        let [kind, ip, workload, domain] = parts[..] else {
            return refused(format!("{} parts between \"~\", not four: sidecar~IP~POD.NAMESPACE~DOMAIN", parts.len()));
        };
        if kind != "sidecar" {
            return refused(format!("{kind:?} is not a type of proxy that is served: sidecar"));
        }
        if ip.parse::<IpAddr>().is_err() {
            return refused(format!("{ip:?} is not an IP address"));
        }
        // A Pod's name may have dots, a namespace has none.
        let Some((_, namespace)) =
            workload.rsplit_once('.').filter(|(pod, space)| !pod.is_empty() && !space.is_empty())
        else {
            return refused(format!("{workload:?} is not POD.NAMESPACE"));
        };
        if domain.is_empty() {
            return refused("the DNS domain after the last \"~\" is empty");
        }
        Ok(Self { id: text.to_owned(), workload: workload.to_owned(), namespace: namespace.to_owned() })
    }
}

impl fmt::Display for ServiceNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// An entry of the node's metadata. Keys are taken as they are: dots in them have no meaning.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// The key, not empty.
    pub key: String,
    /// A JSON object or array where the text is one, else a string.
    pub value: Value,
}

impl FromStr for Entry {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let Some((key, value)) = text.split_once('=') else { return refused("no \"=\"; write KEY=VALUE") };
        if key.is_empty() {
            return refused("no key before \"=\"");
        }
        let value = if value.starts_with(['{', '[']) {
            serde_json::from_str(value).or_else(|error| refused(format!("the value of {key} is not JSON: {error}")))?
        } else {
            Value::from(value)
        };
        Ok(Self { key: key.to_owned(), value })
    }
}
