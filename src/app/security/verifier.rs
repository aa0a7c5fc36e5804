//! Says who a client is: by the token of its call, else by the certificate of its connection.

use super::issuers::Known;
use super::{now, trust_domain};
use crate::ca::peer;
use crate::model::identity::Identity;
use crate::model::world::State;
use crate::tokens::{self, Distrust, Rules};
use crate::xds::trust::{Distrusted, Presented, Proven, Verifier};
use std::fmt;
use std::time::Duration;
use tokio::sync::watch;

/// Believes tokens of known issuers, and certificates of our own authority.
pub struct ByTokenOrCertificate {
    /// Whose tokens are believed.
    pub issuers: Known,
    /// What they must be meant for.
    pub audience: String,
    /// Where the trust domain is found.
    pub states: watch::Receiver<Option<State>>,
}

impl Verifier for ByTokenOrCertificate {
    fn verify(&self, presented: Presented) -> Result<Proven, Distrusted> {
        match (presented.token, presented.certificate) {
            (Some(token), _) => {
                let issuers = self.issuers.newest.borrow().clone();
                let rules = Rules { issuer: issuers.issuer.clone(), audience: self.audience.clone() };
                match tokens::verify(&token.0, &issuers.keys, &rules, now()) {
                    Ok(proof) => Ok(Proven { identity: proof.identity, lasts: left(proof.until) }),
                    Err(distrust) => {
                        if distrust == Distrust::UnknownKey {
                            self.issuers.unknown_key.notify_one();
                        }
                        Err(Distrusted { text: distrust.to_string(), reason: distrust.reason() })
                    }
                }
            }
            (None, Some(certificate)) => {
                let proven = peer::read(certificate).and_then(|peer| {
                    let identity = Identity::of_spiffe(&peer.uri, &trust_domain(&self.states)?)?;
                    Some(Proven { identity, lasts: left(peer.until) })
                });
                let text = "the client's certificate is not that of a workload of this trust domain";
                proven.ok_or_else(|| Distrusted { text: text.to_owned(), reason: "certificate" })
            }
            (None, None) => {
                let text = "there is neither a token in the header authorization nor a client certificate".to_owned();
                Err(Distrusted { text, reason: "no_credential" })
            }
        }
    }
}

fn left(until: u64) -> Duration {
    Duration::from_secs(until.saturating_sub(now()))
}

impl fmt::Debug for ByTokenOrCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByTokenOrCertificate")
    }
}
