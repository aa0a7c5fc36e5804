//! Tokens that an API server is asked about: what they claim meanwhile, and its answers, kept for a while.
//!
//! Pure: nobody is asked here, and the time is told. An answer is found by the token's hash; the token is not kept.

use super::claims::Claims;
use super::{Distrust, MAX_TOKEN, Proof, Rules, check};
use crate::model::identity::{BoundPod, Identity};
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};

/// How long an answer counts that a token is good, in seconds, unless the token ends before: so much later it is noticed that
/// its service account is gone. That its Pod is gone is known here.
pub const GOOD: u64 = 60;
/// How long an answer counts that it is not.
pub const BAD: u64 = 10;
/// How many answers are kept. Of more the one that would be forgotten next is forgotten now.
pub const MOST: usize = 20_000;

/// What an API server says of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Review<'a> {
    /// `status.user.username`.
    pub user: &'a str,
    /// `status.audiences`.
    pub audiences: &'a [String],
    /// Name and UID of the Pod that it is bound to.
    pub pod: Option<(&'a str, &'a str)>,
}

/// When a token ends that says of itself what one for us has to say, in seconds since 1970. That it says so proves nothing,
/// but about one that doesn't nobody has to be asked.
///
/// # Errors
/// What it doesn't say.
pub fn claimed(token: &str, audience: &str, now: u64) -> Result<u64, Distrust> {
    if token.len() > MAX_TOKEN {
        return Err(Distrust::TooLong);
    }
    let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| Distrust::Malformed)?;
    check(&claims, &Rules { issuer: None, audience: audience.to_owned() }, now)?;
    // An answer about one whose time is just over would count for no time, and each try would ask again.
    if claims.exp <= now {
        return Err(Distrust::Expired);
    }
    claims.identity().map(|_| claims.exp).ok_or(Distrust::Malformed)
}

/// What is proven by a token that was found to be good and ends then.
///
/// # Errors
/// If it is meant for somebody else, or is none of a service account.
pub fn proven(review: Review, audience: &str, until: u64) -> Result<Proof, Distrust> {
    if !review.audiences.iter().any(|other| other == audience) {
        return Err(Distrust::Audience(audience.to_owned()));
    }
    let account = review.user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    let (namespace, account) = account.ok_or(Distrust::Malformed)?;
    let pod = review.pod.map(|(name, uid)| BoundPod { name: name.into(), uid: uid.into() });
    Ok(Proof { identity: Identity { pod, ..Identity::new(namespace.into(), account.into()) }, until })
}

/// The hash of a token: nobody finds another one that has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Print([u8; 32]);

impl Print {
    /// That of a token.
    pub fn of(token: &str) -> Self {
        let mut print = [0; 32];
        print.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(print)
    }
}

/// An answer about a token.
pub type Answer = Result<Proof, Distrust>;

/// An answer, when it was given, and until when it counts.
struct Kept {
    at: u64,
    until: u64,
    answer: Answer,
}

/// Answers that still count.
#[derive(Default)]
pub struct Answers {
    by_token: BTreeMap<Print, Kept>,
    /// When which is forgotten.
    ends: BTreeSet<(u64, Print)>,
}

impl Answers {
    /// The answer about a token, if there is one that counts at that time. None does that was given later: who sets the clock
    /// back makes none last.
    pub fn get(&self, token: &Print, now: u64) -> Option<&Answer> {
        self.by_token.get(token).filter(|kept| (kept.at..kept.until).contains(&now)).map(|kept| &kept.answer)
    }

    /// Keeps an answer that was given at that time.
    pub fn put(&mut self, token: Print, answer: Answer, now: u64) {
        let until = match &answer {
            Ok(proof) => proof.until.min(now + GOOD),
            Err(_) => now + BAD,
        };
        if let Some(before) = self.by_token.insert(token, Kept { at: now, until, answer }) {
            self.ends.remove(&(before.until, token));
        }
        self.ends.insert((until, token));
        // Those that are bad end first: who makes up many tokens forgets no good one.
        while self.ends.first().is_some_and(|(until, _)| self.by_token.len() > MOST || *until <= now)
            && let Some((_, forgotten)) = self.ends.pop_first()
        {
            self.by_token.remove(&forgotten);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_token.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }
}
