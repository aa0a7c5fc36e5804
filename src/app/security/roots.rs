//! What is trusted, in every namespace: a ConfigMap that proxies mount, written by the process that writes status; and, where
//! that is wanted, a ClusterTrustBundle, which Pods of any namespace mount.
//!
//! Nobody waits for it. What somebody else has changed in one is put right at the next round. One that can't be written is tried
//! again ever more rarely.

use super::Authorities;
use crate::ca::authority::Authority;
use crate::ca::material::names::ROOTS;
use crate::model::object::Object;
use crate::model::world::State;
use crate::status::account::{Leadership, Standing};
use crate::status::events::is_ending;
use crate::telemetry::logging::shown;
use k8s_openapi::api::certificates::v1beta1::{ClusterTrustBundle, ClusterTrustBundleSpec};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The ConfigMap's name.
pub const NAME: &str = "chancery-root";
/// The annotation of a ConfigMap that says which Secret has the key of what is trusted: of two that share a cluster each knows its
/// own by it.
const AUTHORITY: &str = "chancery/authority";
/// Who it is written as.
const MANAGER: &str = "chancery";
/// How often it is looked what is to be written.
const LOOK: Duration = Duration::from_secs(1);
/// How often all are looked at again.
const ROUND: Duration = Duration::from_secs(600);
/// How long to leave one alone that could not be written, at first and at most.
const PAUSE: Range<Duration> = Duration::from_secs(1)..Duration::from_secs(60);
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
    /// The name of a ClusterTrustBundle that is to be written as well.
    pub bundle: Option<String>,
    /// Which Secret has the key, as [`of_secret`] says it; none where a directory has.
    pub kept_in: Option<String>,
    /// Whether it is for us to write.
    pub leadership: watch::Receiver<Leadership>,
}

/// Where it is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// The ConfigMap of a namespace.
    Namespace(String),
    /// A ClusterTrustBundle.
    Bundle(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Namespace(namespace) => write!(f, "ConfigMap {NAME} in namespace {namespace}"),
            Place::Bundle(name) => write!(f, "ClusterTrustBundle {name}"),
        }
    }
}

/// Writes for as long as the process runs.
pub async fn run(client: Client, sources: Sources) {
    let (mut done, mut round) = (BTreeMap::<Place, String>::new(), Instant::now());
    let mut failures = BTreeMap::<Place, Failures>::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let leads = matches!(sources.leadership.borrow().now(), Standing::Leading(_));
        let authority = sources.authorities.borrow().clone();
        let Some(authority) = authority.filter(|_| leads) else {
            (done, failures) = Default::default();
            continue;
        };
        if round.elapsed() > ROUND {
            (round, done) = (Instant::now(), BTreeMap::new());
        }
        let places = places(&sources);
        done.retain(|place, _| places.contains(place));
        failures.retain(|place, _| places.contains(place));
        let mut trouble = Vec::new();
        for place in &places {
            if done.get(place).is_some_and(|roots| roots == authority.roots()) {
                continue;
            }
            if failures.get(place).is_some_and(|failures| failures.waits(Instant::now())) {
                continue;
            }
            // Somebody else may write since the last one, and may trust something else.
            let Standing::Leading(until) = sources.leadership.borrow().now() else { break };
            match put(&client, place, (&authority, sources.kept_in.as_ref()), until.into()).await {
                Ok(()) => {
                    done.insert(place.clone(), authority.roots().to_owned());
                    failures.remove(place);
                }
                Err(reason) => {
                    let failures = failures.entry(place.clone()).or_insert_with(Failures::none);
                    if failures.count(&reason, Instant::now()) {
                        trouble.push(format!("{place}: {reason}"));
                    }
                }
            }
        }
        if let Some(first) = trouble.first() {
            tracing::error!(others = trouble.len() - 1, "what is trusted could not be written: {first}");
        }
    }
}

/// How often in a row one could not be written, and when it is tried again.
#[derive(Debug)]
struct Failures {
    times: u32,
    until: Instant,
    reason: String,
}

impl Failures {
    fn none() -> Self {
        Self { times: 0, until: Instant::now(), reason: String::new() }
    }

    fn waits(&self, now: Instant) -> bool {
        now < self.until
    }

    /// One more; whether it is for another reason than before. Those that fail together should not be tried again together.
    fn count(&mut self, reason: &str, now: Instant) -> bool {
        let pause = PAUSE.start.saturating_mul(2u32.saturating_pow(self.times.min(16))).min(PAUSE.end);
        self.until = now + pause.mul_f64(fastrand::f64().mul_add(0.5, 0.5));
        self.times = self.times.saturating_add(1);
        let other = self.reason != reason;
        if other {
            reason.clone_into(&mut self.reason);
        }
        other
    }
}

fn places(sources: &Sources) -> BTreeSet<Place> {
    let namespaces = namespaces(&sources.states).into_iter().chain(sources.within.iter().cloned());
    namespaces.map(Place::Namespace).chain(sources.bundle.clone().map(Place::Bundle)).collect()
}

/// They come first in the World.
fn namespaces(states: &watch::Receiver<Option<State>>) -> BTreeSet<String> {
    let states = states.borrow();
    let objects = states.iter().flat_map(|state| state.world.objects());
    objects.map_while(|object| matches!(object, Object::Namespace(_)).then(|| object.key().name.to_string())).collect()
}

/// How a Secret is named in a ConfigMap.
pub fn of_secret(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// Whether it tells of something that the key in that Secret is trusted for.
pub fn tells_of(told: &ConfigMap, kept_in: &str) -> bool {
    told.annotations().get(AUTHORITY).is_some_and(|said| said == kept_in)
}

/// Writes one, unless there is no answer until then, when the Lease ends. Who writes what is there already changes nothing.
async fn put(
    client: &Client,
    place: &Place,
    (authority, kept_in): (&Authority, Option<&String>),
    until: Instant,
) -> Result<(), String> {
    let parameters = PatchParams::apply(MANAGER).force();
    let named = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let annotations = kept_in.map(|kept_in| BTreeMap::from([(AUTHORITY.to_owned(), kept_in.clone())]));
    let write = async {
        match place {
            Place::Namespace(namespace) => {
                let data = BTreeMap::from([(ROOTS.to_owned(), authority.roots().to_owned())]);
                let metadata = ObjectMeta { annotations, ..named(NAME) };
                let wanted = ConfigMap { metadata, data: Some(data), ..ConfigMap::default() };
                let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
                api.patch(NAME, &parameters, &Patch::Apply(&wanted)).await.map(drop)
            }
            Place::Bundle(name) => {
                let spec = ClusterTrustBundleSpec { signer_name: None, trust_bundle: authority.bundle() };
                let wanted = ClusterTrustBundle { metadata: named(name), spec };
                let api: Api<ClusterTrustBundle> = Api::all(client.clone());
                api.patch(name, &parameters, &Patch::Apply(&wanted)).await.map(drop)
            }
        }
    };
    match tokio::time::timeout_at(until.min(Instant::now() + PATIENCE), write).await {
        Ok(Ok(())) => Ok(()),
        // A namespace that ends takes nothing new.
        Ok(Err(kube::Error::Api(status)))
            if matches!(place, Place::Namespace(_)) && (status.code == 404 || is_ending(&status)) =>
        {
            Ok(())
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            Err("the API server doesn't serve that kind (certificates.k8s.io/v1beta1)".to_owned())
        }
        Ok(Err(kube::Error::Api(status))) => Err(shown(status.message.trim())),
        Ok(Err(error)) => Err(shown(&error.to_string())),
        Err(_) => Err("the API server did not answer in time".to_owned()),
    }
}
