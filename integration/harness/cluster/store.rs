//! Questions to etcd itself, over the JSON form of its protocol.

use crate::harness::client::Client;
use crate::harness::{Failure, Outcome};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The revision that it is at.
pub async fn revision(store: SocketAddr) -> Outcome<u64> {
    let key = json!({"key": "AA==", "keys_only": true}); // A zero byte, which is no object's.
    let answer = ask(store, "range", &key).await?;
    let revision = answer.pointer("/header/revision").and_then(Value::as_str).and_then(|text| text.parse().ok());
    revision.ok_or_else(|| Failure::new(format!("etcd says no revision: {answer}")))
}

/// Forgets what every object was before the revision that it is at.
pub async fn compact(store: SocketAddr) -> Outcome<()> {
    let revision = revision(store).await?;
    ask(store, "compaction", &json!({"revision": revision.to_string(), "physical": true})).await.map(drop)
}

async fn ask(store: SocketAddr, what: &str, question: &Value) -> Outcome<Value> {
    // A client of this call's own: a connection belongs to the runtime of the test that opened it.
    let answer = Client::default().post_json(store, &format!("/v3/kv/{what}"), question).await?;
    Ok(serde_json::from_slice(&answer.body)?)
}
