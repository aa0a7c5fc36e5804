//! What an authority is made of: its certificate and key, the chain from its root to it, and the roots.

use super::key::Key;
use crate::model::sensitive::Sensitive;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, date_time_ymd};
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// How long a root lasts that is made here.
const ROOT_LASTS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far back the beginning of every certificate is dated: clocks differ.
const BACK_DATED: Duration = Duration::from_secs(15 * 60);

/// Certificates and the key of an authority, as PEM.
#[derive(Clone)]
pub struct Material {
    /// What is to be trusted: one root, or several while one takes over from the other.
    pub roots: String,
    /// The certificate that signs: the first, where there are several.
    pub certificate: String,
    /// Its key.
    pub key: Sensitive,
    /// The certificates between it and its root, itself first; may be empty where it is the root.
    pub chain: String,
    /// What the parts are called where they come from.
    pub form: Form,
}

/// What the parts of an authority are called where it is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As in Istio's `cacerts`: by their [`names`].
    Cacerts,
    /// As in a Secret of the type `kubernetes.io/tls` that has the roots as well, which is what cert-manager writes, and what
    /// Istio takes for a `cacerts`, too. The certificate that signs and those between it and its root are one part.
    Tls,
}

impl Form {
    /// What a part is called that is one of [`names`].
    pub fn name(self, part: &'static str) -> &'static str {
        match (self, part) {
            (Form::Tls, names::KEY) => "tls.key",
            (Form::Tls, names::ROOTS) => "ca.crt",
            (Form::Tls, names::CERTIFICATE | names::CHAIN) => "tls.crt",
            _ => part,
        }
    }

    /// The same error with the name of its part, if that is one of [`names`].
    pub fn named(self, error: CaError) -> CaError {
        match error {
            CaError::Part { part, reason } => CaError::Part { part: self.name(part), reason },
            other => other,
        }
    }
}

/// The names of the parts, as files and as keys of a Secret: those of Istio's `cacerts`. [`Form`] has others.
pub mod names {
    /// All of them.
    pub const ALL: [&str; 4] = [ROOTS, CERTIFICATE, KEY, CHAIN];
    /// [`super::Material::roots`].
    pub const ROOTS: &str = "root-cert.pem";
    /// [`super::Material::certificate`].
    pub const CERTIFICATE: &str = "ca-cert.pem";
    /// [`super::Material::key`].
    pub const KEY: &str = "ca-key.pem";
    /// [`super::Material::chain`].
    pub const CHAIN: &str = "cert-chain.pem";
}

/// Why there is no authority, or nothing signed.
#[derive(Debug, Error)]
pub enum CaError {
    /// A part is not what it should be.
    #[error("{part}: {reason}")]
    Part {
        /// Which, by the name that it has where it is kept.
        part: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing can be signed.
    #[error("nothing can be signed: {0}")]
    Sign(#[from] rcgen::Error),
}

impl CaError {
    /// The time of that part is over.
    pub fn expired(part: &'static str) -> Self {
        CaError::Part { part, reason: "it has expired".to_owned() }
    }

    /// The time of the certificate that signs has not come.
    pub fn early() -> Self {
        CaError::Part { part: names::CERTIFICATE, reason: "it is not valid yet".to_owned() }
    }
}

impl Material {
    /// What those parts make, by [`names`], which come from where they are called as in `form`.
    ///
    /// # Errors
    /// If one is missing; only the chain may be.
    pub fn of_parts(parts: &BTreeMap<&'static str, Sensitive>, form: Form) -> Result<Self, CaError> {
        let missing = |part| CaError::Part { part: form.name(part), reason: "it is missing".to_owned() };
        let part = |part| parts.get(part).ok_or_else(|| missing(part));
        let shown = |part: &Sensitive| String::from_utf8_lossy(part.expose()).into_owned();
        let (roots, certificate) = (part(names::ROOTS).map(shown)?, part(names::CERTIFICATE).map(shown)?);
        let chain = part(names::CHAIN).map(shown).unwrap_or_default();
        Ok(Self { roots, certificate, key: part(names::KEY)?.clone(), chain, form })
    }

    /// A new root that signs itself; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn self_signed(now: u64) -> Result<Self, CaError> {
        let key = Key::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "chancery root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        date(&mut params, now, now + ROOT_LASTS.as_secs());
        let root = params.self_signed(&key)?.pem();
        Ok(Self { roots: root.clone(), certificate: root, key: key.pem(), chain: String::new(), form: Form::Cacerts })
    }
}

/// Says when a certificate begins that is signed now, and when it ends; both in seconds since 1970.
pub(super) fn date(params: &mut CertificateParams, now: u64, until: u64) {
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = at(now.saturating_sub(BACK_DATED.as_secs()));
    params.not_after = at(until);
}
