//! Tokens of service accounts, in the form in which Kubernetes issues them to Pods: believed, or not, with a reason.
//!
//! Pure, but for reading keys: the time is told. [`keys`] are those of who issues tokens, [`review`] is what an API server says
//! of one where it is asked, [`issuer`] issues them where no cluster does. A token is never shown: not in an error, not in a log.

mod claims;
mod crypto;
pub mod issuer;
pub mod keys;
pub mod review;

use crate::model::identity::Identity;
use claims::Claims;
use jsonwebtoken::Validation;
use keys::Keys;
use thiserror::Error;

/// The longest token that is looked at, in bytes: those of Kubernetes have about one thousand.
pub const MAX_TOKEN: usize = 8 * 1024;
/// How long a token counts after its end, in seconds: clocks may be that far apart.
const LEEWAY: u64 = 60;
/// How far this machine's clock may be behind, in seconds: a token is used as soon as it is issued, and one that comes too
/// early proves no less.
const BEHIND: u64 = 600;

/// Whom tokens are believed from, and what they must be meant for.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `iss`; none: whoever has the key.
    pub issuer: Option<String>,
    /// What one of `aud` must be.
    pub audience: String,
}

/// What a token has proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Who has it.
    pub identity: Identity,
    /// Until when, in seconds since 1970.
    pub until: u64,
}

/// Why a token is not believed. No part of it is told but what it says it is for.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Distrust {
    /// It is too long to be one.
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// It is no token, or not one of a service account.
    #[error("the token is not one of a Kubernetes service account")]
    Malformed,
    /// Nobody whose keys are known has signed it.
    #[error("the token is signed with a key that is not known")]
    UnknownKey,
    /// It was altered, or signed by somebody else.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    Early,
    /// It is meant for somebody else.
    #[error("the token is not meant for audience {0:?}")]
    Audience(String),
    /// It is from somebody else.
    #[error("the token was not issued by {0:?}")]
    Issuer(String),
    /// The API server says that it is not good.
    #[error("the API server does not take the token, or what it is bound to is gone")]
    Refused,
    /// Nobody is asked: too much from where it comes was not believed.
    #[error("the token is not looked at")]
    Unwanted,
    /// The API server could not be asked, or gave no answer. Why is for the log and not told: it may have words of the cluster.
    #[error("it is not known whether the token is good: the API server gave no answer")]
    Unreviewed(String),
}

impl Distrust {
    /// A short word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Distrust::TooLong => "token_too_long",
            Distrust::Malformed => "token_malformed",
            Distrust::UnknownKey => "token_key_unknown",
            Distrust::Signature => "token_signature",
            Distrust::Expired => "token_expired",
            Distrust::Early => "token_early",
            Distrust::Audience(_) => "token_audience",
            Distrust::Issuer(_) => "token_issuer",
            Distrust::Refused => "token_refused",
            Distrust::Unwanted => "throttled",
            Distrust::Unreviewed(_) => "token_unreviewed",
        }
    }

    /// What is to be said of it in the log besides, and to nobody else.
    pub fn aside(&self) -> Option<&str> {
        match self {
            Distrust::Unreviewed(reason) => Some(reason),
            _ => None,
        }
    }

    /// Whether that is a verdict; where it isn't, nobody was asked, and the token may be good.
    pub fn is_verdict(&self) -> bool {
        !matches!(self, Distrust::Unwanted | Distrust::Unreviewed(_))
    }
}

/// Verifies a token; `now` is in seconds since 1970.
///
/// # Errors
/// Why it is not believed: the first reason that is found, its signature before all that it says.
pub fn verify(token: &str, keys: &Keys, rules: &Rules, now: u64) -> Result<Proof, Distrust> {
    if token.len() > MAX_TOKEN {
        return Err(Distrust::TooLong);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| Distrust::Malformed)?;
    let mut candidates = keys.of(header.kid.as_deref(), header.alg).peekable();
    if candidates.peek().is_none() {
        return Err(Distrust::UnknownKey);
    }
    crypto::install();
    let mut validation = Validation::new(header.alg);
    // What it says is checked here, at a time that is told.
    (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
    validation.required_spec_claims.clear();
    let read = candidates.find_map(|key| match jsonwebtoken::decode::<Claims>(token, key, &validation) {
        Ok(read) => Some(Ok(read.claims)),
        Err(error) if crypto::is_wrong_signature(&error) => None,
        Err(_) => Some(Err(Distrust::Malformed)),
    });
    let claims = read.unwrap_or(Err(Distrust::Signature))?;
    check(&claims, rules, now)?;
    let until = claims.exp;
    Ok(Proof { identity: claims.identity().ok_or(Distrust::Malformed)?, until })
}

/// Whom a token says it is of, if it is one of a service account. That it says so proves nothing.
pub fn claimed(token: &str) -> Option<Identity> {
    let short = Some(token).filter(|token| token.len() <= MAX_TOKEN)?;
    jsonwebtoken::dangerous::insecure_decode_claims::<Claims>(short).ok()?.identity()
}

fn check(claims: &Claims, rules: &Rules, now: u64) -> Result<(), Distrust> {
    if let Some(issuer) = rules.issuer.as_ref().filter(|issuer| **issuer != claims.iss) {
        return Err(Distrust::Issuer(issuer.clone()));
    }
    if !claims.aud.has(&rules.audience) {
        return Err(Distrust::Audience(rules.audience.clone()));
    }
    if claims.exp.saturating_add(LEEWAY) <= now {
        return Err(Distrust::Expired);
    }
    match claims.nbf.max(claims.iat) {
        Some(from) if from > now.saturating_add(BEHIND) => Err(Distrust::Early),
        _ => Ok(()),
    }
}
