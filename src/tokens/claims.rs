//! What a token says: the claims of a Kubernetes service account token, no more than is used.

use crate::model::identity::{BoundPod, Identity};
use serde::{Deserialize, Serialize};

/// The claims. Each has its type: a time that is a text is no time, and the token no token.
#[derive(Deserialize, Serialize)]
pub struct Claims {
    /// Who issued it.
    pub iss: String,
    /// Whom it is meant for.
    pub aud: Audiences,
    /// `system:serviceaccount:<namespace>:<name>`.
    pub sub: String,
    /// When it ends, in seconds since 1970.
    pub exp: u64,
    /// When it begins.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nbf: Option<u64>,
    /// When it was issued.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub iat: Option<u64>,
    /// What Kubernetes knows of who has it.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Kubernetes,
}

/// One audience, or several.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub enum Audiences {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// The claim `kubernetes.io`.
#[derive(Deserialize, Serialize)]
pub struct Kubernetes {
    namespace: String,
    serviceaccount: Object,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pod: Option<Object>,
}

/// An object the token is bound to.
#[derive(Deserialize, Serialize)]
struct Object {
    name: String,
    #[serde(default)]
    uid: String,
}

impl Audiences {
    /// Whether an audience is among them.
    pub fn has(&self, audience: &str) -> bool {
        match self {
            Audiences::One(one) => one == audience,
            Audiences::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

impl Kubernetes {
    /// What is known of an identity.
    pub fn of(identity: &Identity) -> Self {
        let pod = identity.pod.as_ref().map(|pod| Object { name: pod.name.to_string(), uid: pod.uid.to_string() });
        let account = identity.service_account.to_string();
        let serviceaccount = Object { name: account, uid: String::new() };
        Self { namespace: identity.namespace.to_string(), serviceaccount, pod }
    }
}

/// The subject of a service account.
pub fn subject(identity: &Identity) -> String {
    format!("system:serviceaccount:{}:{}", identity.namespace, identity.service_account)
}

impl Claims {
    /// Who has it; none where it contradicts itself.
    pub fn identity(&self) -> Option<Identity> {
        let Kubernetes { namespace, serviceaccount, pod } = &self.kubernetes;
        let bound = |pod: &Object| BoundPod { name: pod.name.as_str().into(), uid: pod.uid.as_str().into() };
        let identity = Identity {
            namespace: namespace.as_str().into(),
            service_account: serviceaccount.name.as_str().into(),
            pod: pod.as_ref().map(bound),
        };
        (self.sub == subject(&identity)).then_some(identity)
    }
}
