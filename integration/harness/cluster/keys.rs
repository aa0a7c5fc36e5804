//! The keys of a cluster: the API server's certificate, and the pair that signs the tokens of ServiceAccounts.

use crate::harness::Outcome;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The names of the API server, as they are in a cluster.
const NAMES: [&str; 4] = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];

/// Where the files are that others than the API server are told of.
pub struct Keys {
    /// The certificate that the API server's is signed by.
    pub authority: PathBuf,
}

impl Keys {
    /// Makes new keys for an API server at an address and writes them into a folder.
    pub fn write(folder: &Path, ip: IpAddr) -> Outcome<Self> {
        let authority = folder.join("ca.crt");
        let issuer = issuer()?;
        fs::write(&authority, issuer.pem())?;
        let server = KeyPair::generate()?;
        let names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).chain([ip.to_string()]).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&server, &issuer)?;
        fs::write(folder.join("server.crt"), certificate.pem())?;
        fs::write(folder.join("server.key"), server.serialize_pem())?;
        rotate_accounts(folder, "")?;
        Ok(Self { authority })
    }
}

/// Makes another key that signs the tokens of ServiceAccounts; good is what it signs, and what these keys have signed.
pub fn rotate_accounts(folder: &Path, others: &str) -> Outcome<()> {
    let accounts = KeyPair::generate()?;
    fs::write(folder.join("accounts.key"), accounts.serialize_pem())?;
    Ok(fs::write(folder.join("accounts.pub"), accounts.public_key_pem() + others)?)
}

fn issuer() -> Outcome<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "cluster for tests");
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}
