//! Tells of rejections and of broken objects with Events, each once: its name says what it is about, so that a second one is refused.
//! What could not be written, for want of the right, of an API server or of the Lease, is kept and tried again. What came of an
//! earlier term is left out: whoever leads now tells everything anew.

use super::clerk::Complaint;
use super::later::Later;
use super::lease::Held;
use super::writer::MANAGER;
use crate::telemetry::logging::shown;
use crate::telemetry::status::StatusMetrics;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::core::Status;
use kube::{Api, Client, Error};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};
use xxhash_rust::xxh3::xxh3_64;

/// How many may be on their way here. What finds no room doesn't count as told.
pub const QUEUED: usize = 64;
/// How many wait for another try at most. While there are so many nothing new is taken on.
const WAITING: usize = 1024;
/// How far two are apart.
const APART: Duration = Duration::from_millis(100);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of a note: the API server takes 1024.
const NOTE: usize = 1000;
/// The most namespaces of which it is said that nothing may be written there.
const NAMED: usize = 16;
/// The namespace of Events about what is in none: the API server takes them there only.
const OF_NOWHERE: &str = "default";
/// The most characters of an object's name in that of an Event.
const NAME: usize = 200;

/// Tells of what comes while the Lease is held, each with the term in which it came. What comes while it may not write waits.
pub async fn run(
    client: Client,
    instance: String,
    mut complaints: mpsc::Receiver<(u64, Complaint)>,
    mut held: watch::Receiver<Held>,
    metrics: StatusMetrics,
) {
    let mut later = Later::new(WAITING, Instant::now());
    let (mut denied, mut current) = (Denied::default(), held.borrow().term);
    loop {
        let due = later.due();
        let (term, since, event, again) = tokio::select! {
            complaint = complaints.recv(), if later.has_room() => {
                let Some((term, complaint)) = complaint else { return };
                (term, Instant::now(), event(&complaint, &instance, MicroTime(Timestamp::now())), false)
            }
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                let Some((since, event)) = later.take(Instant::now()) else { continue };
                (current, since, event, true)
            }
        };
        // A Lease that could not be renewed for a while may still be ours: nobody else tells what came in its term.
        let valid = held.wait_for(|held| held.is_valid(Instant::now())).await.map(|held| held.term);
        let Ok(now) = valid else { return };
        if now != current {
            later.clear();
            current = now;
        }
        if term != current {
            continue;
        }
        let result = write(&client, &event, &mut denied).await;
        metrics.event_sent(result);
        match result {
            "denied" | "failed" => {
                later.keep(since, event, again, Instant::now());
            }
            _ => later.went(Instant::now()),
        }
        sleep(APART).await;
    }
}

/// Where we may not write.
#[derive(Default)]
struct Denied(BTreeSet<String>);

impl Denied {
    /// Whether it is to be said of a namespace: once, until we may, and of so many at most.
    fn is_news(&mut self, namespace: &str) -> bool {
        self.0.len() < NAMED && self.0.insert(namespace.to_owned())
    }
}

/// What comes of an attempt to write an Event, in a word.
async fn write(client: &Client, event: &Event, denied: &mut Denied) -> &'static str {
    let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let result = match timeout(PATIENCE, api.create(&PostParams::default(), event)).await {
        Ok(Ok(_)) => "written",
        Ok(Err(Error::Api(status))) if status.code == 409 => "known",
        // Nobody asks about it any more.
        Ok(Err(Error::Api(status))) if is_ending(&status) => "gone",
        Ok(Err(Error::Api(status))) if status.code == 403 => {
            if denied.is_news(namespace) {
                let reason = shown(status.message.trim());
                tracing::warn!(namespace, %reason, "no Event is written there; proxies are served as before");
            }
            return "denied";
        }
        Ok(Err(Error::Api(status))) if status.code == 404 => "gone",
        // It is not the right one, and will not be later either.
        Ok(Err(Error::Api(status))) if status.code == 422 || status.code == 400 => "refused",
        Ok(Err(_)) | Err(_) => "failed",
    };
    if ["written", "known"].contains(&result) {
        denied.0.remove(namespace);
    }
    result
}

/// Whether it was refused because the namespace is going away.
pub fn is_ending(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

fn event(complaint: &Complaint, instance: &str, now: MicroTime) -> Event {
    let Complaint { which, entry, reason, text } = complaint;
    let named: String = which.id.name.chars().take(NAME).collect();
    let name = format!("{}.{:016x}", named.trim_end_matches(['.', '-']), xxh3_64(complaint.about().as_bytes()));
    let namespace = Some(which.id.namespace.to_string()).filter(|namespace| !namespace.is_empty());
    let within = namespace.clone().unwrap_or_else(|| OF_NOWHERE.to_owned());
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: Some(within), ..ObjectMeta::default() },
        action: Some(reason.action().to_owned()),
        event_time: Some(now),
        note: Some(cut(text)),
        reason: Some(reason.as_str().to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(entry.kind.api_version(entry.served)),
            kind: Some(entry.kind.kind.to_owned()),
            name: Some(which.id.name.to_string()),
            namespace,
            resource_version: Some(entry.version.to_string()),
            uid: Some(entry.uid.to_string()),
            ..ObjectReference::default()
        }),
        reporting_controller: Some(MANAGER.to_owned()),
        reporting_instance: Some(instance.chars().take(120).collect()),
        type_: Some("Warning".to_owned()),
        ..Event::default()
    }
}

/// The beginning of a text, plain, in no more bytes than a note has.
fn cut(text: &str) -> String {
    let mut note = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if note.len() + c.len_utf8() > NOTE {
            break;
        }
        note.push(c);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_may_be_written_is_said_once_for_each_namespace() {
        let mut denied = Denied::default();
        assert!(denied.is_news("shop") && denied.is_news("bank"));
        assert!(!denied.is_news("shop"), "again");
        denied.0.remove("shop");
        assert!(denied.is_news("shop"), "it was allowed meanwhile");
        let many = (0..100).filter(|n| denied.is_news(&n.to_string())).count();
        assert_eq!(many, NAMED - 2);
    }

    #[test]
    fn a_note_is_no_longer_than_the_api_server_takes() {
        assert_eq!(cut("a\nb"), "a b");
        let long = cut(&"ü".repeat(2_000));
        assert_eq!((long.len(), long.chars().count()), (1000, 500));
    }
}
