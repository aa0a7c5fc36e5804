//! Names outside that a Service may stand for, and addresses that nothing may lead to.
//!
//! Whoever may write a Service could otherwise make other people's proxies call themselves, their admin port for one, or
//! the service that hands out a machine's credentials. What a name's DNS answers is beyond this: ports of proxies are
//! refused whatever the name.

use super::syntax::{dns_name, quoted};
use crate::model::name::Host;
use std::net::{IpAddr, Ipv4Addr};

/// Names that mean the machine itself: RFC 6761 and what systems write into `/etc/hosts`.
const OWN: [&str; 8] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
];

/// Names that mean the metadata service of a cloud; the first label of some is enough where DNS searches the cloud's domain.
const METADATA: [&str; 5] =
    ["metadata", "metadata.google.internal", "metadata.goog", "metadata.tencentyun.com", "instance-data"];

/// Ports that a proxy listens on for itself: capture, admin, health, statistics and tunnels (Istio's list).
const PROXY: [u16; 10] = [15000, 15001, 15004, 15006, 15008, 15009, 15020, 15021, 15053, 15090];

/// A name outside, in lower case and without a final dot.
pub fn parse(written: &str) -> Result<Host, String> {
    let name = written.strip_suffix('.').unwrap_or(written).to_ascii_lowercase();
    if name.is_empty() {
        return Err("is missing: the type ExternalName needs it".to_owned());
    }
    if is_address(&name) {
        return Err(format!(
            "{} is an IP address, which DNS doesn't know; an EndpointSlice leads to addresses",
            quoted(written)
        ));
    }
    dns_name(&name)?;
    if OWN.contains(&&*name) || name.ends_with(".localhost") {
        return Err(format!("{} means whoever looks it up: proxies would call themselves", quoted(written)));
    }
    if METADATA.contains(&&*name) || name.starts_with("instance-data.") {
        return Err(format!("{} hands out the credentials of machines, and nothing may lead there", quoted(written)));
    }
    Ok(Host::from(name))
}

/// A port that a name outside may have, and an application that listens on loopback.
pub fn port(number: u16) -> Result<u16, String> {
    if PROXY.contains(&number) {
        return Err(format!("{number} is one of the proxies' own ports: nothing may lead there"));
    }
    Ok(number)
}

/// An address that an endpoint may have. Loopback is one: in a folder it is how several workloads share one machine.
pub fn reachable(address: IpAddr) -> Result<IpAddr, String> {
    let plain = address.to_canonical();
    let (link_local, metadata) = match plain {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets() == [100, 100, 100, 200]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]),
    };
    if link_local || metadata {
        return Err(format!(
            "{address} is link-local or hands out the credentials of machines: nothing may lead there"
        ));
    }
    if plain.is_unspecified() || plain.is_multicast() || plain == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(format!("{address} can't be the address of an endpoint"));
    }
    Ok(address)
}

/// Whether a resolver might take a name for an address: the last part is a number, in any notation.
fn is_address(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = last.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    digits(last) || hexadecimal || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}
