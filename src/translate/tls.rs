//! TLS contexts: what a workload shows and demands when it is connected to, and what a client does when it connects.
//!
//! Certificates and authorities come over the aggregated stream under Istio's names. Names that are compared are always of
//! a stated type: a name of another type that reads the same is none. Of Istio's tokens in ALPN `istio-peer-exchange` is never
//! offered: what it promises takes filters that Envoy hasn't.

mod client;

pub use client::{by_endpoint, mutual, to_server, to_server_refs, workload};

use super::proto::{ads, bool_value};
use crate::model::mesh::TrustDomains;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{AUTHORITIES, CERTIFICATE, Ref, any};
use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::google::protobuf::Any;
use std::time::Duration;
use tls::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
use tls::subject_alt_name_matcher::SanType;
use tls::tls_parameters::TlsProtocol;

/// The tokens with which clients of the mesh say in ALPN that HTTP follows, in which version.
pub const HTTP_TOKENS: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
/// The tokens with which they say that they are of the mesh.
pub const MESH_TOKENS: [&str; 2] = ["istio-peer-exchange", "istio"];
/// What other clients say where HTTP follows.
pub const PLAIN_HTTP_TOKENS: [&str; 3] = ["h2", "http/1.1", "http/1.0"];

/// Istio's suites for TLS 1.2.
const SUITES: [&str; 6] = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
];

/// What refers to certificate and authorities.
pub fn refs() -> [Ref; 2] {
    [CERTIFICATE, AUTHORITIES].map(|name| Ref { kind: Kind::Secret, name: name.into() })
}

/// The transport socket of connections that clients of the mesh make to a workload, with what it agrees to speak.
pub fn server(speaks: &[&str], trust: &TrustDomains) -> TransportSocket {
    let members = trust.prefixes().map(|prefix| uri(MatchPattern::Prefix(prefix)));
    let parameters = tls::TlsParameters { cipher_suites: SUITES.map(str::to_owned).to_vec(), ..versions() };
    socket(any(&tls::DownstreamTlsContext {
        require_client_certificate: Some(bool_value(true)),
        common_tls_context: Some(tls::CommonTlsContext { tls_params: Some(parameters), ..identified(speaks, members) }),
        ..Default::default()
    }))
}

/// What both ends of a connection in the mesh have: a certificate, ALPN, and the names that the other end may have.
fn identified(alpn: &[&str], names: impl Iterator<Item = tls::SubjectAltNameMatcher>) -> tls::CommonTlsContext {
    tls::CommonTlsContext {
        alpn_protocols: alpn.iter().map(|token| (*token).to_owned()).collect(),
        tls_params: Some(versions()),
        tls_certificate_sds_secret_configs: vec![secret(CERTIFICATE)],
        validation_context_type: Some(validation(names, AUTHORITIES)),
        ..Default::default()
    }
}

/// A secret that comes over the aggregated stream. Envoy waits for it.
fn secret(name: &str) -> tls::SdsSecretConfig {
    tls::SdsSecretConfig { name: name.to_owned(), sds_config: Some(ads(Duration::ZERO)) }
}

/// Authorities that are a secret, and names one of which they have to vouch for; none is any.
fn validation(names: impl Iterator<Item = tls::SubjectAltNameMatcher>, authorities: &str) -> ValidationContextType {
    let names =
        tls::CertificateValidationContext { match_typed_subject_alt_names: names.collect(), ..Default::default() };
    ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
        default_validation_context: Some(names),
        validation_context_sds_secret_config: Some(secret(authorities)),
        ..Default::default()
    })
}

/// TLS 1.2 and 1.3.
fn versions() -> tls::TlsParameters {
    tls::TlsParameters {
        tls_minimum_protocol_version: TlsProtocol::TlSv12.into(),
        tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
        ..Default::default()
    }
}

fn uri(pattern: MatchPattern) -> tls::SubjectAltNameMatcher {
    named(SanType::Uri, pattern)
}

fn named(kind: SanType, pattern: MatchPattern) -> tls::SubjectAltNameMatcher {
    let matcher = StringMatcher { match_pattern: Some(pattern), ..Default::default() };
    tls::SubjectAltNameMatcher { san_type: kind.into(), matcher: Some(matcher), ..Default::default() }
}

fn socket(context: Any) -> TransportSocket {
    let config_type = Some(transport_socket::ConfigType::TypedConfig(context));
    TransportSocket { name: "envoy.transport_sockets.tls".to_owned(), config_type }
}
