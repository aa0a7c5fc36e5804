//! Who issues tokens where no cluster does: a key on the machine where the folder of manifests is.

use super::claims::{Audiences, Claims, Kubernetes, subject};
use super::crypto;
use super::keys::Keys;
use crate::ca::key::Key;
use crate::model::identity::Identity;
use crate::model::sensitive::Sensitive;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::PublicKeyData;
use std::time::Duration;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

/// Who issues tokens, as they say it.
pub const ISSUER: &str = "chancery";

/// Why no token can be issued.
#[derive(Debug, Error)]
pub enum IssuerError {
    /// The key is none of the kind that is needed.
    #[error("the issuer's key is not an elliptic curve key (P-256) in PKCS#8 PEM")]
    Key,
    /// No key can be made, or nothing signed.
    #[error("the system can't sign a token")]
    Sign,
}

/// A key with which tokens are signed.
pub struct Issuer {
    key: EncodingKey,
    id: String,
    point: Vec<u8>,
}

impl Issuer {
    /// A new key, as PEM.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn new_key() -> Result<Sensitive, IssuerError> {
        Ok(Key::generate().map_err(|_| IssuerError::Sign)?.pem())
    }

    /// Reads a key.
    ///
    /// # Errors
    /// If it is not one.
    pub fn of_pem(pem: &Sensitive) -> Result<Self, IssuerError> {
        let key = Key::of_pem(pem).filter(|key| *key.algorithm() == rcgen::PKCS_ECDSA_P256_SHA256);
        let key = key.ok_or(IssuerError::Key)?;
        let (point, key) = (key.der_bytes().to_vec(), EncodingKey::from_ec_der(key.der()));
        Ok(Self { key, id: format!("{:016x}", xxh3_64(&point)), point })
    }

    /// The key with which its tokens are verified.
    pub fn keys(&self) -> Keys {
        Keys::of_point(self.id.clone(), &self.point)
    }

    /// Issues a token that is valid from `now`, in seconds since 1970.
    ///
    /// # Errors
    /// If the system can't sign.
    pub fn issue(&self, identity: &Identity, audience: &str, now: u64, lasts: Duration) -> Result<String, IssuerError> {
        crypto::install();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: Audiences::Many(vec![audience.into()]),
            sub: subject(identity),
            exp: now.saturating_add(lasts.as_secs()),
            nbf: Some(now),
            iat: Some(now),
            kubernetes: Kubernetes::of(identity),
        };
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|_| IssuerError::Sign)
    }
}
