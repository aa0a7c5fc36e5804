//! Says who a client is: by the token of its call, else by the certificate of its connection.

use super::issuers::Known;
use super::reviews::Reviewer;
use super::{now, trust_domain};
use crate::ca::peer;
use crate::model::identity::Identity;
use crate::model::world::State;
use crate::tokens::{self, Distrust, Proof, Rules};
use crate::xds::mistrust::Origin;
use crate::xds::trust::{Answer, Distrusted, Means, Presented, Proven, Verifier};
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;

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

    async fn verify(&self, token: &str, audience: &str, from: Option<Origin<'_>>) -> Result<Proof, Distrust> {
        let known = match self {
            Believed::Here(known) => known,
            Believed::There(reviewer) => return reviewer.verify(token, audience, from).await,
        };
        let issuers = known.newest.borrow().clone();
        let rules = Rules { issuer: issuers.issuer.clone(), audience: audience.to_owned() };
        tokens::verify(token, &issuers.keys, &rules, now()).inspect_err(|distrust| {
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
}

impl ByTokenOrCertificate {
    async fn proven(&self, presented: Presented<'_>) -> Result<Proven, Distrusted> {
        match (presented.token, presented.certificate) {
            (Some(token), _) => match self.tokens.verify(&token.0, &self.audience, presented.origin).await {
                Ok(Proof { identity, until }) => {
                    Ok(Proven { identity, means: Means::Token, lasts: left(until), binds: None })
                }
                Err(distrust) => {
                    let (text, aside) = (distrust.to_string(), distrust.aside().map(str::to_owned));
                    Err(Distrusted { text, reason: distrust.reason(), aside, judged: distrust.is_verdict() })
                }
            },
            (None, Some(certificate)) => {
                let proven = peer::read(certificate).and_then(|peer| {
                    let identity = Identity::of_spiffe(&peer.uri, &trust_domain(&self.states)?)?;
                    let (means, binds) = (Means::Certificate, Some(peer.until));
                    Some(Proven { identity, means, lasts: left(peer.until), binds })
                });
                let text = "the client's certificate is not that of a workload of this trust domain";
                proven.ok_or_else(|| disbelieved(text, "certificate"))
            }
            (None, None) => {
                let text = "there is neither a token in the header authorization nor a client certificate";
                Err(disbelieved(text, "no_credential"))
            }
        }
    }
}

impl Verifier for ByTokenOrCertificate {
    fn verify<'a>(&'a self, presented: Presented<'a>) -> Answer<'a, Result<Proven, Distrusted>> {
        Box::pin(self.proven(presented))
    }
}

fn disbelieved(text: &str, reason: &'static str) -> Distrusted {
    Distrusted { text: text.to_owned(), reason, aside: None, judged: true }
}

fn left(until: u64) -> Duration {
    Duration::from_secs(until.saturating_sub(now()))
}

impl fmt::Debug for ByTokenOrCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByTokenOrCertificate")
    }
}
