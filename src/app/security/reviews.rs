//! Asks the API server whether tokens are good, where they are not verified here: TokenReview.
//!
//! Answers are kept for a while, and few are asked for at once, whoever comes: so many for proxies, and others for visitors of
//! the admin port, so that neither keeps the other waiting. Where there is no answer nobody is let in.

use crate::clock::Clock;
use crate::telemetry::logging::shown;
use crate::telemetry::security::SecurityMetrics;
use crate::tokens::review::{Answers, Print, Review, claimed, proven};
use crate::tokens::{Distrust, Proof};
use crate::xds::mistrust::Origin;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How many are asked for at once for proxies.
pub const FOR_PROXIES: usize = 8;
/// How many are asked for at once for visitors of the admin port.
pub const FOR_VISITORS: usize = 2;
/// How long somebody waits for an answer, and for their turn to ask.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where a review has the name of the Pod that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// And its UID.
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Asks, and remembers.
pub struct Reviewer {
    api: Api<TokenReview>,
    answers: Arc<Mutex<Answers>>,
    turns: Semaphore,
    clock: Clock,
    metrics: SecurityMetrics,
}

impl Reviewer {
    /// Somebody who has asked nothing yet, and asks so much at once.
    pub fn new(client: Client, metrics: SecurityMetrics, clock: Clock, at_once: usize) -> Self {
        Self { api: Api::all(client), answers: Arc::default(), turns: Semaphore::new(at_once), clock, metrics }
    }

    /// Somebody who remembers the same, and asks so much at once beside this one.
    pub fn beside(&self, at_once: usize) -> Self {
        let (api, answers, clock) = (self.api.clone(), self.answers.clone(), self.clock.clone());
        Self { api, answers, turns: Semaphore::new(at_once), clock, metrics: self.metrics.clone() }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, print: &Print) -> Option<Result<Proof, Distrust>> {
        self.answers().get(print, self.clock.now()).cloned()
    }

    /// Whether a token is good, and meant for that audience. Nobody is asked any more about one from an address that has come
    /// to be mistrusted meanwhile.
    ///
    /// # Errors
    /// Why it is not believed; also where nobody could be asked in time.
    pub async fn verify(&self, token: &str, audience: &str, from: Option<Origin<'_>>) -> Result<Proof, Distrust> {
        let until = claimed(token, audience, self.clock.now())?;
        let print = Print::of(token);
        if let Some(answer) = self.known(&print) {
            return answer;
        }
        let asked = async {
            let _turn = self.turns.acquire().await.expect("it is never closed");
            // Somebody may have asked meanwhile.
            match self.known(&print) {
                Some(answer) => Ok(answer),
                None if from.is_some_and(Origin::is_mistrusted) => Ok(Err(Distrust::Unwanted)),
                None => self.ask(token, audience, until).await.inspect(|answer| {
                    self.answers().put(print, answer.clone(), self.clock.now());
                }),
            }
        };
        let silent = || Err(format!("the API server did not answer within {PATIENCE:?}"));
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| silent()).unwrap_or_else(|reason| {
            self.metrics.token_reviewed("failed");
            Err(Distrust::Unreviewed(reason))
        })
    }

    /// Asks; the error is that there is no answer.
    async fn ask(&self, token: &str, audience: &str, until: u64) -> Result<Result<Proof, Distrust>, String> {
        let spec = TokenReviewSpec { audiences: Some(vec![audience.to_owned()]), token: token.to_owned() };
        let review = TokenReview { metadata: ObjectMeta::default(), spec, status: None };
        let reviewed = self.api.create(&PostParams::default(), &review).await.map_err(|error| reason(&error))?;
        let status = reviewed.status.ok_or("the API server's answer says nothing")?;
        let answer = read(&status, audience, until);
        self.metrics.token_reviewed(if answer.is_ok() { "accepted" } else { "refused" });
        Ok(answer)
    }
}

fn read(status: &TokenReviewStatus, audience: &str, until: u64) -> Result<Proof, Distrust> {
    let user = status.user.as_ref().filter(|_| status.authenticated == Some(true)).ok_or(Distrust::Refused)?;
    let extra = |key| user.extra.as_ref()?.get(key)?.first().map(String::as_str);
    let pod = extra(POD_NAME).map(|name| (name, extra(POD_UID).unwrap_or_default()));
    let audiences = status.audiences.as_deref().unwrap_or_default();
    proven(Review { user: user.username.as_deref().unwrap_or_default(), audiences, pod }, audience, until)
}

fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => shown(status.message.trim()),
        // What isn't understood is told with its words, which may be those of a token.
        kube::Error::SerdeError(_) => "the API server's answer is not understood".to_owned(),
        other => shown(&other.to_string()),
    }
}
