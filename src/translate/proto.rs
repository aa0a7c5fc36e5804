//! Spellings of protobuf values that Envoy's API uses everywhere.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::{BoolValue, Duration as ProtoDuration, UInt32Value};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A duration.
pub fn duration(value: Duration) -> ProtoDuration {
    let seconds = i64::try_from(value.as_secs()).unwrap_or(i64::MAX);
    ProtoDuration { seconds, nanos: value.subsec_nanos().cast_signed() }
}

/// A wrapped number.
pub fn u32_value(value: u32) -> UInt32Value {
    UInt32Value { value }
}

/// A wrapped truth value.
pub fn bool_value(value: bool) -> BoolValue {
    BoolValue { value }
}

/// A socket address.
pub fn address(ip: IpAddr, port: u16) -> core::Address {
    let socket = core::SocketAddress {
        address: ip.to_string(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..Default::default()
    };
    core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
}

/// The address of a socket.
pub fn socket(address_of: SocketAddr) -> core::Address {
    address(address_of.ip(), address_of.port())
}

/// The address of a Unix socket; a leading `@` stands for one without a file.
pub fn pipe(path: &str) -> core::Address {
    let pipe = core::Pipe { path: path.to_owned(), ..Default::default() };
    core::Address { address: Some(core::address::Address::Pipe(pipe)) }
}

/// The aggregated stream as the source of a resource, with a time to wait for its first answer (zero: for ever).
pub fn ads(initial_fetch_timeout: Duration) -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        initial_fetch_timeout: Some(duration(initial_fetch_timeout)),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(Default::default())),
        ..Default::default()
    }
}
