//! Who this replica is to the others: a key made at its start, and a certificate of it that only the others need to know.
//!
//! There is no authority: each replica says its certificate where only replicas may write, and is believed to be who it is
//! by that very certificate.

use crate::ca::key::Key;
use rcgen::CertificateParams;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;
use thiserror::Error;

/// The name in every certificate.
const NAME: &str = "peer.chancery";

/// Why there is no identity, or none can be checked.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// No key or certificate can be made.
    #[error("no key for the talk among replicas can be made: {0}")]
    Key(#[from] rcgen::Error),
    /// What is to be believed can't be.
    #[error("a certificate for the talk among replicas can't be used: {0}")]
    Certificate(String),
}

/// A key and its certificate. The key is never shown.
pub struct Identity {
    key: Key,
    certificate: CertificateDer<'static>,
    pem: String,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn new() -> Result<Self, IdentityError> {
        let key = Key::generate()?;
        let certificate = CertificateParams::new([NAME.to_owned()])?.self_signed(&key)?;
        let (pem, provider) = (certificate.pem(), Arc::new(rustls::crypto::ring::default_provider()));
        Ok(Self { key, certificate: certificate.der().clone(), pem, provider })
    }

    /// The certificate, for the others to know.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// How to accept connections of those who have one of these certificates, and of nobody else.
    ///
    /// # Errors
    /// If a certificate is none, or there is none.
    pub fn server(&self, others: &[String]) -> Result<ServerConfig, IdentityError> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(others)?), self.provider.clone());
        let builder = builder.with_client_cert_verifier(verifier.build().map_err(unusable)?);
        builder.with_single_cert(vec![self.certificate.clone()], self.key.for_tls()).map_err(unusable)
    }

    /// How to connect to who has that certificate.
    ///
    /// # Errors
    /// If it is none.
    pub fn client(&self, other: &str) -> Result<ClientConfig, IdentityError> {
        ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots(&[other.to_owned()])?)
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.for_tls())
            .map_err(unusable)
    }
}

/// The name that the other side's certificate has.
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("it is a DNS name")
}

/// Whether a text is a certificate that can be believed.
pub fn is_certificate(pem: &str) -> bool {
    roots(&[pem.to_owned()]).is_ok()
}

fn roots(certificates: &[String]) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for pem in certificates {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).map_err(unusable)?).map_err(unusable)?;
    }
    Ok(roots)
}

fn unusable(error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Certificate(error.to_string())
}
