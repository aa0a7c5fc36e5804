//! The filter chains of a port: for what it takes, and for what it speaks.
//!
//! Clients of the mesh are known by their tokens in ALPN, and so is HTTP within their TLS. Matching never steps back: a
//! port that has a chain for TLS or for plain text has one for whatever else it takes, and what has none is refused.

use super::http;
use crate::model::access_log::AccessLog;
use crate::model::mesh::TrustDomains;
use crate::translate::filter::{self, TRANSPORT_TIMEOUT, tcp_chain};
use crate::translate::listener::is_http;
use crate::translate::names;
use crate::translate::proto::duration;
use crate::translate::tls::{self, HTTP_TOKENS, MESH_TOKENS, PLAIN_HTTP_TOKENS};
use crate::translate::unit::{InboundPort, Takes, TcpOptions};
use envoy_types::pb::envoy::config::listener::v3::FilterChain;

/// What is agreed on in ALPN where HTTP follows, and where it does not.
const HTTP: [&str; 2] = ["h2", "http/1.1"];
const BYTES: [&str; 1] = ["istio"];

/// What the chains of a port are made of.
pub struct Chains<'a> {
    /// The port.
    pub port: &'a InboundPort,
    /// The cluster that they lead to.
    pub cluster: &'a str,
    /// What the names of those begin with that speak HTTP, and of those that pass on bytes.
    pub names: [&'a str; 2],
    /// The name of requests in statistics.
    pub stats: &'a str,
    /// Whose workloads are known.
    pub trust: &'a TrustDomains,
    /// How requests and connections are logged.
    pub log: Option<&'a AccessLog>,
}

impl Chains<'_> {
    /// The chains, in no order that matters.
    pub fn all(&self) -> Vec<FilterChain> {
        match (self.port.takes, self.port.sniffed) {
            (Takes::Nothing, _) => vec![self.shut()],
            // Without a look at first bytes nothing can be told apart; whether it is TLS shows when it is opened.
            (Takes::Mutual, _) if !self.port.inspected => vec![self.mutual_any()],
            (Takes::Both, false) if !self.port.inspected => vec![self.any("")],
            (Takes::Plain, false) => vec![self.any("")],
            (Takes::Mutual, false) => vec![on_tls(self.mutual_any(), &[])],
            (Takes::Both, false) => {
                let mutual = on_tls(self.mutual_any(), &all_tokens());
                let plain = filter::for_transport(self.any(""), "raw_buffer");
                let other = (!is_http(self.port.protocol)).then(|| on_tls(self.bytes("-tls"), &[]));
                [mutual, plain].into_iter().chain(other).collect()
            }
            (Takes::Plain, true) => self.told_apart(),
            (Takes::Both, true) => {
                let mutual = [self.mutual_http(&HTTP_TOKENS), self.mutual_bytes(&MESH_TOKENS)];
                mutual.into_iter().chain(self.told_apart()).collect()
            }
            // All TLS is opened here, so who says HTTP without being a proxy is believed as well.
            (Takes::Mutual, true) => {
                let tokens: Vec<_> = HTTP_TOKENS.into_iter().chain(PLAIN_HTTP_TOKENS).collect();
                vec![self.mutual_http(&tokens), self.mutual_bytes(&[])]
            }
        }
    }

    /// Three chains: plain HTTP, other plain text, TLS, which is not opened.
    fn told_apart(&self) -> Vec<FilterChain> {
        vec![
            filter::plain_http(self.http("-http")),
            filter::for_transport(self.bytes("-tcp"), "raw_buffer"),
            on_tls(self.bytes("-tls"), &[]),
        ]
    }

    fn mutual_any(&self) -> FilterChain {
        let speaks: &[&str] = if is_http(self.port.protocol) { &HTTP } else { &BYTES };
        self.mutual(self.any("-mtls"), speaks)
    }

    fn mutual_http(&self, tokens: &[&str]) -> FilterChain {
        on_tls(self.mutual(self.http("-mtls-http"), &HTTP), tokens)
    }

    fn mutual_bytes(&self, tokens: &[&str]) -> FilterChain {
        on_tls(self.mutual(self.bytes("-mtls-tcp"), &BYTES), tokens)
    }

    /// The chain of the port's protocol, as far as that is stated.
    fn any(&self, suffix: &str) -> FilterChain {
        if is_http(self.port.protocol) { self.http(suffix) } else { self.bytes(suffix) }
    }

    fn http(&self, suffix: &str) -> FilterChain {
        let number = if self.port.known { self.port.port } else { 0 };
        http(&format!("{}{suffix}", self.names[0]), self.stats, self.cluster, number, self.log)
    }

    fn bytes(&self, suffix: &str) -> FilterChain {
        let chain = tcp_chain(self.cluster, self.port.options, self.log);
        filter::named(chain, &format!("{}{suffix}", self.names[1]))
    }

    /// A chain that leads nowhere.
    fn shut(&self) -> FilterChain {
        let chain = tcp_chain(names::BLACK_HOLE, TcpOptions::default(), self.log);
        filter::named(chain, &format!("{}-shut", self.names[1]))
    }

    /// A chain that opens the TLS of the mesh, and agrees to speak one of these in it.
    fn mutual(&self, chain: FilterChain, speaks: &[&str]) -> FilterChain {
        FilterChain {
            transport_socket: Some(tls::server(speaks, self.trust)),
            transport_socket_connect_timeout: Some(duration(TRANSPORT_TIMEOUT)),
            ..chain
        }
    }
}

fn all_tokens() -> Vec<&'static str> {
    HTTP_TOKENS.into_iter().chain(MESH_TOKENS).collect()
}

/// A chain only for TLS, whose client says one of these in ALPN; for none of them, whatever it says.
fn on_tls(mut chain: FilterChain, tokens: &[&str]) -> FilterChain {
    let wanted = chain.filter_chain_match.get_or_insert_default();
    wanted.application_protocols = tokens.iter().map(|token| (*token).to_owned()).collect();
    filter::for_transport(chain, "tls")
}
