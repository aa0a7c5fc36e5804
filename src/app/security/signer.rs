//! Signs the keys that workloads have made themselves, as Istio's agents do: for who has proven to be a workload, as long as
//! there is a Pod that may be it.

use super::{Authorities, trust_domain};
use crate::ca::request::RequestedKey;
use crate::clock::Clock;
use crate::model::identity::Identity;
use crate::model::object::Object;
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::world::{State, World};
use crate::telemetry::security::SecurityMetrics;
use crate::xds::refusal::Refusal;
use crate::xds::trust::{Answer, Signer, Wish};
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;

/// The shortest time for which is signed, unless certificates last less: who asks for none has no use for it.
const SHORTEST: Duration = Duration::from_secs(60);

/// Signs what it is asked to.
pub struct BySigningRequest {
    /// Who signs.
    pub authorities: Authorities,
    /// Where Pods and the trust domain are found.
    pub states: watch::Receiver<Option<State>>,
    /// How long a certificate lasts at most.
    pub lasts: Duration,
    /// What says what time it is.
    pub clock: Clock,
    /// What is counted.
    pub metrics: SecurityMetrics,
}

impl BySigningRequest {
    async fn signed(&self, identity: &Identity, wish: Wish<'_>) -> Result<Vec<String>, Refusal> {
        let key = RequestedKey::of_pem(wish.request)
            .map_err(|error| Refusal::Unsigned { text: error.to_string(), reason: error.reason() })?;
        self.known(identity, wish.patience).await?;
        let unable = |reason: &str| {
            self.metrics.signing_failed();
            Refusal::Unable(reason.to_owned())
        };
        let authority = self.authorities.borrow().clone().ok_or_else(|| unable("there is no authority yet"))?;
        let domain = trust_domain(&self.states).ok_or_else(|| unable("the trust domain is not known yet"))?;
        let lasts = wish.lasts.map_or(self.lasts, |lasts| lasts.max(SHORTEST).min(self.lasts));
        let now = self.clock.now();
        let signed = authority.certify(&key, &identity.spiffe(&domain), now, now + 1 + lasts.as_secs());
        let chain = signed.map_err(|error| unable(&error.to_string()))?;
        self.metrics.signed();
        Ok(chain)
    }

    /// Waits until there is a Pod that may be the workload, as a stream does.
    async fn known(&self, identity: &Identity, patience: Duration) -> Result<(), Refusal> {
        let mut states = self.states.clone();
        let there = states.wait_for(|state| state.as_ref().is_some_and(|state| is_known(&state.world, identity)));
        let known = tokio::time::timeout(patience, there).await.is_ok_and(|known| known.is_ok());
        known.then_some(()).ok_or_else(|| {
            Refusal::Unknown(format!("no Pod of {identity} is known, and none appeared within {patience:?}"))
        })
    }
}

impl Signer for BySigningRequest {
    fn sign<'a>(&'a self, identity: &'a Identity, wish: Wish<'a>) -> Answer<'a, Result<Vec<String>, Refusal>> {
        Box::pin(self.signed(identity, wish))
    }
}

/// Whether there is the Pod that a credential is bound to, or, where it is bound to none, one of its service account.
fn is_known(world: &World, identity: &Identity) -> bool {
    let is_it = |object: &Object| match object {
        Object::Pod(pod) => identity.is_of(pod, pod.meta().reference.uid.as_deref().unwrap_or_default()),
        _ => false,
    };
    let (kind, namespace) = (ObjectKind::Pod, identity.namespace.clone());
    match &identity.pod {
        Some(bound) => world.object(&ObjectKey { kind, namespace, name: bound.name.clone() }).is_some_and(is_it),
        None => world.objects_in(kind, &namespace).any(is_it),
    }
}

impl fmt::Debug for BySigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BySigningRequest")
    }
}
