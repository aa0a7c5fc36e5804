//! A certificate signing request (PKCS #10): its key is taken, once whoever sent it has shown to have the private one.
//!
//! Anything else it says, such as names, a subject or that it is for an authority, is not even looked at.

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, PublicKeyData, SubjectPublicKeyInfo};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use x509_parser::public_key::PublicKey;

/// The longest request that is looked at, in bytes: one with an RSA key of 8,192 bits has about three thousand.
pub const MAX_REQUEST: usize = 16 * 1024;
/// The sizes of RSA keys that are taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why nothing is signed for a request. No part of it is told.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RequestError {
    /// It is too long to be one.
    #[error("the certificate signing request is longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// It is none.
    #[error("it is not one certificate signing request in PEM")]
    Malformed,
    /// Its key is of a kind that is not taken.
    #[error("its key is neither ECDSA (P-256, P-384) nor RSA")]
    UnknownKey,
    /// Its key is too small, or larger than anybody should have to work with.
    #[error("its RSA key has {0} bits; at least 2048 and at most 8192 are taken")]
    Size(usize),
    /// It is signed in a way that is not taken.
    #[error("it is not signed with SHA-256, SHA-384 or, with an RSA key, SHA-512")]
    UnknownSignature,
    /// Whoever sent it has not the key.
    #[error("its signature is not one of its key")]
    Signature,
}

impl RequestError {
    /// A short word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            RequestError::TooLong => "csr_too_long",
            RequestError::Malformed => "csr_malformed",
            RequestError::UnknownKey | RequestError::Size(_) => "csr_key",
            RequestError::UnknownSignature | RequestError::Signature => "csr_signature",
        }
    }
}

/// The public key of who has shown to have the private one.
#[derive(Debug)]
pub struct RequestedKey(SubjectPublicKeyInfo);

impl RequestedKey {
    /// Takes the key from a request in PEM.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn of_pem(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > MAX_REQUEST {
            return Err(RequestError::TooLong);
        }
        let mut found = CertificateSigningRequestDer::pem_slice_iter(pem.as_bytes());
        let (Some(Ok(der)), None) = (found.next(), found.next()) else { return Err(RequestError::Malformed) };
        let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| RequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed);
        }
        let info = &request.certification_request_info;
        let key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| RequestError::UnknownKey)?;
        if let Ok(PublicKey::RSA(rsa)) = info.subject_pki.parsed() {
            let bits = bits(rsa.modulus);
            RSA_BITS.contains(&bits).then_some(()).ok_or(RequestError::Size(bits))?;
        }
        let way = way(&key, &request.signature_algorithm.algorithm.to_id_string())?;
        // What is verified with is what will be in the certificate.
        let verified = UnparsedPublicKey::new(way, key.der_bytes()).verify(info.raw, &request.signature_value.data);
        verified.map_err(|_| RequestError::Signature)?;
        Ok(Self(key))
    }

    /// The key, as it is signed.
    pub(super) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.0
    }
}

/// How a signature of that algorithm, by its object identifier, is verified with that key.
fn way(key: &SubjectPublicKeyInfo, algorithm: &str) -> Result<&'static dyn VerificationAlgorithm, RequestError> {
    const WITH_SHA256: &str = "1.2.840.10045.4.3.2";
    const WITH_SHA384: &str = "1.2.840.10045.4.3.3";
    const RSA: [(&str, &dyn VerificationAlgorithm); 3] = [
        ("1.2.840.113549.1.1.11", &RSA_PKCS1_2048_8192_SHA256),
        ("1.2.840.113549.1.1.12", &RSA_PKCS1_2048_8192_SHA384),
        ("1.2.840.113549.1.1.13", &RSA_PKCS1_2048_8192_SHA512),
    ];
    const P256: [(&str, &dyn VerificationAlgorithm); 2] =
        [(WITH_SHA256, &ECDSA_P256_SHA256_ASN1), (WITH_SHA384, &ECDSA_P256_SHA384_ASN1)];
    const P384: [(&str, &dyn VerificationAlgorithm); 2] =
        [(WITH_SHA256, &ECDSA_P384_SHA256_ASN1), (WITH_SHA384, &ECDSA_P384_SHA384_ASN1)];
    let ways = match key.algorithm() {
        kind if *kind == PKCS_RSA_SHA256 => &RSA[..],
        kind if *kind == PKCS_ECDSA_P256_SHA256 => &P256,
        kind if *kind == PKCS_ECDSA_P384_SHA384 => &P384,
        _ => return Err(RequestError::UnknownKey),
    };
    ways.iter().find(|(id, _)| *id == algorithm).map(|(_, way)| *way).ok_or(RequestError::UnknownSignature)
}

/// How many bits a number has, which is written with its most significant byte first.
fn bits(number: &[u8]) -> usize {
    let digits = number.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &number[first..]);
    digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize)
}
