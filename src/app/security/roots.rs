//! What is trusted, in every namespace: a ConfigMap that proxies mount, written by the process that writes status.
//!
//! Nobody waits for it. What somebody else has changed in one is put right at the next round.

use super::Authorities;
use crate::ca::material::names::ROOTS;
use crate::model::object::Object;
use crate::model::world::State;
use crate::status::account::{Leadership, Standing};
use crate::telemetry::logging::shown;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The ConfigMap's name.
pub const NAME: &str = "chancery-root";
/// Who it is written as.
const MANAGER: &str = "chancery";
/// How often it is looked what is to be written.
const LOOK: Duration = Duration::from_secs(1);
/// How often all are looked at again.
const ROUND: Duration = Duration::from_secs(600);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is needed to know what is to be written, and by whom.
pub struct Sources {
    /// What is trusted.
    pub authorities: Authorities,
    /// The namespaces.
    pub states: watch::Receiver<Option<State>>,
    /// Namespaces that are followed although they are not known as objects.
    pub within: BTreeSet<String>,
    /// Whether it is for us to write.
    pub leadership: watch::Receiver<Leadership>,
}

/// Writes for as long as the process runs.
pub async fn run(client: Client, sources: Sources) {
    let (mut done, mut round, mut trouble) = (BTreeMap::new(), Instant::now(), None);
    loop {
        tokio::time::sleep(LOOK).await;
        let leads = matches!(sources.leadership.borrow().now(), Standing::Leading(_));
        let roots = sources.authorities.borrow().as_ref().map(|authority| authority.roots().to_owned());
        let Some(roots) = roots.filter(|_| leads) else {
            done.clear();
            continue;
        };
        if round.elapsed() > ROUND {
            (round, done) = (Instant::now(), BTreeMap::new());
        }
        let mut namespaces = namespaces(&sources.states);
        namespaces.extend(sources.within.iter().cloned());
        done.retain(|namespace, _| namespaces.contains(namespace));
        let mut failed = None;
        for namespace in &namespaces {
            if done.get(namespace) == Some(&roots) {
                continue;
            }
            // Somebody else may write since the last one, and may trust something else.
            let Standing::Leading(until) = sources.leadership.borrow().now() else { break };
            match put(&client, namespace, &roots, until.into()).await {
                Ok(()) => _ = done.insert(namespace.clone(), roots.clone()),
                Err(reason) => failed = Some(reason),
            }
        }
        if failed.is_some() && failed != trouble {
            tracing::error!("a ConfigMap {NAME} could not be written: {}", failed.as_deref().unwrap_or_default());
        }
        trouble = failed;
    }
}

/// They come first in the World.
fn namespaces(states: &watch::Receiver<Option<State>>) -> BTreeSet<String> {
    let states = states.borrow();
    let objects = states.iter().flat_map(|state| state.world.objects());
    objects.map_while(|object| matches!(object, Object::Namespace(_)).then(|| object.key().name.to_string())).collect()
}

/// Whether it was refused because the namespace is going away.
fn ends(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Writes one, unless there is no answer until then, when the Lease ends. Who writes what is there already changes nothing.
async fn put(client: &Client, namespace: &str, roots: &str, until: Instant) -> Result<(), String> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let data = BTreeMap::from([(ROOTS.to_owned(), roots.to_owned())]);
    let metadata = ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() };
    let wanted = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
    let parameters = PatchParams::apply(MANAGER).force();
    let until = until.min(Instant::now() + PATIENCE);
    match tokio::time::timeout_at(until, api.patch(NAME, &parameters, &Patch::Apply(&wanted))).await {
        Ok(Ok(_)) => Ok(()),
        // A namespace that ends takes nothing new.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 || ends(&status) => Ok(()),
        Ok(Err(kube::Error::Api(status))) => Err(format!("namespace {namespace}: {}", shown(status.message.trim()))),
        Ok(Err(error)) => Err(format!("namespace {namespace}: {}", shown(&error.to_string()))),
        Err(_) => Err(format!("namespace {namespace}: the API server did not answer in time")),
    }
}
