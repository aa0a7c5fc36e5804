//! An API server that is at an earlier state than it said before was restored from a backup: everything is listed again, also where
//! so much happens that no watch of it is ever silent.
//!
//! Time is the tests' own, and passes when nobody has anything to do.

use crate::stub;
use chancery::source::kubernetes::api::Only;
use chancery::source::kubernetes::kinds::KINDS;
use chancery::source::kubernetes::news::News;
use chancery::source::kubernetes::watch::{Told, Watch};
use chancery::telemetry::Metrics;
use http::Request;
use kube::client::Body;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// For so long the watch is followed: not until one is given up that says nothing.
const FOLLOWED: Duration = Duration::from_secs(30);
/// The state that is listed at first.
const LISTED: u64 = 9;

/// What the first watch tells before it ends, each with a state, and the state that the API server says it is at from then on. Later watches say
/// nothing.
struct Server {
    told: &'static [(&'static str, u64)],
    newest: u64,
    /// How many watches were opened.
    watches: Mutex<usize>,
}

impl Server {
    fn answer(&self, request: &Request<Body>) -> Option<(u16, String)> {
        if request.uri().path() == "/api/v1" {
            return Some((200, r#"{"kind":"APIResourceList","resources":[{"name":"services"}]}"#.to_owned()));
        }
        let mut watches = self.watches.lock().expect("nobody panics with it");
        if stub::asks(request, "watch") {
            *watches += 1;
            let events: String = self.told.iter().map(event).collect();
            return (*watches == 1).then_some((200, events));
        }
        let state = if *watches == 0 { LISTED } else { self.newest };
        let meta = format!(r#"{{"resourceVersion":"{state}"}}"#);
        Some((200, format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{meta},"items":[]}}"#)))
    }
}

fn event((what, state): &(&str, u64)) -> String {
    let meta = format!(r#"{{"name":"a","namespace":"shop","uid":"a","resourceVersion":"{state}"}}"#);
    format!(
        r#"{{"type":"{what}","object":{{"kind":"Service","apiVersion":"v1","metadata":{meta},"spec":{{}}}}}}{}"#,
        "\n"
    )
}

/// How often everything is listed, what is told of it, and how often it is said that the API server was restored.
async fn followed(told: &'static [(&'static str, u64)], newest: u64) -> (usize, usize, bool) {
    let server = Server { told, newest, watches: Mutex::default() };
    let (news, mut received) = mpsc::channel(64);
    let (_again, again) = watch::channel(0);
    let kind = KINDS.iter().find(|kind| kind.plural == "services").expect("it is watched");
    let metrics = Metrics::new();
    let client = stub::client(move |request| server.answer(request));
    let told = Told { news, metrics: metrics.kubernetes.clone(), again };
    let watching = tokio::spawn(Watch::new(client, kind, Only::default(), 60, told).run());
    let (mut lists, mut changes) = (0, 0);
    let all = async {
        while let Some((_, news)) = received.recv().await {
            match news {
                News::Listed(_) => lists += 1,
                News::Changed(_) | News::Gone(_) => changes += 1,
                News::State(_) => {}
            }
        }
    };
    _ = timeout(FOLLOWED, all).await;
    watching.abort();
    let restored = r#"chancery_kubernetes_relists_total{kind="services",reason="restored"} 1"#;
    (lists, changes, metrics.render().contains(restored))
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_goes_back_is_not_believed() {
    // The control: it goes on.
    assert_eq!(followed(&[("MODIFIED", 12), ("BOOKMARK", 12), ("DELETED", 13)], 13).await, (1, 2, false));
    assert_eq!(followed(&[("MODIFIED", 12), ("BOOKMARK", 5)], 20).await, (2, 1, true));
    assert_eq!(followed(&[("BOOKMARK", 8)], 20).await, (2, 0, true), "earlier than the list");
    for what in ["ADDED", "MODIFIED", "DELETED"] {
        let told: &'static [_] = vec![("BOOKMARK", 12), (what, 11)].leak();
        assert_eq!(followed(told, 20).await, (1, 1, false), "{what}: what is told late is taken");
        let told: &'static [_] = vec![("BOOKMARK", 12), (what, 11), ("BOOKMARK", 11)].leak();
        assert_eq!(followed(told, 20).await, (2, 1, true), "{what}: and does not hide a bookmark that goes back");
    }
}

/// A watch from the future says nothing until the future has come. So where it is is asked before, not only after one that said nothing.
#[tokio::test(start_paused = true)]
async fn whoever_comes_back_asks_first_where_it_is() {
    let told: &[_] = &[("MODIFIED", 12)];
    assert_eq!(followed(told, 12).await, (1, 1, false), "the control: where it was");
    assert_eq!(followed(told, 14).await, (1, 1, false), "the control: further");
    assert_eq!(followed(told, 11).await, (2, 1, true));
}
