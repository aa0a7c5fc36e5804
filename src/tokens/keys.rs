//! The public keys of who issues tokens: a JSON Web Key Set, as an API server has it at `/openid/v1/jwks`.

use super::crypto;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use thiserror::Error;

/// How many keys are taken from a set; API servers have two or three.
const MAX_KEYS: usize = 64;

/// Public keys. Cloning is cheap enough for what is done once per minute.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    key: DecodingKey,
}

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// It is not a set of keys.
    #[error("it is not a JSON Web Key Set: {0}")]
    Syntax(#[from] serde_json::Error),
    /// There is no key in it with which anything could be verified.
    #[error("the JSON Web Key Set has no RSA and no elliptic curve key")]
    Empty,
}

impl Keys {
    /// Reads a key set. Keys of other kinds are left out.
    ///
    /// # Errors
    /// If it is none, or has no key that can be used.
    pub fn of_jwks(text: &[u8]) -> Result<Self, KeysError> {
        let set: JwkSet = serde_json::from_slice(text)?;
        let keys: Vec<Key> = set.keys.iter().take(MAX_KEYS).filter_map(usable).collect();
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Self(keys)) }
    }

    /// One key of the curve P-256, by its uncompressed point.
    pub(super) fn of_point(id: String, point: &[u8]) -> Self {
        Self(vec![Key { id: Some(id), key: DecodingKey::from_ec_der(point) }])
    }

    /// The keys with which a token may have been signed that names this one, or none.
    pub(super) fn of(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &DecodingKey> {
        let fits = move |key: &&Key| id.is_none() || key.id.is_none() || key.id.as_deref() == id;
        let keys = self.0.iter().filter(fits).map(|key| &key.key);
        keys.filter(move |key| crypto::is_supported(algorithm) && key.family() == algorithm.family())
    }
}

fn usable(jwk: &Jwk) -> Option<Key> {
    // The library works out what a secret key's family is as well, which nobody shares with us.
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let is_public = [Algorithm::RS256, Algorithm::ES256].iter().any(|algorithm| algorithm.family() == key.family());
    is_public.then(|| Key { id: jwk.common.key_id.clone(), key })
}
