//! Secrets as Envoy takes them: what a workload shows others, and what it trusts; as a member of the mesh, and out of the
//! Secrets of its namespace that it may have.
//!
//! The version of a certificate says what it is: who signed it, for whom, and when it ends. So a client that comes back, be
//! it to another replica, is sent another one only when there is reason to.

use super::names;
use super::unit::{Inputs, Selection};
use crate::model::object::Stored;
use crate::model::provenance::Provenance;
use crate::model::secret::{Grant, Pair, Secret as Held};
use crate::model::sensitive::Sensitive;
use crate::model::tracked::Tracked;
use crate::snapshot::kind::Kind;
use crate::snapshot::resource::{AUTHORITIES, CERTIFICATE, Resource, Version};
use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate,
};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};
use zeroize::Zeroize;

/// What a workload's certificate says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement<'a> {
    /// Which certificate signed it.
    pub signer: u64,
    /// For whom.
    pub spiffe: &'a str,
}

impl Statement<'_> {
    /// The version of a certificate that says this and ends then, in seconds since 1970.
    pub fn version(&self, until: u64) -> Version {
        Version(u128::from(self.hash()) << 64 | u128::from(until))
    }

    /// When the certificate of a version ends, if it says this.
    pub fn until(&self, version: Version) -> Option<u64> {
        let (hash, until) = (version.0 >> 64, version.0 & u128::from(u64::MAX));
        (hash == u128::from(self.hash())).then_some(until as u64)
    }

    fn hash(&self) -> u64 {
        let mut hasher = Xxh3::new();
        hasher.update(&self.signer.to_be_bytes());
        hasher.update(self.spiffe.as_bytes());
        hasher.digest()
    }
}

/// Selects what a workload may have under a name.
pub(super) fn select(world: &Tracked, grant: &Grant) -> Selection {
    let [pair, authorities] = world.granted(grant);
    let pair = pair.map(|secret| Inputs::Pair(names::pair(grant.key()).into(), secret));
    let authorities = authorities.map(|secret| Inputs::Authorities(names::authorities(grant.key()).into(), secret));
    Selection::of_inputs(pair.into_iter().chain(authorities))
}

/// A certificate and its key out of a Secret. The version is that of the certificate, as it is shown: a key has no other.
pub(super) fn pair(name: &str, secret: &Stored<Held>) -> Resource {
    let Pair { chain, key, .. } = secret.pair.as_ref().expect("only a Secret with a pair is selected");
    let version = Version(xxh3_128(chain.as_bytes()));
    shown(name, version, chain, key).shaped_by([secret.reference()].into_iter().collect())
}

/// Authorities out of a Secret.
pub(super) fn authorities(name: &str, secret: &Stored<Held>) -> Resource {
    let pem = secret.authorities.as_ref().expect("only a Secret with authorities is selected");
    trusted(name, pem, [secret.reference()].into_iter().collect())
}

/// The certificate of a workload, with those that lead to the root, and its key: what `issue` gives when it is sent for the
/// first time. If that is nothing, it is a secret without content, which a client refuses, and keeps what it has.
pub fn certificate(
    version: Version,
    issue: impl Fn() -> Option<(String, Sensitive)> + Send + Sync + 'static,
) -> Resource {
    Resource::later(CERTIFICATE, version, move || match issue() {
        Some((chain, key)) => shown(CERTIFICATE, version, &chain, &key),
        None => Resource::sealed(CERTIFICATE, version, &Secret { name: CERTIFICATE.to_owned(), r#type: None }),
    })
}

fn shown(name: &str, version: Version, chain: &str, key: &Sensitive) -> Resource {
    let certificate = TlsCertificate {
        certificate_chain: Some(inline(chain.as_bytes())),
        private_key: Some(inline(key.expose())),
        ..TlsCertificate::default()
    };
    let mut secret = named(name, Type::TlsCertificate(certificate));
    let sealed = Resource::sealed(name, version, &secret);
    if let Some(Type::TlsCertificate(certificate)) = &mut secret.r#type
        && let Some(DataSource { specifier: Some(Specifier::InlineBytes(key)), .. }) = &mut certificate.private_key
    {
        key.zeroize();
    }
    sealed
}

/// What a workload trusts.
pub fn roots(pem: &str) -> Resource {
    trusted(AUTHORITIES, pem, Provenance::default())
}

fn trusted(name: &str, pem: &str, provenance: Provenance) -> Resource {
    let trusted = CertificateValidationContext {
        trusted_ca: Some(inline(pem.as_bytes())),
        ..CertificateValidationContext::default()
    };
    let secret = named(name, Type::ValidationContext(trusted));
    Resource::new(Kind::Secret, name, &secret, Vec::new(), provenance)
}

fn named(name: &str, r#type: Type) -> Secret {
    Secret { name: name.to_owned(), r#type: Some(r#type) }
}

fn inline(bytes: &[u8]) -> DataSource {
    DataSource { specifier: Some(Specifier::InlineBytes(bytes.to_vec())), ..DataSource::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_what_a_certificate_is() {
        let statement = Statement { signer: 7, spiffe: "spiffe://td/ns/a/sa/b" };
        let version = statement.version(1_900_000_000);
        assert_eq!(
            Version::parse(&version.to_string()).and_then(|version| statement.until(version)),
            Some(1_900_000_000)
        );
        assert_eq!(Statement { signer: 8, ..statement }.until(version), None);
        assert_eq!(Statement { spiffe: "spiffe://td/ns/a/sa/c", ..statement }.until(version), None);
    }

    #[test]
    fn nothing_shows_a_key() {
        let key = Sensitive::new(b"PRIVATE".to_vec());
        let resource = certificate(Version(1), move || Some(("CHAIN".to_owned(), key.clone())));
        assert!(!format!("{resource:?}").contains("80, 82, 73") && !format!("{resource:?}").contains("PRIVATE"));
        let secret: Secret = resource.message().expect("a secret");
        let delivered =
            matches!(secret.r#type, Some(Type::TlsCertificate(tls)) if tls.private_key == Some(inline(b"PRIVATE")));
        assert!(delivered, "it is delivered all the same");
    }
}
