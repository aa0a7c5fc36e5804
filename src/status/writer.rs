//! Writes one status: an apply of the fields that are ours, to the very state of the object that it was made for.
//!
//! The API server refuses it if the object is another by now, or another state of it: whoever writes late writes nothing.

use super::clerk::Draft;
use super::desk::Outcome;
use super::shape::Status;
use crate::source::kubernetes::inventory::Entry;
use crate::telemetry::logging::{shown, words};
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::{Client, Error};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::{Instant, timeout_at};

/// What our fields are marked with.
pub const MANAGER: &str = "chancery";

/// What came of a write.
#[derive(Debug)]
pub enum Answer {
    /// It is written; this is stored.
    Written(Box<Entry>),
    /// The object is another, or in another state.
    Outdated,
    /// The object is gone.
    Gone,
    /// We may not.
    Denied(Arc<str>),
    /// The API server doesn't take it.
    Refused(String),
    /// There was no answer, or none in time, or another one should be expected later.
    Failed(String),
}

impl Answer {
    /// A word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Answer::Written(_) => "written",
            Answer::Outdated => "outdated",
            Answer::Gone => "gone",
            Answer::Denied(_) => "denied",
            Answer::Refused(_) => "refused",
            Answer::Failed(_) => "failed",
        }
    }

    /// What it means for whatever else is to be written.
    pub fn outcome(&self) -> Outcome {
        match self {
            Answer::Written(_) => Outcome::Written,
            Answer::Outdated | Answer::Gone | Answer::Refused(_) => Outcome::Refused,
            Answer::Denied(_) => Outcome::Postponed,
            Answer::Failed(_) => Outcome::Failed,
        }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(status) => {
                let message = shown(status.message.trim());
                match status.code {
                    409 => Answer::Outdated,
                    404 => Answer::Gone,
                    403 => Answer::Denied(message.into()),
                    // What it can't make sense of, such as an object that is not what its kind's definition says, it answers with 500,
                    // and that is no reason to leave others alone.
                    401 | 408 | 429 | 501.. => {
                        Answer::Failed(format!("the API server answers {}: {message}", status.code))
                    }
                    _ => Answer::Refused(message),
                }
            }
            Error::Auth(_) => Answer::Failed("the credentials that the kubeconfig names can't be had".to_owned()),
            error => Answer::Failed(words(&error)),
        }
    }
}

/// Writes it, unless that is not before now or there is no answer until then.
pub async fn write(client: &Client, draft: &Draft, until: Instant) -> Answer {
    if until <= Instant::now() {
        return Answer::Failed("the Lease is not held any more".to_owned());
    }
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let stored = Status::stored(&draft.entry.status);
    let body = body(draft, &draft.status.clone().over(&stored, &now));
    let path = draft.entry.kind.path(draft.entry.served, Some(&draft.which.id.namespace));
    let applied = send(client, draft, (&path, &Patch::Apply(&body)), until).await;
    // An object that is not what its kind's definition says can't be applied to; put into it the same is taken.
    match applied {
        Answer::Refused(_) => send(client, draft, (&path, &Patch::Merge(&body)), until).await,
        answer => answer,
    }
}

async fn send(client: &Client, draft: &Draft, (path, patch): (&str, &Patch<&Value>), until: Instant) -> Answer {
    let force = matches!(patch, Patch::Apply(_));
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), force, ..PatchParams::default() };
    let request = match Request::new(path).patch_subresource("status", &draft.which.id.name, &params, patch) {
        Ok(request) => request,
        Err(error) => return Answer::Refused(error.to_string()),
    };
    match timeout_at(until, client.request_text(request)).await {
        Err(_) => Answer::Failed("the API server did not answer in time".to_owned()),
        Ok(Err(error)) => error.into(),
        Ok(Ok(text)) => match draft.entry.after(&text) {
            Some(entry) => Answer::Written(entry.into()),
            None => Answer::Failed("the answer can't be read".to_owned()),
        },
    }
}

fn body(draft: &Draft, status: &Status) -> Value {
    let (id, entry) = (&draft.which.id, &draft.entry);
    json!({
        "apiVersion": entry.kind.api_version(entry.served),
        "kind": entry.kind.kind,
        "metadata": {
            "name": *id.name,
            "namespace": *id.namespace,
            "uid": *entry.uid,
            "resourceVersion": *entry.version,
        },
        "status": status,
    })
}
