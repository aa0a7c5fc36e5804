//! An authority for tests, and certificates that name workloads.

use super::Outcome;
use ::chancery::ca::authority::Authority as Signing;
use ::chancery::ca::folder::Folder;
use ::chancery::clock::Clock;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};
use std::path::Path;

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    pub certificate: String,
}

/// A certificate and its key, both as PEM.
#[derive(Clone)]
pub struct Certificate {
    /// The certificate.
    pub chain: String,
    /// The key.
    pub key: String,
}

/// A certificate for an hour with that URI as its only name, of chancery's own authority in that directory.
pub fn issued(identity: &Path, name: &str) -> Outcome<Certificate> {
    let now = Clock::system().now();
    let authority = Signing::new(&Folder::new(identity).read_all()?, now)?;
    let issued = authority.issue(name, now, now + 3600)?;
    Ok(Certificate { chain: issued.chain, key: String::from_utf8(issued.key.expose().to_vec())? })
}

impl Authority {
    /// A new one.
    pub fn new() -> Outcome<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of the test");
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// A certificate with that URI as its only name.
    pub fn issue(&self, name: &str) -> Outcome<Certificate> {
        self.sign(SanType::URI(Ia5String::try_from(name)?))
    }

    /// A certificate with that DNS name as its only one.
    pub fn issue_for_host(&self, name: &str) -> Outcome<Certificate> {
        self.sign(SanType::DnsName(Ia5String::try_from(name)?))
    }

    fn sign(&self, name: SanType) -> Outcome<Certificate> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.subject_alt_names = vec![name];
        // With the name of its issuer it would be one that signed itself.
        params.distinguished_name = DistinguishedName::new();
        let chain = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { chain, key: key.serialize_pem() })
    }
}
