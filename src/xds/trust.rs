//! What the server is told by others of those who connect: who has proven to be whom, and what is for them alone.
//!
//! Whoever composes the process implements it: this room knows neither authorities nor who issues tokens.

use super::mistrust::{Mistrust, Origin, Place, Suspect};
use super::refusal::Refusal;
use crate::model::identity::Identity;
use crate::snapshot::private::Private;
use crate::snapshot::resource::Version;
use http::{HeaderMap, header};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What a client presents: with its connection, and with a call on it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Presented<'a> {
    /// The certificate of its connection, which the handshake has verified.
    pub certificate: Option<&'a CertificateDer<'static>>,
    /// The token of its call.
    pub token: Option<&'a Token>,
    /// Where it comes from; none where that is not known. Who looks at it may have to wait, and has to see then whether it is
    /// still to be looked at.
    pub origin: Option<Origin<'a>>,
}

/// How a call carries a token.
const BEARER: &str = "Bearer ";

/// A token, as presented. It shows nothing of itself.
pub struct Token(pub String);

impl Token {
    /// The token that a call carries in its header `authorization`; an empty one, where that says something else.
    pub fn carried(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().unwrap_or_default();
        Some(Self(value.strip_prefix(BEARER).unwrap_or_default().to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// By what a client has proven who it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Means {
    /// The token of its call.
    Token,
    /// The certificate of its connection.
    Certificate,
}

impl Means {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Means::Token => "token",
            Means::Certificate => "certificate",
        }
    }
}

/// What has been proven, and for how long it counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// Who the client is.
    pub identity: Identity,
    /// By what.
    pub means: Means,
    /// How much longer the credential is valid.
    pub lasts: Duration,
    /// When a certificate has to end that is given for it, in seconds since 1970: one that was got with a certificate outlives
    /// that nowhere, else who has one would have one for ever. None where that is not limited.
    pub binds: Option<u64>,
}

/// The word for what is not looked at because too much from where it comes was not believed.
pub const THROTTLED: &str = "throttled";

/// Why a client is not believed: a sentence for it, which shows nothing of what it presented, and a word for metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distrusted {
    /// The sentence.
    pub text: String,
    /// The word, of a closed set.
    pub reason: &'static str,
    /// What the log says of it besides, and nobody is told.
    pub aside: Option<String>,
    /// Whether that is a verdict; where it isn't, nobody could be asked, and what was presented may be good.
    pub judged: bool,
}

impl Distrusted {
    /// The sentence for the log.
    pub fn logged(&self) -> Cow<'_, str> {
        match &self.aside {
            Some(aside) => Cow::Owned(format!("{}: {aside}", self.text)),
            None => Cow::Borrowed(&self.text),
        }
    }
}

/// What may have to be waited for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Says who a client is.
pub trait Verifier: Send + Sync + fmt::Debug {
    /// Verifies what is presented.
    ///
    /// # Errors
    /// Why it proves nothing; also where nothing is presented.
    fn verify<'a>(&'a self, presented: Presented<'a>) -> Answer<'a, Result<Proven, Distrusted>>;

    /// A Pod that there is and that a token says it is of, by a hash of what nobody guesses of it; none where it says of no such.
    /// That proves nothing, but tells who may be what it says from who is certainly not.
    fn claimed(&self, token: &Token) -> Option<u64>;
}

/// Looks at what clients present at one port: who says what it proves, and what is held against addresses at all of them.
#[derive(Clone, Debug)]
pub struct Examiner {
    /// Who says what it proves.
    pub verifier: Arc<dyn Verifier>,
    /// What is held against addresses.
    pub mistrust: Arc<Mistrust>,
}

/// Why nothing is proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unproven {
    /// Too much from there was not believed: it is not looked at.
    Throttled,
    /// It is not believed.
    Distrusted(Distrusted),
}

impl Examiner {
    /// Who a client is that comes from that address, and what is wrong with what it presents is held against that.
    ///
    /// # Errors
    /// Why it is not believed, or not looked at.
    pub async fn examine(&self, presented: Presented<'_>, from: Option<IpAddr>) -> Result<Proven, Unproven> {
        let origin = from.map(|address| self.origin(&presented, Place::of(address)));
        // A certificate has been looked at before, in the handshake, and nothing is left that would cost much.
        let costs = presented.token.is_some() || presented.certificate.is_none();
        if costs && origin.is_some_and(Origin::is_mistrusted) {
            return Err(Unproven::Throttled);
        }
        let verified = self.verifier.verify(Presented { origin, ..presented }).await;
        verified.map_err(|distrusted| match distrusted.judged {
            true => {
                origin.into_iter().for_each(Origin::note);
                Unproven::Distrusted(distrusted)
            }
            // An address is not to blame for an API server that doesn't answer.
            false if distrusted.reason == THROTTLED => Unproven::Throttled,
            false => Unproven::Distrusted(distrusted),
        })
    }

    /// Against whom it is held that this is not believed. Where a place is mistrusted it is not who may be a Pod that there is:
    /// others behind the same address answer for themselves.
    fn origin(&self, presented: &Presented<'_>, place: Place) -> Origin<'_> {
        let all = Origin { mistrust: &self.mistrust, suspect: Suspect::Place(place) };
        let token = presented.token.filter(|_| all.is_mistrusted());
        match token.and_then(|token| self.verifier.claimed(token)) {
            Some(claimed) => Origin { suspect: Suspect::Claimant(place, claimed), ..all },
            None => all,
        }
    }
}

/// Has the secrets of workloads.
pub trait Keyring: Send + Sync + fmt::Debug {
    /// The secrets of who has proven to be that. They are renewed for as long as somebody holds them, but no certificate
    /// lasts longer than what they are bound to ([`Proven::binds`]). `held` is the version of the certificate that the client
    /// states to hold: where it is still good it stays the newest.
    fn hold(&self, identity: &Identity, binds: Option<u64>, held: Option<Version>) -> Arc<Private>;
}

/// What a workload asks to have signed.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// A certificate signing request, in PEM.
    pub request: &'a str,
    /// How long the certificate should last; none: as long as they do.
    pub lasts: Option<Duration>,
    /// How long it may wait until its Pod is known.
    pub patience: Duration,
}

/// Signs the keys that workloads have made themselves.
pub trait Signer: Send + Sync + fmt::Debug {
    /// A certificate, in PEM, for who has proven to be that, and nobody else, whatever the request says: itself, those between
    /// it and the root, and last what is trusted.
    fn sign<'a>(&'a self, identity: &'a Identity, wish: Wish<'a>) -> Answer<'a, Result<Vec<String>, Refusal>>;
}

/// What a door needs that lets in only who has proven something.
#[derive(Clone, Debug)]
pub struct Security {
    /// How TLS is spoken; none as long as it can't be. May be another one for the next connection.
    pub tls: watch::Receiver<Option<Arc<ServerConfig>>>,
    /// Who looks at what they present.
    pub examiner: Examiner,
    /// Who has their secrets.
    pub keyring: Arc<dyn Keyring>,
    /// Who signs their keys.
    pub signer: Arc<dyn Signer>,
}
