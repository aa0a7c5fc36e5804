//! Questions to etcd itself, over the JSON form of its protocol.

use crate::harness::client::Client;
use crate::harness::{Failure, Outcome};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

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

/// Copies etcd's folder while it doesn't run.
pub fn copy(from: &Path, to: &Path) -> Outcome<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(fs::copy(entry.path(), target)?),
        }
    }
    Ok(())
}

/// How many objects are written at once, and how many bytes; etcd takes no more than 128, and 1.5 MiB.
const AT_ONCE: (usize, usize) = (100, 1 << 20);

/// Writes objects as they are, by the path of each below `/registry/`: past the API server, its validation and its time.
pub async fn write(store: SocketAddr, objects: &[(String, Value)]) -> Outcome<()> {
    let (mut puts, mut bytes) = (Vec::new(), 0);
    for (path, object) in objects {
        let text = object.to_string();
        if !puts.is_empty() && (puts.len() == AT_ONCE.0 || bytes + text.len() > AT_ONCE.1) {
            put(store, std::mem::take(&mut puts)).await?;
            bytes = 0;
        }
        bytes += text.len();
        let (key, value) = (BASE64.encode(format!("/registry/{path}")), BASE64.encode(text));
        puts.push(json!({"requestPut": {"key": key, "value": value}}));
    }
    put(store, puts).await
}

async fn put(store: SocketAddr, puts: Vec<Value>) -> Outcome<()> {
    let answer = ask(store, "txn", &json!({"success": puts})).await?;
    match answer["succeeded"] == true {
        true => Ok(()),
        false => Err(Failure::new(format!("etcd doesn't write: {answer}"))),
    }
}

async fn ask(store: SocketAddr, what: &str, question: &Value) -> Outcome<Value> {
    // A client of this call's own: a connection belongs to the runtime of the test that opened it.
    let answer = Client::default().post_json(store, &format!("/v3/kv/{what}"), question).await?;
    Ok(serde_json::from_slice(&answer.body)?)
}
