//! A list of which the API server forgets the state before its last page is read is asked for at once.

use crate::stub;
use chancery::source::kubernetes::api::Only;
use chancery::source::kubernetes::kinds::KINDS;
use chancery::source::kubernetes::news::News;
use chancery::source::kubernetes::watch::{Told, Watch};
use chancery::telemetry::Metrics;
use http::Request;
use kube::client::Body;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(8);
const FORGOTTEN: &str = r#"{"kind":"Status","status":"Failure","message":"too old","reason":"Expired","code":410}"#;

/// An API server with three Services on two pages. It ends the first watch because it has forgotten what was before.
#[derive(Clone)]
struct Server {
    /// Whether it still knows the state of a list when the second page is asked for.
    remembers: bool,
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl Server {
    fn answer(&self, request: &Request<Body>) -> (u16, String) {
        if request.uri().path() == "/api/v1" {
            return (200, r#"{"kind":"APIResourceList","resources":[{"name":"services"}]}"#.to_owned());
        }
        let asks = |key: &str| stub::asks(request, key);
        let what = match (asks("watch"), asks("continue"), asks("limit")) {
            (true, _, _) => "watch",
            (_, true, _) => "next page",
            (_, _, true) => "first page",
            (_, _, false) => "everything",
        };
        self.asked.lock().expect("nobody panics with it").push(what);
        let service = |name: &str| {
            format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"shop","uid":"{name}","resourceVersion":"7"}},"spec":{{}}}}"#
            )
        };
        let list = |names: &[&str], next: &str| {
            let items: Vec<_> = names.iter().map(|name| service(name)).collect();
            let meta = format!(r#"{{"resourceVersion":"9","continue":"{next}"}}"#);
            format!(r#"{{"kind":"ServiceList","apiVersion":"v1","metadata":{meta},"items":[{}]}}"#, items.join(","))
        };
        match what {
            "first page" => (200, list(&["a", "b"], "more")),
            "next page" if self.remembers => (200, list(&["c"], "")),
            "everything" => (200, list(&["a", "b", "c"], "")),
            _ => (410, FORGOTTEN.to_owned()),
        }
    }
}

/// What was asked until so many whole lists were told.
async fn asked(remembers: bool, lists: usize) -> Vec<&'static str> {
    let server = Server { remembers, asked: Arc::default() };
    let (news, mut told) = mpsc::channel(64);
    let (_again, again) = watch::channel(0);
    let kind = KINDS.iter().find(|kind| kind.plural == "services").expect("it is watched");
    let (stub, metrics) = (server.clone(), Metrics::new().kubernetes);
    let client = stub::client(move |request| Some(stub.answer(request)));
    let watch = Watch::new(client, kind, Only::default(), 60, Told { news, metrics, again });
    let watching = tokio::spawn(watch.run());
    let mut seen = 0;
    let until = async {
        while seen < lists {
            if let Some((_, News::Listed(items))) = told.recv().await {
                assert_eq!(items.len(), 3, "a list is whole");
                seen += 1;
            }
        }
    };
    let in_time = timeout(PATIENCE, until).await;
    watching.abort();
    let mut asked = server.asked.lock().expect("nobody panics with it").clone();
    assert!(in_time.is_ok(), "{asked:?}");
    // It goes on until it is ended.
    let last = asked.iter().rposition(|what| *what != "watch").expect("something was asked");
    asked.truncate(last + 1);
    asked
}

#[tokio::test]
async fn a_list_that_outlasts_what_is_remembered_is_asked_for_at_once() {
    let round = ["first page", "next page", "everything", "watch"];
    let asked = asked(false, 2).await;
    assert!(asked.len() >= 7 && asked[..4] == round && asked[4..7] == round[..3], "{asked:?}");
}

/// The control: a list that is remembered long enough is read in pages, each time.
#[tokio::test]
async fn a_list_that_is_remembered_is_read_in_pages() {
    let round = ["first page", "next page", "watch"];
    let asked = asked(true, 2).await;
    assert!(asked.len() >= 5 && asked[..3] == round && asked[3..5] == round[..2], "{asked:?}");
}
