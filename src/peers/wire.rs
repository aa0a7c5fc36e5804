//! What a replica knows, as JSON between replicas. A replica of another release may know kinds that this one doesn't:
//! those are left out.

use crate::model::name::Namespace;
use crate::model::problem::{Cause, Problem, Severity};
use crate::model::provenance::{ObjectKey, ObjectKind};
use crate::model::reach::{self, Identity, Reach, Reaches};
use serde::{Deserialize, Serialize};

/// Where it is asked for.
pub const PATH: &str = "/peer/v1/standing";
/// Where the proxies that are connected are asked for.
pub const PROXIES: &str = "/peer/v1/proxies";

/// Which revision the asker has.
#[derive(Deserialize, Debug)]
pub struct After {
    /// The revision; none at first.
    pub after: Option<u64>,
}

/// What a replica knows.
#[derive(Serialize, Deserialize, Debug)]
pub struct Standing {
    revision: u64,
    objects: Vec<Object>,
    rejections: Vec<Rejection>,
    /// A replica of an earlier release says nothing of them.
    #[serde(default)]
    proxies: usize,
}

#[derive(Serialize, Deserialize, Debug)]
struct Key {
    kind: String,
    namespace: String,
    name: String,
}

#[derive(Serialize, Deserialize, Debug)]
struct Object {
    key: Key,
    generation: Option<i64>,
    identity: Option<String>,
    targeted: usize,
    live: usize,
}

#[derive(Serialize, Deserialize, Debug)]
struct Rejection {
    object: Key,
    error: bool,
    #[serde(default)]
    who: String,
    text: String,
}

impl From<&ObjectKey> for Key {
    fn from(key: &ObjectKey) -> Self {
        Self { kind: key.kind.to_string(), namespace: key.namespace.to_string(), name: key.name.to_string() }
    }
}

fn who(problem: &Problem) -> String {
    match &problem.cause {
        Cause::Rejection(who) => who.to_string(),
        _ => String::new(),
    }
}

impl Key {
    fn read(self) -> Option<ObjectKey> {
        let kind = ObjectKind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?;
        Some(ObjectKey { kind, namespace: Namespace::from(self.namespace.as_str()), name: self.name.as_str().into() })
    }
}

impl From<&reach::Standing> for Standing {
    fn from(standing: &reach::Standing) -> Self {
        let object = |(key, reach): (&ObjectKey, &Reach)| {
            let Reach { generation, identity, targeted, live } = *reach;
            let identity = identity.map(|identity| identity.to_string());
            Object { key: key.into(), generation, identity, targeted, live }
        };
        let rejection = |problem: &Problem| Rejection {
            object: (&problem.object).into(),
            error: problem.severity == Severity::Error,
            who: who(problem),
            text: problem.text.clone(),
        };
        Self {
            revision: standing.revision,
            objects: standing.reaches.objects.iter().map(object).collect(),
            rejections: standing.rejections.iter().map(rejection).collect(),
            proxies: standing.proxies,
        }
    }
}

impl From<Standing> for reach::Standing {
    fn from(standing: Standing) -> Self {
        let object = |object: Object| {
            // No more can have accepted it than there are.
            let live = object.live.min(object.targeted);
            let identity = object.identity.as_deref().and_then(Identity::parse);
            let (generation, targeted) = (object.generation, object.targeted);
            Some((object.key.read()?, Reach { generation, identity, targeted, live }))
        };
        let rejection = |rejection: Rejection| {
            let severity = if rejection.error { Severity::Error } else { Severity::Warning };
            let (object, cause) = (rejection.object.read()?, Cause::Rejection(rejection.who.into()));
            Some(Problem { object, field: String::new(), severity, text: rejection.text, cause })
        };
        let objects = standing.objects.into_iter().filter_map(object).collect();
        Self {
            revision: standing.revision,
            reaches: Reaches { objects, partial: false },
            rejections: standing.rejections.into_iter().filter_map(rejection).collect(),
            proxies: standing.proxies,
        }
    }
}
