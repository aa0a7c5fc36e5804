//! Secrets, reduced to what TLS takes, and who may have them.
//!
//! Nothing here shows a key. That a workload may have a Secret is decided in one place, [`Grant::all`], before the Secret is
//! looked for: whoever holds no grant has no way to ask.

use super::audience::ProxyFacts;
use super::destination::DestinationRule;
use super::name::Name;
use super::object::Stored;
use super::provenance::{ObjectKey, ObjectKind};
use super::sensitive::Sensitive;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What follows the name of a Secret where its authorities are meant (Istio's rule).
pub const AUTHORITIES: &str = "-cacert";

/// A Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// A certificate and its key.
    pub pair: Option<Pair>,
    /// Certificates of authorities, as PEM.
    pub authorities: Option<Arc<str>>,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Pair {
    /// The certificate, and those between it and its authority, as PEM.
    pub chain: Arc<str>,
    /// The key, as PEM.
    pub key: Sensitive,
    /// When the certificate ends.
    pub ends: Ends,
}

/// When a certificate ends, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ends {
    /// In seconds since 1970.
    pub at: u64,
    /// The same in words.
    pub said: Arc<str>,
    /// The field of the Secret that the certificate stands in.
    pub field: Arc<str>,
}

impl Ends {
    /// What is wrong with it at that time, in seconds since 1970.
    pub fn complaint(&self, now: u64) -> Option<String> {
        (self.at <= now).then(|| format!("has expired: the certificate was good until {}", self.said))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.key.expose() == other.key.expose()
    }
}

impl Eq for Pair {}

/// A hash is shown in places, so there is nothing of the key in it: the certificate says which it is.
impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pair.as_ref().map(|pair| &pair.chain).hash(state);
        self.authorities.hash(state);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(pair: {}, authorities: {})", self.pair.is_some(), self.authorities.is_some())
    }
}

/// That a workload may have a Secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Grant(ObjectKey);

impl Grant {
    /// Every Secret that a proxy may have, sorted: it has proven who it is, and a rule of the namespace that it has proven
    /// names its workload and the Secret. `rules`: the DestinationRules of its namespace that name its workload.
    pub fn all(facts: &ProxyFacts, rules: &[Stored<DestinationRule>]) -> Vec<Grant> {
        let proven = facts.identity.as_ref().is_none_or(|identity| identity.namespace == facts.namespace);
        if !facts.authenticated || !proven {
            return Vec::new();
        }
        let named = rules.iter().flat_map(|rule| rule.credentials().map(|(_, credential)| &credential.secret));
        let mut grants: Vec<_> = named.filter(|key| key.namespace == facts.namespace).cloned().map(Grant).collect();
        grants.sort();
        grants.dedup();
        grants
    }

    /// The Secret.
    pub fn key(&self) -> &ObjectKey {
        &self.0
    }
}

/// The key of the Secret that holds the authorities alone, which comes before the one that is named.
pub fn authorities_of(secret: &ObjectKey) -> ObjectKey {
    let name = Name::from(format!("{}{AUTHORITIES}", secret.name));
    ObjectKey { kind: ObjectKind::Secret, name, namespace: secret.namespace.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::audience::Interception;
    use crate::model::destination::{ClientTls, Credential, ServerCheck, ServerTls, TrafficPolicy};
    use crate::model::identity::Identity;
    use crate::model::labels::Labels;
    use crate::model::name::Host;
    use crate::model::object::Meta;
    use crate::model::provenance::ObjectRef;

    fn rule(secret_in: &str, selector: Option<Labels>) -> Stored<DestinationRule> {
        let named = |kind, namespace: &str| ObjectKey { kind, namespace: namespace.into(), name: "far".into() };
        let credential = Credential { secret: named(ObjectKind::Secret, secret_in), shown: true };
        let server =
            ServerTls { certificate: None, credential: Some(credential), sni: None, check: ServerCheck::Unchecked };
        let policy = TrafficPolicy { tls: Some(ClientTls::Server(server)), ..TrafficPolicy::default() };
        let reference = ObjectRef { key: named(ObjectKind::DestinationRule, "shop"), uid: None, generation: None };
        let value =
            DestinationRule { host: Host::from("far.example"), policy, subsets: Vec::new(), exports: None, selector };
        Stored::new(Meta { reference, created: None }, value)
    }

    #[test]
    fn only_who_is_proven_and_named_has_a_grant() {
        let stranger = ProxyFacts::new("shop".into(), "a".into(), Interception::default());
        let proven = |namespace: &str| ProxyFacts {
            authenticated: true,
            identity: Some(Identity::new(namespace.into(), "a".into())),
            ..stranger.clone()
        };
        let own = rule("shop", Some(Labels::default()));
        assert_eq!(Grant::all(&proven("shop"), &[own.clone(), own.clone()]).len(), 1);
        assert_eq!(Grant::all(&stranger, std::slice::from_ref(&own)), []);
        assert_eq!(Grant::all(&proven("bank"), &[own]), [], "the namespace is only stated");
        assert_eq!(Grant::all(&proven("shop"), &[rule("bank", Some(Labels::default()))]), []);
        assert_eq!(Grant::all(&proven("shop"), &[rule("shop", None)]), [], "no workload is named");
    }

    #[test]
    fn nothing_shows_a_key() {
        let ends = Ends { at: 7, said: "seven".into(), field: "data".into() };
        let pair = |key: &str| {
            let key = Sensitive::new(key.as_bytes().to_vec());
            Pair { chain: "CHAIN".into(), key, ends: ends.clone() }
        };
        let secret = |key| Secret { pair: Some(pair(key)), authorities: None };
        assert_eq!(format!("{:?}", secret("PRIVATE")), "Secret(pair: true, authorities: false)");
        assert!(secret("a") == secret("a") && secret("a") != secret("b"));
    }
}
