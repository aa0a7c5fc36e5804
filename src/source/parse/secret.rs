//! Secrets for TLS: a certificate with its key, and certificates of authorities, under the names that Istio reads.
//!
//! Reached by the Secrets of the namespaces that may be read; only material that is sound leaves, keys as what nobody can
//! show. No value of a Secret is ever in a note. What is not for TLS is none of our business, and nothing is said of it.

use super::notes::Notes;
use crate::model::secret::{Ends, Pair, Secret};
use crate::model::sensitive::Sensitive;
use k8s_openapi::ByteString;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

/// The types of Secret that are read; one that states none is the second.
const TYPES: [&str; 2] = ["kubernetes.io/tls", "Opaque"];
/// The names of a certificate and its key, those that come first first (Istio's order).
const PAIRS: [(&str, &str); 2] = [("cert", "key"), ("tls.crt", "tls.key")];
/// The names of authorities, likewise.
const AUTHORITIES: [&str; 2] = ["cacert", "ca.crt"];
/// Names that Istio reads as well, and that have no effect.
const REVOKED: [&str; 2] = ["crl", "ca.crl"];

/// Parses a Secret; none if there is nothing for TLS in it.
pub fn parse(value: &Value, notes: &mut Notes) -> Option<Secret> {
    let stated = value.get("type").and_then(Value::as_str).filter(|stated| !stated.is_empty());
    if !TYPES.contains(&stated.unwrap_or(TYPES[1])) {
        return None;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut data = Data { value, notes };
    let pair = PAIRS.into_iter().find(|(chain, key)| data.has(chain) && data.has(key));
    let pair = pair.and_then(|(chain, key)| data.pair(chain, key, now));
    let authorities = AUTHORITIES.into_iter().find(|name| data.has(name)).and_then(|name| data.authorities(name));
    REVOKED.into_iter().for_each(|name| data.without_effect(name));
    (pair.is_some() || authorities.is_some()).then_some(Secret { pair, authorities })
}

/// Overwrites every text in the document of a Secret, once it was read.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(values) => values.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What a Secret holds, and what is wrong with it.
struct Data<'a> {
    value: &'a Value,
    notes: &'a mut Notes,
}

impl Data<'_> {
    fn get(&self, place: &str, name: &str) -> Option<&Value> {
        self.value.get(place)?.get(name).filter(|value| value.as_str().is_none_or(|text| !text.is_empty()))
    }

    fn has(&self, name: &str) -> bool {
        ["stringData", "data"].iter().any(|place| self.get(place, name).is_some())
    }

    /// Where a name stands: what is written as text comes before what is encoded (as in Kubernetes).
    fn field(&self, name: &str) -> String {
        let place = if self.get("stringData", name).is_some() { "stringData" } else { "data" };
        crate::source::yaml::marks::key(place, name)
    }

    fn bytes(&mut self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = match (self.get("stringData", name), self.get("data", name)) {
            (Some(text), _) => text.as_str().map(|text| text.as_bytes().to_vec()).ok_or("is not a text"),
            (None, Some(text)) => ByteString::deserialize(text).map(|bytes| bytes.0).map_err(|_| "is not in base64"),
            (None, None) => return None,
        };
        bytes.map(Zeroizing::new).map_err(|text| self.notes.error(self.field(name), text)).ok()
    }

    /// Certificates in PEM: their text, and the first of them.
    fn certificates(&mut self, name: &str) -> Option<(String, CertificateDer<'static>)> {
        let bytes = self.bytes(name)?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let all = all.ok().filter(|all| all.iter().all(|der| X509Certificate::from_der(der).is_ok()));
        let first = all.and_then(|all| all.into_iter().next());
        let text = std::str::from_utf8(&bytes).ok().map(str::to_owned);
        let mut found = text.zip(first);
        if found.is_none() {
            self.notes.error(self.field(name), "is not a certificate in PEM");
        }
        // It is told to everybody who may have the Secret, and shown: a key that stands beside a certificate would be, too.
        if found.take_if(|(text, _)| text.contains("PRIVATE KEY-----")).is_some() {
            self.notes.error(self.field(name), "has a private key in it, which belongs in a field of its own");
        }
        found
    }

    fn without_effect(&mut self, name: &str) {
        if self.has(name) {
            let text = "has no effect: certificates that were revoked are taken all the same";
            self.notes.warning(self.field(name), text);
        }
    }

    fn authorities(&mut self, name: &str) -> Option<Arc<str>> {
        self.certificates(name).map(|(text, _)| text.into())
    }

    fn pair(&mut self, chain: &str, key: &str, now: u64) -> Option<Pair> {
        let (certificates, bytes) = (self.certificates(chain), self.bytes(key));
        let ((text, der), bytes) = (certificates?, bytes?);
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let until = certificate.validity().not_after;
        let at = u64::try_from(until.timestamp()).unwrap_or(0);
        let ends = Ends { at, said: until.to_string().into(), field: self.field(chain).into() };
        if let Some(text) = ends.complaint(now) {
            self.notes.error(self.field(chain), text);
        }
        let known = PrivateKeyDer::from_pem_slice(&bytes).ok();
        let known = known.and_then(|key| rustls::crypto::ring::sign::any_supported_type(&key).ok());
        match known.map(|known| known.public_key().map(|public| public.as_ref().to_vec())) {
            None => self
                .notes
                .error(self.field(key), "is not a private key in PEM: RSA from 2048 bits, P-256, P-384 or Ed25519"),
            Some(Some(public)) if public != certificate.public_key().raw => {
                self.notes
                    .error(self.field(key), format!("is the key of another certificate than {}", self.field(chain)));
            }
            Some(_) => return Some(Pair { chain: text.into(), key: Sensitive::new(bytes.to_vec()), ends }),
        }
        None
    }
}
