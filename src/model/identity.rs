//! Who a workload is, once it has proven it.

use super::name::{Name, Namespace};
use super::pod::Pod;
use std::fmt;
use std::sync::Arc;

/// The Pod that a credential is bound to: a name, and the one object that ever has this UID.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BoundPod {
    /// `metadata.name`.
    pub name: Name,
    /// `metadata.uid`; empty where the source of objects has none, as a folder of manifests.
    pub uid: Arc<str>,
}

/// What a credential has proven. Nothing else may say who a workload is: what a node states is a claim.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Identity {
    /// The namespace.
    pub namespace: Namespace,
    /// The service account it runs as.
    pub service_account: Name,
    /// The Pod, where the credential is bound to one.
    pub pod: Option<BoundPod>,
}

impl Identity {
    /// An identity that is bound to no Pod.
    pub fn new(namespace: Namespace, service_account: Name) -> Self {
        Self { namespace, service_account, pod: None }
    }

    /// Whether a Pod of its namespace, with that UID, may have it. Where either side has no UID the names decide.
    pub fn is_of(&self, pod: &Pod, uid: &str) -> bool {
        let bound = self.pod.as_ref().map_or("", |bound| &bound.uid);
        let is_bound = bound.is_empty() || uid.is_empty() || bound == uid;
        *pod.service_account == *self.service_account.as_str() && is_bound
    }

    /// Its SPIFFE ID, in Istio's form: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub fn spiffe(&self, trust_domain: &str) -> String {
        format!("spiffe://{trust_domain}/ns/{}/sa/{}", self.namespace, self.service_account)
    }

    /// Reads a SPIFFE ID of that form and that trust domain.
    pub fn of_spiffe(id: &str, trust_domain: &str) -> Option<Self> {
        let path = id.strip_prefix("spiffe://")?.strip_prefix(trust_domain)?.strip_prefix("/ns/")?;
        let (namespace, account) = path.split_once("/sa/")?;
        let is_plain = |part: &str| !part.is_empty() && !part.contains('/');
        (is_plain(namespace) && is_plain(account)).then(|| Self::new(namespace.into(), account.into()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service account {}/{}", self.namespace, self.service_account)?;
        self.pod.iter().try_for_each(|pod| write!(f, " in Pod {}", pod.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_is_read_back_and_nothing_else_is() {
        let identity = Identity::new("shop".into(), "cart".into());
        let id = identity.spiffe("example.org");
        assert_eq!(id, "spiffe://example.org/ns/shop/sa/cart");
        assert_eq!(Identity::of_spiffe(&id, "example.org"), Some(identity));
        for other in [
            "spiffe://example.com/ns/shop/sa/cart",
            "spiffe://example.org.evil/ns/shop/sa/cart",
            "spiffe://example.org/ns/shop/sa/cart/more",
            "spiffe://example.org/ns//sa/cart",
            "spiffe://example.org/ns/shop/sa/",
            "spiffe://example.org/ns/a/b/sa/cart",
            "https://example.org/ns/shop/sa/cart",
        ] {
            assert_eq!(Identity::of_spiffe(other, "example.org"), None, "{other}");
        }
    }
}
