//! The client's end: to workloads of the mesh, and to servers whose certificates have other authorities.

use super::{identified, named, secret, socket, uri, versions};
use crate::model::destination::{ServerCheck, ServerTls};
use crate::model::service::Protocol;
use crate::snapshot::kind::Kind as Type;
use crate::snapshot::resource::{Ref, any};
use crate::translate::names;
use crate::translate::unit::Peer;
use envoy_types::pb::envoy::config::cluster::v3::cluster::TransportSocketMatch;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TransportSocket, data_source, transport_socket};
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use std::net::IpAddr;
use tls::common_tls_context::ValidationContextType;
use tls::subject_alt_name_matcher::SanType;

/// What an endpoint says in its metadata if mutual TLS is spoken to it, and how clusters ask for that.
const MODE: &str = "tlsMode";
const MUTUAL: &str = "istio";
/// The authorities that Envoy's images trust.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The metadata of an endpoint to which mutual TLS is spoken.
pub fn mutual() -> Struct {
    Struct { fields: [(MODE.to_owned(), Value { kind: Some(Kind::StringValue(MUTUAL.to_owned())) })].into() }
}

/// Mutual TLS to the endpoints that say so, plain text to all others.
pub fn by_endpoint(socket: TransportSocket) -> Vec<TransportSocketMatch> {
    let one = |name: &str, wanted: Struct, socket| TransportSocketMatch {
        name: name.to_owned(),
        r#match: Some(wanted),
        transport_socket: Some(socket),
    };
    vec![one("tlsMode-istio", mutual(), socket), one("tlsMode-disabled", Struct::default(), plain())]
}

/// No TLS.
fn plain() -> TransportSocket {
    let config_type = Some(transport_socket::ConfigType::TypedConfig(any(&RawBuffer::default())));
    TransportSocket { name: "envoy.transport_sockets.raw_buffer".to_owned(), config_type }
}

/// Mutual TLS to workloads of the mesh. The tokens in ALPN tell them what follows, the first of them decides: a port whose
/// protocol nobody states is one of bytes, unless its requests say otherwise.
pub fn workload(peer: &Peer, protocol: Protocol) -> TransportSocket {
    let alpn: &[&str] = match protocol {
        Protocol::Http => &["istio-http/1.1", "istio", "http/1.1"],
        Protocol::Http2 => &["istio-h2", "istio", "h2"],
        Protocol::Tcp | Protocol::Udp | Protocol::Unnamed => &["istio"],
    };
    let exact = peer.names.iter().map(|name| uri(MatchPattern::Exact(name.to_string())));
    // Nobody knows who they are: some workload of the mesh.
    let members = peer.trust.prefixes().map(|prefix| uri(MatchPattern::Prefix(prefix)));
    let context = if peer.names.is_empty() { identified(alpn, members) } else { identified(alpn, exact) };
    socket(any(&tls::UpstreamTlsContext {
        sni: peer.sni.to_string(),
        common_tls_context: Some(context),
        ..Default::default()
    }))
}

/// TLS to a server, with files of the proxy or with a Secret.
pub fn to_server(server: &ServerTls, protocol: Protocol) -> TransportSocket {
    let certificate = server.certificate.as_ref().map(|(chain, key)| tls::TlsCertificate {
        certificate_chain: Some(file(chain)),
        private_key: Some(file(key)),
        ..Default::default()
    });
    let context = tls::CommonTlsContext {
        tls_params: Some(versions()),
        tls_certificates: certificate.into_iter().collect(),
        tls_certificate_sds_secret_configs: shown(server).map(|name| secret(&name)).into_iter().collect(),
        alpn_protocols: if protocol == Protocol::Http2 { vec!["h2".to_owned()] } else { Vec::new() },
        validation_context_type: validation(server),
        ..Default::default()
    };
    let sni = server.sni.as_deref().unwrap_or_default().to_owned();
    socket(any(&tls::UpstreamTlsContext { sni, common_tls_context: Some(context), ..Default::default() }))
}

/// The secrets that TLS to a server takes.
pub fn to_server_refs(server: &ServerTls) -> Vec<Ref> {
    let names = shown(server).into_iter().chain(trusted(server));
    names.map(|name| Ref { kind: Type::Secret, name: name.into() }).collect()
}

/// The secret with the certificate that is shown.
fn shown(server: &ServerTls) -> Option<String> {
    server.credential.as_ref().filter(|credential| credential.shown).map(|credential| names::pair(&credential.secret))
}

/// The secret with the authorities by which the server is checked.
fn trusted(server: &ServerTls) -> Option<String> {
    let credential = server.credential.as_ref().filter(|_| server.takes_authorities());
    credential.map(|credential| names::authorities(&credential.secret))
}

fn file(path: &str) -> DataSource {
    DataSource { specifier: Some(data_source::Specifier::Filename(path.to_owned())), ..Default::default() }
}

/// How the server's certificate is checked; not at all where the rule says so.
fn validation(server: &ServerTls) -> Option<ValidationContextType> {
    let ServerCheck::Checked { authorities, revoked, names } = &server.check else { return None };
    if let Some(secret) = trusted(server) {
        return Some(super::validation(names.iter().map(|name| certified(name)), &secret));
    }
    Some(ValidationContextType::ValidationContext(tls::CertificateValidationContext {
        trusted_ca: Some(file(authorities.as_deref().unwrap_or(SYSTEM))),
        crl: revoked.as_deref().map(file),
        match_typed_subject_alt_names: names.iter().map(|name| certified(name)).collect(),
        ..Default::default()
    }))
}

/// A name that the certificate must have, of the type that it is written as.
fn certified(name: &str) -> tls::SubjectAltNameMatcher {
    let kind = match name {
        _ if name.contains("://") => SanType::Uri,
        _ if name.parse::<IpAddr>().is_ok() => SanType::IpAddress,
        _ => SanType::Dns,
    };
    named(kind, MatchPattern::Exact(name.to_owned()))
}
