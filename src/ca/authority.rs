//! Signs: certificates of workloads, which say one SPIFFE ID and nothing else, and of this server.

use super::key::Key;
use super::material::{CaError, Form, Material, date, names};
use super::request::RequestedKey;
use crate::model::sensitive::Sensitive;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyUsagePurpose, PublicKeyData, SanType,
    string::Ia5String,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;
use xxhash_rust::xxh3::xxh3_64;

/// An authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, Key>,
    id: u64,
    /// What is sent after a certificate, so that who knows only the root finds the way.
    chain: String,
    roots: String,
    from: u64,
    until: u64,
    /// The part that ends then.
    ends: &'static str,
    form: Form,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate, and those between it and the root.
    pub chain: String,
    /// The key.
    pub key: Sensitive,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

/// A certificate and its key for who speaks TLS here.
pub struct Served {
    /// The certificate, and those between it and the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

impl Authority {
    /// An authority of that material; `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If a part is not what it should be, the key is another's, or the certificate can't sign now, or not so that the
    /// roots vouch for it. Parts have the names of the material's form.
    pub fn new(material: &Material, now: u64) -> Result<Self, CaError> {
        Self::of(material, now).map_err(|error| material.form.named(error))
    }

    fn of(material: &Material, now: u64) -> Result<Self, CaError> {
        let wrong = |part, reason: &str| CaError::Part { part, reason: reason.to_owned() };
        let key = Key::of_pem(&material.key);
        let key = key.ok_or_else(|| wrong(names::KEY, "it is not a private key in PKCS#8 PEM"))?;
        let der = certificates(&material.certificate, names::CERTIFICATE)?.swap_remove(0);
        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|_| wrong(names::CERTIFICATE, "it is no certificate"))?;
        if !parsed.is_ca() {
            return Err(wrong(names::CERTIFICATE, "it is not the certificate of an authority"));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(wrong(names::KEY, "it is the key of another certificate"));
        }
        let (from, until) = (seconds(parsed.validity().not_before), seconds(parsed.validity().not_after));
        if until <= now {
            return Err(CaError::expired(names::CERTIFICATE));
        }
        let id = xxh3_64(&der);
        let issuer =
            Issuer::from_ca_cert_der(&der, key).map_err(|error| wrong(names::CERTIFICATE, &error.to_string()))?;
        let roots = certificates(&material.roots, names::ROOTS)?;
        let chain = if roots.contains(&der) { String::new() } else { chain(material) };
        let (form, ends) = (material.form, names::CERTIFICATE);
        let authority = Self { issuer, id, chain, roots: material.roots.clone(), from, until, ends, form };
        let (until, ends) = authority.vouched(&roots, now)?;
        if until <= now {
            return Err(CaError::expired(ends));
        }
        Ok(Self { until, ends, ..authority })
    }

    /// Which certificate signs: another one has another id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What is to be trusted, as PEM.
    pub fn roots(&self) -> &str {
        &self.roots
    }

    /// The same as a ClusterTrustBundle has to have it: each certificate once, and nothing around them.
    pub fn bundle(&self) -> String {
        let mut once = Vec::new();
        for root in pems(&self.roots) {
            if !once.contains(&root) {
                once.push(root);
            }
        }
        once.concat()
    }

    /// When its certificate begins, in seconds since 1970.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Until when what it signs is taken, in seconds since 1970: its certificate ends then, or one of those between it and the
    /// roots, or the last of the roots that vouch for it. Nothing it signs lasts longer.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Says of the part that ends first that it has.
    pub fn expired(&self) -> CaError {
        CaError::expired(self.ends)
    }

    /// What its parts are called where they come from.
    pub fn form(&self) -> Form {
        self.form
    }

