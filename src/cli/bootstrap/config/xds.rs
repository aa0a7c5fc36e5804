//! The way to chancery: the cluster, TLS, and how the proxy shows its token, without an agent.
//!
//! A token that is replaced on disk is read by the next stream. Where Envoy's own filter for that can be used, it is; its
//! releases before 1.37 can't, and have a few lines of Lua instead, which read the file; such an Envoy ends with a segmentation fault.

use super::{Options, address, extension, load_assignment};
use crate::cli::bootstrap::input::Host;
use serde_json::{Value, json};

/// How a proxy proves who it is, and what it trusts: paths as Envoy sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trust {
    /// The roots of who signs chancery's certificate.
    pub roots: File,
    /// The DNS name in that certificate.
    pub server: String,
    /// The token.
    pub token: Option<File>,
}

/// A file that may be replaced while Envoy runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum File {
    /// The file itself.
    Plain(String),
    /// A file that names it, which Envoy reads as a secret and follows.
    Secret(String),
}

pub(super) fn cluster(options: &Options) -> Value {
    let limits = json!({"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000});
    let mut cluster = json!({
        "name": "xds",
        "alt_stat_name": "xds;",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {PROTOCOL: protocol(options)},
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 30, "keepalive_interval": 10},
        },
        "circuit_breakers": {"thresholds": [limits]},
    });
    match &options.xds.host {
        Host::Ip(ip) => {
            cluster["type"] = "STATIC".into();
            cluster["load_assignment"] = load_assignment("xds", address(ip, options.xds.port));
        }
        Host::Name(name) => {
            cluster["cluster_type"] = dns();
            cluster["load_assignment"] = load_assignment("xds", address(name, options.xds.port));
        }
    }
    if let Some(trust) = &options.trust {
        cluster["transport_socket"] = tls(trust);
    }
    cluster
}

const PROTOCOL: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

fn protocol(options: &Options) -> Value {
    let http2 = json!({"http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}});
    let mut protocol = json!({"explicit_http_config": http2});
    if let Some(token) = options.trust.as_ref().and_then(|trust| trust.token.as_ref()) {
        let codec = extension("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec", json!({}));
        let codec = json!({"name": "envoy.filters.http.upstream_codec", "typed_config": codec});
        protocol["http_filters"] = json!([credential(token), codec]);
    }
    extension(PROTOCOL, protocol)
}

fn credential(token: &File) -> Value {
    match token {
        File::Secret(path) => injector(path),
        File::Plain(path) => lua(path),
    }
}

fn injector(path: &str) -> Value {
    let generic = json!({
        "header": "authorization",
        "header_value_prefix": "Bearer ",
        "credential": {"name": "token", "sds_config": file(path)},
    });
    let generic = extension("envoy.extensions.http.injected_credentials.generic.v3.Generic", generic);
    let config = json!({
        "overwrite": true,
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    });
    let config = extension("envoy.extensions.filters.http.credential_injector.v3.CredentialInjector", config);
    json!({"name": "envoy.filters.http.credential_injector", "typed_config": config})
}

/// A path is checked when the flag is read: it has no quotation mark and no backslash.
fn lua(path: &str) -> Value {
    let code = format!(
        "function envoy_on_request(handle)\n  local file = io.open(\"{path}\", \"r\")\n  if file then\n    \
         handle:headers():replace(\"authorization\", \"Bearer \" .. (file:read(\"*l\") or \"\"))\n    file:close()\n  end\nend\n"
    );
    let config = json!({"default_source_code": {"inline_string": code}});
    let config = extension("envoy.extensions.filters.http.lua.v3.Lua", config);
    json!({"name": "envoy.filters.http.lua", "typed_config": config})
}

fn tls(trust: &Trust) -> Value {
    let server = json!([{"san_type": "DNS", "matcher": {"exact": trust.server}}]);
    let mut common = json!({
        "alpn_protocols": ["h2"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
    });
    match &trust.roots {
        File::Plain(path) => {
            common["validation_context"] =
                json!({"trusted_ca": {"filename": path}, "match_typed_subject_alt_names": server});
        }
        File::Secret(path) => {
            common["combined_validation_context"] = json!({
                "default_validation_context": {"match_typed_subject_alt_names": server},
                "validation_context_sds_secret_config": {"name": "roots", "sds_config": file(path)},
            });
        }
    }
    let context = json!({"sni": trust.server, "common_tls_context": common});
    let context = extension("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", context);
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

fn file(path: &str) -> Value {
    json!({"resource_api_version": "V3", "path_config_source": {"path": path}})
}

/// What a file says that names a token as a secret.
pub fn token_secret(token: &str) -> Value {
    secret("token", "generic_secret", json!({"secret": {"filename": token}}))
}

/// What a file says that names roots as a secret; they are read again when anything in their directory is replaced.
pub fn roots_secret(roots: &str) -> Value {
    let folder = roots.rsplit_once('/').map_or(".", |(folder, _)| if folder.is_empty() { "/" } else { folder });
    let context = json!({"trusted_ca": {"filename": roots}, "watched_directory": {"path": folder}});
    secret("roots", "validation_context", context)
}

fn secret(name: &str, field: &str, content: Value) -> Value {
    let secret = json!({"name": name, field: content});
    json!({"resources": [extension("envoy.extensions.transport_sockets.tls.v3.Secret", secret)]})
}

/// Every address of the name is an endpoint of its own, so that proxies spread over replicas. IPv4 where the name has
/// it: Envoy's default never tries it if there is an IPv6 address, such as that of localhost.
fn dns() -> Value {
    let config = json!({
        "respect_dns_ttl": true,
        "dns_lookup_family": "V4_PREFERRED",
        "all_addresses_in_single_endpoint": false,
    });
    let config = extension("envoy.extensions.clusters.dns.v3.DnsCluster", config);
    json!({"name": "envoy.clusters.dns", "typed_config": config})
}
