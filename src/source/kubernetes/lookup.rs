//! One object, asked for once: for who wants to know how it is now.

use super::api::Failure;
use super::kinds::KINDS;
use crate::model::provenance::ObjectKey;
use crate::model::reach::Identity;
use http::Request;
use kube::Client;
use serde::Deserialize;

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    uid: String,
}

/// The generation that an object has in the cluster, none where its kind has none, and which object it is.
///
/// # Errors
/// If there is no such object, or the API server can't be asked.
pub async fn generation(client: &Client, key: &ObjectKey) -> Result<(Option<i64>, Identity), Failure> {
    let kinds = KINDS.iter().filter(|kind| kind.read_as() == Some(key.kind));
    for (kind, version) in kinds.flat_map(|kind| kind.versions.iter().map(move |version| (kind, version))) {
        let namespace = key.kind.is_namespaced().then_some(key.namespace.as_str());
        let path = format!("{}/{}", kind.path(version, namespace), key.name.as_str());
        let request = Request::get(path).body(Vec::new()).map_err(|error| Failure::Other(error.to_string()))?;
        match client.request::<Object>(request).await.map_err(Failure::from) {
            Ok(Object { metadata }) => return Ok((metadata.generation, Identity::of(&metadata.uid))),
            Err(Failure::Missing) => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Missing)
}
