//! What the certificate of somebody else says, whose signature has been verified already.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Who a certificate is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its one URI.
    pub uri: String,
    /// When it ends, in seconds since 1970.
    pub until: u64,
}

/// Reads a certificate; none unless it has exactly one URI among its names, and is not an authority's.
pub fn read(certificate: &CertificateDer) -> Option<Peer> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let (uri, another) = (uris.next()?, uris.next());
    let until = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    (another.is_none() && !parsed.is_ca()).then_some(Peer { uri, until })
}
