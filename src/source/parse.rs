//! From a serde value to an object of the model: one small total parser per kind, shared by every source.
//!
//! Reached by any value at all; what leaves is the object, or every reason why not. Never a panic, never a guess: what is not
//! supported is said field by field.

mod access_log;
mod client_tls;
mod core;
mod destination_rule;
mod discovery;
mod endpoint_slice;
mod exports;
mod expression;
mod external_name;
pub mod fields;
mod identity;
mod load_balancer;
pub mod log_format;
mod mesh;
mod namespace;
mod node;
pub mod notes;
mod peer_authentication;
mod pod;
mod policy;
pub mod secret;
mod service;
mod sidecar;
mod syntax;
mod traffic_policy;
mod virtual_service;

use crate::model::mesh::Mesh;
use crate::model::object::{Meta, Object, Stored};
use crate::model::problem::{Problem, Severity};
use crate::model::provenance::{ObjectKey, ObjectKind, ObjectRef};
use crate::source::finding::{Note, Subject};
use identity::Identity;
use notes::Notes;
use serde_json::Value;
use std::hash::Hash;

/// What a value turned out to be.
#[derive(Debug)]
pub enum Parsed {
    /// An object of a kind that is read.
    Known {
        /// Which object.
        key: ObjectKey,
        /// The object; none if a problem is an error, or if the object is fine but means nothing to us (a VirtualService
        /// for gateways only). Of settings with errors: what they come to without the members that have one. Of a kind that
        /// fails closed there always is one.
        object: Option<Object>,
        /// Everything wrong with it.
        problems: Vec<Problem>,
    },
    /// A whole object of a kind that is not read.
    Foreign {
        /// What it says it is.
        subject: Subject,
        /// Says that it is not read.
        note: Note,
    },
    /// It can't be told which object this is.
    Unidentified {
        /// What is known.
        subject: Subject,
        /// Why not more.
        notes: Vec<Note>,
    },
}

impl Parsed {
    /// Whether the value was not understood: it is not an object, or one with an error.
    pub fn failed(&self) -> bool {
        match self {
            Parsed::Known { problems, .. } => problems.iter().any(|problem| problem.severity == Severity::Error),
            Parsed::Foreign { .. } => false,
            Parsed::Unidentified { .. } => true,
        }
    }
}

/// Parses one Kubernetes object. An object without a namespace is in `default`, as with `kubectl apply`.
///
/// Annotations but `exportTo` of a Service, status (but that of a Pod), resourceVersion and managedFields never matter: a change of them alone parses to
/// an equal object.
pub fn object(value: &Value) -> Parsed {
    let mut notes = Notes::default();
    match Identity::of(value, &mut notes) {
        Ok(identity) => known(value, identity, notes),
        Err(other) => *other,
    }
}

/// The same of an object that an API server keeps. Fields of core kinds that are not known here are those of a newer
/// Kubernetes, and nobody's mistake.
pub fn stored_object(value: &Value) -> Parsed {
    let mut parsed = object(value);
    if let Parsed::Known { key, problems, .. } = &mut parsed
        && !identity::is_policy(key.kind)
    {
        problems.retain(|problem| problem.text != core::UNKNOWN_FIELD);
    }
    parsed
}

/// Parses settings of the mesh: Istio's MeshConfig, which has neither kind nor name.
pub fn settings(value: &Value) -> Parsed {
    let mut notes = Notes::default();
    let key = Mesh::key();
    let meta = Meta { reference: ObjectRef { key: key.clone(), uid: None, generation: None }, created: None };
    let mesh = mesh::parse(value, &mut notes);
    let mesh = if notes.failed() { mesh::without_errors(value, &notes) } else { mesh };
    let object = stored(meta, mesh, Object::MeshConfig);
    let problems = notes.into_problems(&key);
    Parsed::Known { key, object, problems }
}

fn known(value: &Value, identity: Identity, mut notes: Notes) -> Parsed {
    if identity.key.kind == ObjectKind::PeerAuthentication {
        return closed(value, identity, notes);
    }
    // Of another version, nothing is known.
    if notes.failed() {
        let problems = notes.into_problems(&identity.key);
        return Parsed::Known { key: identity.key, object: None, problems };
    }
    let meta = identity.meta(value, &mut notes);
    let key = identity.key;
    let object = match key.kind {
        ObjectKind::Namespace => stored(meta, namespace::parse(value, &mut notes), Object::Namespace),
        ObjectKind::Service => stored(meta, service::parse(value, &key, &mut notes), Object::Service),
        ObjectKind::EndpointSlice => {
            stored(meta, endpoint_slice::parse(value, &key, &mut notes), Object::EndpointSlice)
        }
        ObjectKind::Pod => stored(meta, pod::parse(value, &mut notes), Object::Pod),
        ObjectKind::DestinationRule => {
            stored(meta, destination_rule::parse(value, &key, &mut notes), Object::DestinationRule)
        }
        ObjectKind::VirtualService => {
            stored(meta, virtual_service::parse(value, &key, &mut notes), Object::VirtualService)
        }
        ObjectKind::Sidecar => stored(meta, sidecar::parse(value, &mut notes), Object::Sidecar),
        ObjectKind::Node => stored(meta, node::parse(value, &mut notes), Object::Node),
        ObjectKind::Secret => stored(meta, secret::parse(value, &mut notes), Object::Secret),
        // The one is read by `closed`; the other no manifest declares, see `settings`.
        ObjectKind::PeerAuthentication | ObjectKind::MeshConfig => None,
    };
    let object = object.filter(|_| !notes.failed());
    let problems = notes.into_problems(&key);
    Parsed::Known { key, object, problems }
}

/// A PeerAuthentication, of which there always is something, whatever is wrong with it.
fn closed(value: &Value, identity: Identity, mut notes: Notes) -> Parsed {
    let meta = identity.meta(value, &mut notes);
    let policy = peer_authentication::parse(value, &mut notes);
    let object = stored(meta, Some(policy), Object::PeerAuthentication);
    let problems = notes.into_problems(&identity.key);
    Parsed::Known { key: identity.key, object, problems }
}

fn stored<T: Hash>(meta: Meta, value: Option<T>, wrap: fn(Stored<T>) -> Object) -> Option<Object> {
    value.map(|value| wrap(Stored::new(meta, value)))
}
