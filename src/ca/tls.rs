//! How the server speaks TLS: with a certificate that the authority has signed, and with clients that may have one too.

use super::authority::{Authority, Served};
use super::material::{CaError, names};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use std::sync::Arc;

/// HTTP/2, which is all that gRPC speaks.
const ALPN: &[u8] = b"h2";

/// What lasts longer than a certificate: the keys of resumed sessions, and who says what time it is.
pub struct Tls {
    provider: Arc<CryptoProvider>,
    clock: Arc<dyn TimeProvider>,
    tickets: Tickets,
}

/// The keys of sessions, and the roots that were trusted when those began: who resumes one shows no certificate again, and
/// is taken for who it was then.
struct Tickets {
    roots: String,
    keys: Arc<dyn ProducesTickets>,
}

impl Tickets {
    fn new(roots: String) -> Result<Self, rustls::Error> {
        Ok(Self { roots, keys: rustls::crypto::ring::Ticketer::new()? })
    }
}

impl Tls {
    /// New keys. Certificates of clients are good or not by that clock.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn new(clock: Arc<dyn TimeProvider>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(Self { provider, clock, tickets: Tickets::new(String::new())? })
    }

    /// Accepts who trusts the authority. A client's certificate is verified if it has one. Sessions of before go on, unless
    /// other roots are trusted than then.
    ///
    /// # Errors
    /// If the certificate or the roots can't be used, or the system gives no randomness.
    pub fn server(&mut self, served: Served, authority: &Authority) -> Result<ServerConfig, CaError> {
        let unusable = |error: &dyn std::fmt::Display| CaError::Part { part: names::ROOTS, reason: error.to_string() };
        let roots = Arc::new(authority.root_store());
        let clients = WebPkiClientVerifier::builder_with_provider(roots, self.provider.clone());
        let clients = clients.allow_unauthenticated().build().map_err(|error| unusable(&error))?;
        let builder = ServerConfig::builder_with_details(self.provider.clone(), self.clock.clone());
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| unusable(&error))?.with_client_cert_verifier(clients);
        let mut config = builder.with_single_cert(served.chain, served.key).map_err(|error| unusable(&error))?;
        let trusted = authority.bundle();
        if trusted != self.tickets.roots {
            self.tickets = Tickets::new(trusted).map_err(|error| unusable(&error))?;
        }
        (config.alpn_protocols, config.ticketer) = (vec![ALPN.to_vec()], self.tickets.keys.clone());
        Ok(config)
    }
}
