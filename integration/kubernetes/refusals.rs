//! That a kind isn't there, or may not be seen: how often it has to be said until it counts, and for which kinds.
//!
//! Time is the tests' own, and passes when nobody has anything to do.

use crate::{source, stub};
use chancery::source::kubernetes::kinds::{KINDS, Watched};
use http::Request;
use kube::client::Body;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::timeout;

/// In so much time everything is asked for again and again.
const LONG: Duration = Duration::from_secs(300);

/// An API server with an object of every kind, which answers the questions of the first version of a kind with these codes, one
/// after the other, and then always with the last.
struct Server {
    kind: &'static Watched,
    served: &'static [u16],
    listed: &'static [u16],
    asked: Mutex<BTreeMap<&'static str, usize>>,
}

impl Server {
    /// What is answered; nothing to those who watch.
    fn answer(&self, request: &Request<Body>) -> Option<(u16, String)> {
        let (path, version) = (request.uri().path(), self.kind.versions[0]);
        if stub::asks(request, "watch") {
            return None;
        }
        let (what, codes, body) = match path {
            _ if path == self.kind.group_path(version) => ("served", self.served, self.resources()),
            _ if path == self.kind.path(version, None) => ("listed", self.listed, list()),
            _ => return Some((404, status(404))),
        };
        let mut asked = self.asked.lock().expect("nobody panics with it");
        let count = asked.entry(what).or_default();
        let code = codes[(*count).min(codes.len() - 1)];
        *count += 1;
        Some((code, if code == 200 { body } else { status(code) }))
    }

    fn resources(&self) -> String {
        format!(r#"{{"kind":"APIResourceList","resources":[{{"name":"{}"}}]}}"#, self.kind.plural)
    }
}

fn list() -> String {
    let object = r#"{"metadata":{"name":"it","namespace":"shop","uid":"1","resourceVersion":"7"},"spec":{}}"#;
    format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"9"}},"items":[{object}]}}"#)
}

fn status(code: u16) -> String {
    format!(r#"{{"kind":"Status","status":"Failure","message":"no","reason":"No","code":{code}}}"#)
}

fn kind(plural: &str) -> &'static Watched {
    KINDS.iter().find(|kind| kind.plural == plural).expect("it is watched")
}

/// How many objects proxies are told of at first; none: nothing is ever served.
async fn told(plural: &str, served: &'static [u16], listed: &'static [u16]) -> Option<usize> {
    let kind = kind(plural);
    let server = Server { kind, served, listed, asked: Mutex::default() };
    let client = stub::client(move |request| server.answer(request));
    let (source, mut batch) = source::follow(client, "chancery", vec![kind]);
    let first = timeout(LONG, batch.recv()).await.ok().flatten();
    source.abort();
    first.map(|batch| batch.changes.len())
}

/// What is served at first, by kind, by how often it is said to be served, and by how the list is answered.
#[tokio::test(start_paused = true)]
async fn what_is_said_once_does_not_count() {
    let (protects, leads) = ("peerauthentications", "sidecars");
    for kind in [protects, leads] {
        assert_eq!(told(kind, &[200], &[200]).await, Some(1), "the control: it is there");
        assert_eq!(told(kind, &[404], &[200]).await, Some(0), "{kind}: it is never served");
        assert_eq!(told(kind, &[404, 200], &[200]).await, Some(1), "{kind}: it was not served yet");
        assert_eq!(told(kind, &[404, 503, 404], &[200]).await, Some(0), "{kind}: it is said again after a failure");
        assert_eq!(told(kind, &[200], &[403, 200]).await, Some(1), "{kind}: the right was not there yet");
        assert_eq!(told(kind, &[200], &[404, 200]).await, Some(1), "{kind}: its list was not there yet");
        assert_eq!(told(kind, &[200], &[404]).await, None, "{kind}: it is served, and its list is not there");
        assert_eq!(told(kind, &[200, 404], &[404]).await, Some(0), "{kind}: it goes meanwhile");
    }
}

/// Who may not see what keeps others out serves nothing.
#[tokio::test(start_paused = true)]
async fn what_protects_is_waited_for_where_it_is_served() {
    for kind in ["peerauthentications", "destinationrules", "pods"] {
        assert_eq!(told(kind, &[200], &[403]).await, None, "{kind} may not be seen");
        assert_eq!(told(kind, &[403], &[200]).await, None, "{kind}: nobody says whether it is served");
    }
    for kind in ["sidecars", "virtualservices", "nodes"] {
        assert_eq!(told(kind, &[200], &[403]).await, Some(0), "{kind} may not be seen");
        assert_eq!(told(kind, &[403], &[200]).await, Some(0), "{kind}: nobody says whether it is served");
    }
}