    /// What is to be trusted.
    pub fn root_store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        let roots = certificates(&self.roots, names::ROOTS).unwrap_or_default();
        roots.into_iter().for_each(|root| _ = store.add(root));
        store
    }

    /// When a certificate ends that is signed at `now` and is to last until `until`.
    ///
    /// # Errors
    /// If nothing can be signed.
    pub fn term(&self, now: u64, until: u64) -> Result<u64, CaError> {
        // Whatever somebody thinks the time is: nothing is signed that is over when it begins.
        (self.until > now).then_some(until.min(self.until)).ok_or_else(|| self.expired())
    }

    /// A certificate of a new key that says one SPIFFE ID, for who has proven it.
    ///
    /// # Errors
    /// If nothing can be signed.
    pub fn issue(&self, spiffe: &str, now: u64, until: u64) -> Result<Issued, CaError> {
        let (key, until) = (Key::generate()?, self.term(now, until)?);
        let certificate = self.sign(workload(spiffe)?, &key, now, until)?;
        Ok(Issued { chain: certificate.pem() + &self.chain, key: key.pem(), until })
    }

    /// A certificate of somebody's own key that says one SPIFFE ID, for who has proven it: itself first, then those between
    /// it and the root, and last all that is trusted, in one. So Istio's agents expect it.
    ///
    /// # Errors
    /// If nothing can be signed.
    pub fn certify(&self, key: &RequestedKey, spiffe: &str, now: u64, until: u64) -> Result<Vec<String>, CaError> {
        let certificate = self.sign(workload(spiffe)?, key.key(), now, self.term(now, until)?)?;
        let roots = pems(&self.roots);
        let between = pems(&self.chain).into_iter().filter(|one| !roots.contains(one));
        Ok([certificate.pem()].into_iter().chain(between).chain([roots.concat()]).collect())
    }

    /// A certificate for this server, which says DNS names only: no workload has one of those.
    ///
    /// # Errors
    /// If a name is none, or nothing can be signed.
    pub fn serve(&self, server_names: &[String], now: u64, lasts: Duration) -> Result<Served, CaError> {
        let mut params = CertificateParams::new(server_names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (key, until) = (Key::generate()?, self.term(now, now + lasts.as_secs())?);
        let certificate = self.sign(params, &key, now, until)?;
        let between = certificates(&self.chain, names::CHAIN).unwrap_or_default();
        let chain = [certificate.der().clone()].into_iter().chain(between).collect();
        Ok(Served { chain, key: key.for_tls(), until })
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        now: u64,
        until: u64,
    ) -> Result<rcgen::Certificate, CaError> {
        params.distinguished_name = DistinguishedName::new();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        date(&mut params, now, until);
        Ok(params.signed_by(key, &self.issuer)?)
    }

    /// Signs something, and looks until when who trusts the roots takes it, and which part ends then.
    ///
    /// Who verifies by webpki looks at the time of every certificate but that of the root; Envoy at that as well.
    fn vouched(&self, roots: &[CertificateDer<'static>], now: u64) -> Result<(u64, &'static str), CaError> {
        let issued = self.issue("spiffe://check/ns/check/sa/check", now, self.until)?;
        let mut chain = certificates(&issued.chain, names::CHAIN)?;
        let leaf = chain.remove(0);
        taken(self.root_store(), &leaf, &chain, now)?;
        let mut ends: Vec<u64> = chain.iter().filter_map(end).chain([self.until]).collect();
        ends.sort_unstable();
        let by = |root: &CertificateDer<'static>| {
            let mut alone = RootCertStore::empty();
            alone.add(root.clone()).ok()?;
            let taken = |at| taken(alone.clone(), &leaf, &chain, at).ok();
            taken(now)?;
            let last = ends.iter().rev().copied().find(|at| taken(*at).is_some())?;
            let part = if last == self.until { names::CERTIFICATE } else { names::CHAIN };
            Some((last, part).min((end(root)?, names::ROOTS)))
        };
        roots.iter().filter_map(by).max().ok_or_else(|| CaError::expired(names::CHAIN))
    }
}

/// Whether who trusts those takes a certificate at that time, in seconds since 1970.
fn taken(
    roots: RootCertStore,
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    at: u64,
) -> Result<(), CaError> {
    let wrong = |reason: String| CaError::Part { part: names::CHAIN, reason };
    let provider = rustls::crypto::ring::default_provider().into();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .map_err(|error| CaError::Part { part: names::ROOTS, reason: error.to_string() })?;
    let at = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(at));
    let verified = verifier.verify_client_cert(leaf, chain, at);
    verified.map(drop).map_err(|error| wrong(format!("the roots don't vouch for what is signed: {error}")))
}

/// When a certificate ends, in seconds since 1970.
pub(super) fn end(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(seconds(parsed.validity().not_after))
}

fn seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

/// What the certificate of a workload says besides its key and its time.
fn workload(spiffe: &str) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(spiffe)?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

/// What lies between the certificate that signs and the root, itself first.
fn chain(material: &Material) -> String {
    match material.chain.trim() {
        "" => material.certificate.clone(),
        _ => material.chain.clone(),
    }
}

/// The certificates in a PEM text; there is at least one.
pub(super) fn certificates(pem: &str, part: &'static str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(CaError::Part { part, reason: "it is not a certificate in PEM".to_owned() }),
    }
}

/// The certificates in a PEM text, one each, without what is written around them.
fn pems(text: &str) -> Vec<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = text.split_inclusive(END).filter_map(|block| block.find(BEGIN).map(|begins| &block[begins..]));
    blocks.map(|block| block.replace('\r', "") + "\n").collect()
}
