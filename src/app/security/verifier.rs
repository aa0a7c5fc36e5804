//! Says who a client is: by the token of its call, else by the certificate of its connection.

use super::issuers::Known;
use super::reviews::Reviewer;
use super::trust_domain;
use crate::ca::peer;
use crate::clock::Clock;
use crate::model::identity::Identity;
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::world::State;
use crate::tokens::{self, Distrust, Proof, Rules};
use crate::xds::mistrust::Origin;
use crate::xds::trust::{Answer, Distrusted, Means, Presented, Proven, Token, Verifier};
use rustls::pki_types::CertificateDer;
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_64;

/// The longest that is believed of a credential: what comes later can't be counted to.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Who says whether a token is good.
pub enum Believed {
    /// We do, by the keys of who issues them.
    Here(Known),
    /// The API server does.
    There(Box<Reviewer>),
}

impl Believed {
    /// The same for other visitors, whose questions keep nobody waiting who asks this one.
    pub fn beside(&self, at_once: usize) -> Self {
        match self {
            Believed::Here(known) => Believed::Here(known.clone()),
            Believed::There(reviewer) => Believed::There(Box::new(reviewer.beside(at_once))),
        }
    }

    async fn verify(&self, token: &str, audience: &str, from: Option<Origin<'_>>, now: u64) -> Result<Proof, Distrust> {
        let known = match self {
            Believed::Here(known) => known,
            Believed::There(reviewer) => return reviewer.verify(token, audience, from).await,
        };
        let issuers = known.newest.borrow().clone();
        let Some(issuer) = &issuers.issuer else {
            return Err(Distrust::Unreviewed("it has not told yet who issues its tokens".to_owned()));
        };
        let rules = Rules { issuer: Some(issuer.clone()), audience: audience.to_owned() };
        tokens::verify(token, &issuers.keys, &rules, now).inspect_err(|distrust| {
            if *distrust == Distrust::UnknownKey {
                known.unknown_key.notify_one();
            }
        })
    }
}

/// Believes tokens of known issuers, and certificates of our own authority.
pub struct ByTokenOrCertificate {
    /// Who says which tokens are good.
    pub tokens: Believed,
    /// What they must be meant for.
    pub audience: String,
    /// Where the trust domain is found.
    pub states: watch::Receiver<Option<State>>,
    /// What says what time it is.
    pub clock: Clock,
}

impl ByTokenOrCertificate {
    async fn proven(&self, presented: Presented<'_>) -> Result<Proven, Distrusted> {
        match (presented.token, presented.certificate) {
            (Some(token), _) => self.by_token(&token.0, presented.origin).await,
            (None, Some(certificate)) => self.by_certificate(certificate),
            (None, None) => {
                let text = "there is neither a token in the header authorization nor a client certificate";
                Err(disbelieved(text, "no_credential"))
            }
        }
    }

    async fn by_token(&self, token: &str, from: Option<Origin<'_>>) -> Result<Proven, Distrusted> {
        match self.tokens.verify(token, &self.audience, from, self.clock.now()).await {
            Ok(Proof { identity, until }) => {
                Ok(Proven { identity, means: Means::Token, lasts: self.left(until), binds: None })
            }
            Err(distrust) => {
                let (text, aside) = (distrust.to_string(), distrust.aside().map(str::to_owned));
                Err(Distrusted { text, reason: distrust.reason(), aside, judged: distrust.is_verdict() })
            }
        }
    }

    fn by_certificate(&self, certificate: &CertificateDer<'_>) -> Result<Proven, Distrusted> {
        let read = peer::read(certificate).and_then(|peer| {
            let identity = Identity::of_spiffe(&peer.uri, &trust_domain(&self.states)?)?;
            Some((identity, peer.until))
        });
        let text = "the client's certificate is not that of a workload of this trust domain";
        let (identity, until) = read.ok_or_else(|| disbelieved(text, "certificate"))?;
        // The handshake has looked at that, but one that resumes a session looks at nothing again, and a connection lasts.
        if until <= self.clock.now() {
            return Err(disbelieved("the client's certificate has expired", "certificate"));
        }
        Ok(Proven { identity, means: Means::Certificate, lasts: self.left(until), binds: Some(until) })
    }

    /// The UID of the Pod that it says it is of: as good as a secret to who has no right to see that Pod.
    fn claimed_pod(&self, token: &str) -> Option<u64> {
        let Identity { namespace, pod, .. } = tokens::claimed(token)?;
        let (kind, pod) = (ObjectKind::Pod, pod?);
        let state = self.states.borrow();
        let there = state.as_ref()?.world.object(&ObjectKey { kind, namespace, name: pod.name })?;
        let uid = there.meta().reference.uid.as_ref().filter(|uid| !uid.is_empty() && **uid == pod.uid)?;
        Some(xxh3_64(uid.as_bytes()))
    }

    fn left(&self, until: u64) -> Duration {
        Duration::from_secs(until.saturating_sub(self.clock.now())).min(LONGEST)
    }
}

impl Verifier for ByTokenOrCertificate {
    fn verify<'a>(&'a self, presented: Presented<'a>) -> Answer<'a, Result<Proven, Distrusted>> {
        Box::pin(self.proven(presented))
    }

    fn claimed(&self, token: &Token) -> Option<u64> {
        self.claimed_pod(&token.0)
    }
}

fn disbelieved(text: &str, reason: &'static str) -> Distrusted {
    Distrusted { text: text.to_owned(), reason, aside: None, judged: true }
}

impl fmt::Debug for ByTokenOrCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByTokenOrCertificate")
    }
}
