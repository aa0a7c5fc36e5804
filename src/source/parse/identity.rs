//! Which object a value is: apiVersion, kind, namespace, name; and what else metadata says that matters.

use super::core::typed;
use super::notes::Notes;
use super::{Parsed, syntax};
use crate::model::name::{Name, Namespace};
use crate::model::object::Meta;
use crate::model::problem::Severity;
use crate::model::provenance::{ObjectKey, ObjectKind, ObjectRef};
use crate::source::finding::{Note, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

/// The namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// The API group of what protects.
const SECURITY: &str = "security.istio.io";

/// The API group and versions under which a kind is read; none for what no manifest declares.
fn api(kind: ObjectKind) -> Option<(&'static str, &'static [&'static str])> {
    match kind {
        ObjectKind::Namespace | ObjectKind::Service | ObjectKind::Pod | ObjectKind::Node | ObjectKind::Secret => {
            Some(("", &["v1"]))
        }
        ObjectKind::EndpointSlice => Some(("discovery.k8s.io", &["v1"])),
        ObjectKind::DestinationRule | ObjectKind::VirtualService | ObjectKind::Sidecar => {
            Some(("networking.istio.io", &["v1", "v1beta1", "v1alpha3"]))
        }
        ObjectKind::PeerAuthentication => Some((SECURITY, &["v1", "v1beta1"])),
        ObjectKind::MeshConfig => None,
    }
}

/// Whether unknown fields are errors: the author of a policy is told before half of it acts.
pub fn is_policy(kind: ObjectKind) -> bool {
    kind.is_policy() && kind != ObjectKind::MeshConfig
}

/// An object's identity.
pub struct Identity {
    /// The key.
    pub key: ObjectKey,
}

fn text<'v>(value: Option<&'v Value>, field: &str) -> &'v str {
    value.and_then(|value| value.get(field)).and_then(Value::as_str).unwrap_or("")
}

impl Identity {
    /// Identifies a value; the other forms of [`Parsed`] if it is not an object we read.
    pub fn of(value: &Value, notes: &mut Notes) -> Result<Self, Box<Parsed>> {
        let Some(document) = value.as_object() else {
            return Err(unidentified(
                Subject::default(),
                "",
                "not a Kubernetes object: a map with apiVersion and kind is expected",
            ));
        };
        let metadata = document.get("metadata");
        let mut subject = Subject {
            kind: text(Some(value), "kind").to_owned(),
            namespace: text(metadata, "namespace").to_owned(),
            name: text(metadata, "name").to_owned(),
        };
        for field in ["apiVersion", "kind"] {
            if text(Some(value), field).is_empty() {
                return Err(unidentified(subject, field, missing(document.get(field))));
            }
        }
        if subject.name.is_empty() {
            let name = metadata.and_then(|metadata| metadata.get("name"));
            return Err(unidentified(subject, "metadata.name", missing(name)));
        }
        let api_version = text(Some(value), "apiVersion");
        let Some(kind) = kind_of(api_version, &subject.kind) else {
            let note = foreign(api_version, &subject.kind);
            return Err(Box::new(Parsed::Foreign { subject, note }));
        };
        let namespace_field = metadata.and_then(|metadata| metadata.get("namespace"));
        subject.namespace = match (kind, namespace_field) {
            (kind, _) if !kind.is_namespaced() => String::new(),
            (_, None | Some(Value::Null)) => DEFAULT_NAMESPACE.to_owned(),
            (_, Some(Value::String(namespace))) => namespace.clone(),
            (_, Some(_)) => return Err(unidentified(subject, "metadata.namespace", "must be a string")),
        };
        check_names(kind, subject).inspect(|_| check_version(kind, api_version, notes))
    }

    /// The rest of metadata.
    pub fn meta(&self, value: &Value, notes: &mut Notes) -> Meta {
        let unknown = if is_policy(self.key.kind) { Severity::Error } else { Severity::Warning };
        let metadata = value.get("metadata").unwrap_or(&Value::Null);
        // The parsers of core kinds read metadata with the object and note the same; notes are kept once.
        let metadata: ObjectMeta = typed(metadata, "metadata", unknown, notes).unwrap_or_default();
        Meta {
            reference: ObjectRef {
                key: self.key.clone(),
                uid: metadata.uid.filter(|uid| !uid.is_empty()).map(Into::into),
                generation: metadata.generation.filter(|_| is_policy(self.key.kind)),
            },
            created: metadata.creation_timestamp.map(|time| time.0.as_second()),
        }
    }
}

fn kind_of(api_version: &str, kind: &str) -> Option<ObjectKind> {
    let (group, _) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    ObjectKind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind && api(*known).is_some_and(|(known, _)| known == group))
}

/// Says of a kind that it is not read. Who protects something has to learn that nothing does.
fn foreign(api_version: &str, kind: &str) -> Note {
    let protects = api_version.strip_prefix(SECURITY).is_some_and(|version| version.starts_with('/'));
    let (severity, more) = if protects { (Severity::Error, "; it protects nothing") } else { (Severity::Warning, "") };
    let text = format!("kind {kind} of {api_version} is not read{}{more}", meant(kind));
    Note { field: String::new(), severity, text }
}

/// What a kind in other letters was probably meant to be; Kubernetes takes them as they are written.
fn meant(written: &str) -> String {
    let near = ObjectKind::ALL.into_iter().find(|known| known.as_str().eq_ignore_ascii_case(written));
    let near = near.filter(|near| near.as_str() != written && api(*near).is_some());
    near.map_or_else(String::new, |near| format!("; did you mean {}?", near.as_str()))
}

fn check_version(kind: ObjectKind, api_version: &str, notes: &mut Notes) {
    let Some((group, versions)) = api(kind) else { return };
    let version = api_version.rsplit_once('/').map_or(api_version, |(_, version)| version);
    if !versions.contains(&version) {
        let prefix = if group.is_empty() { String::new() } else { format!("{group}/") };
        let known: Vec<_> = versions.iter().map(|version| format!("{prefix}{version}")).collect();
        notes.error("apiVersion", format!("{api_version} is not a version of {kind}; known are {}", known.join(", ")));
    }
}

fn check_names(kind: ObjectKind, subject: Subject) -> Result<Identity, Box<Parsed>> {
    let name = match kind {
        ObjectKind::Namespace | ObjectKind::Service => syntax::label(&subject.name),
        _ => syntax::subdomain(&subject.name),
    };
    if let Err(text) = name {
        return Err(unidentified(subject, "metadata.name", &text));
    }
    if kind.is_namespaced()
        && let Err(text) = syntax::label(&subject.namespace)
    {
        return Err(unidentified(subject, "metadata.namespace", &text));
    }
    let Subject { namespace, name, .. } = subject;
    Ok(Identity { key: ObjectKey { kind, namespace: Namespace::from(namespace), name: Name::from(name) } })
}

fn missing(value: Option<&Value>) -> &'static str {
    match value {
        None | Some(Value::Null) => "is missing",
        Some(Value::String(_)) => "must not be empty",
        Some(_) => "must be a string",
    }
}

fn unidentified(subject: Subject, field: &str, text: &str) -> Box<Parsed> {
    let note = Note { field: field.to_owned(), severity: Severity::Error, text: text.to_owned() };
    Box::new(Parsed::Unidentified { subject, notes: vec![note] })
}
