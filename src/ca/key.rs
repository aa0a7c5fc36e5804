//! A private key that is overwritten when it goes: the one place where keys are made, read and written as PEM.
//!
//! Of what it is made of here nothing is left. What ring computes with it keeps while there is a key, and doesn't overwrite.

use crate::model::sensitive::Sensitive;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{Error, KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroize;

/// How many bytes a line of PEM says, in 64 characters.
const LINE: usize = 48;
const BEGIN: &[u8] = b"-----BEGIN PRIVATE KEY-----\n";
const END: &[u8] = b"-----END PRIVATE KEY-----\n";

/// A private key. It shows nothing of itself.
pub struct Key(KeyPair);

impl Key {
    /// A new one: ECDSA, P-256.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        KeyPair::generate().map(Self)
    }

    /// Reads one in PKCS#8 PEM; none if it is not one.
    pub fn of_pem(pem: &Sensitive) -> Option<Self> {
        let mut der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose()).ok()?;
        let pair = KeyPair::try_from(&der).ok();
        der.zeroize();
        pair.map(Self)
    }

    /// As PKCS#8 in PEM, put together here: libraries for PEM leave copies behind, and so does what grows while it is written.
    pub fn pem(&self) -> Sensitive {
        let lines = self.der().chunks(LINE);
        let length = BEGIN.len() + self.der().len().div_ceil(3) * 4 + lines.len() + END.len();
        let mut pem = Vec::with_capacity(length);
        pem.extend_from_slice(BEGIN);
        for line in lines {
            let at = pem.len();
            pem.resize(at + line.len().div_ceil(3) * 4, 0);
            BASE64_STANDARD.encode_slice(line, &mut pem[at..]).expect("there is room for it");
            pem.push(b'\n');
        }
        pem.extend_from_slice(END);
        debug_assert_eq!(pem.len(), length, "as long as foreseen");
        Sensitive::new(pem)
    }

    /// As PKCS#8 in DER.
    pub fn der(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// A copy for who speaks TLS with it.
    pub fn for_tls(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.der().to_vec().into())
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_is_what_others_write() {
        let key = Key::generate().expect("a key");
        let pem = key.pem();
        let read = Key::of_pem(&pem).expect("the same key");
        assert_eq!((read.der(), read.der_bytes()), (key.der(), key.der_bytes()));
        assert_eq!(String::from_utf8(pem.expose().to_vec()), Ok(key.0.serialize_pem()));
        assert!(Key::of_pem(&Sensitive::new(b"garbage".to_vec())).is_none());
    }

    /// The control: what is wiped below had been there.
    #[test]
    fn nothing_is_left_of_it() {
        let mut key = Key::generate().expect("a key");
        assert!(key.der().len() > 32);
        key.0.zeroize();
        assert!(key.der().is_empty());
    }
}
