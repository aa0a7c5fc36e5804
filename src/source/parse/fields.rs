//! Every field of the kinds that are read, as data: what it is, and what becomes of it here.
//!
//! The check of manifests, tests and the reference page all read these tables. Those of the policy kinds and the mesh hold what
//! Istio documents, and a field that isn't in them is an error: nothing a policy says is ignored silently. Those of Service
//! and EndpointSlice hold what Kubernetes has, those of the other core kinds what is read.

mod destination_rule;
mod endpoint_slice;
mod mesh;
mod peer_authentication;
mod places;
mod secret;
mod service;
mod sidecar;
mod traffic_policy;
mod virtual_service;

use crate::model::provenance::ObjectKind;
use crate::source::yaml::marks;

/// What becomes of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It is in effect.
    Done,
    /// It has no effect and nothing is said: others act on it (the cluster, kube-proxy, a cloud), or the field that asks for
    /// it is reported.
    Silent,
    /// A warning says that it has no effect; the rest of the object applies.
    NoEffect,
    /// An error says so and the object is not applied: without the field, traffic would go elsewhere or rules would widen.
    Refused,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A string.
    Text,
    /// A string such as `1.5s`.
    Duration,
    /// True or false.
    Flag,
    /// A whole number.
    Whole,
    /// Any number.
    Number,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A map with these fields.
    Object(&'static [Field]),
    /// A list of these.
    List(&'static Shape),
    /// A map from any string to these.
    Map(&'static Shape),
    /// Anything: what it holds is not looked at.
    Any,
}

/// One field of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The name in a manifest.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// What becomes of it. A field inside one that isn't done shares its fate, or worse if it says so itself.
    pub state: State,
    /// Values, as JSON, that ask for nothing we don't do; they are fine whatever `state` says.
    pub fine: &'static [&'static str],
    /// What it does, or what its absence means. Completes a sentence; no full stop.
    pub text: &'static str,
}

impl Field {
    const fn done(name: &'static str, shape: Shape, text: &'static str) -> Self {
        Self { name, shape, state: State::Done, fine: &[], text }
    }

    const fn silent(name: &'static str, shape: Shape, text: &'static str) -> Self {
        Self { name, shape, state: State::Silent, fine: &[], text }
    }

    const fn without(name: &'static str, shape: Shape, text: &'static str) -> Self {
        Self { name, shape, state: State::NoEffect, fine: &[], text }
    }

    const fn refused(name: &'static str, shape: Shape, text: &'static str) -> Self {
        Self { name, shape, state: State::Refused, fine: &[], text }
    }

    const fn except(self, fine: &'static [&'static str]) -> Self {
        Self { fine, ..self }
    }
}

const TEXTS: Shape = Shape::List(&Shape::Text);
const TEXT_MAP: Shape = Shape::Map(&Shape::Text);

/// The fields of `spec` of a policy kind, those of MeshConfig, and those of a whole object of a core kind.
pub fn fields(kind: ObjectKind) -> &'static [Field] {
    match kind {
        ObjectKind::Namespace => places::NAMESPACE,
        ObjectKind::Node => places::NODE,
        ObjectKind::Secret => secret::FIELDS,
        ObjectKind::Pod => places::POD,
        ObjectKind::Service => service::FIELDS,
        ObjectKind::EndpointSlice => endpoint_slice::FIELDS,
        ObjectKind::DestinationRule => destination_rule::FIELDS,
        ObjectKind::VirtualService => virtual_service::FIELDS,
        ObjectKind::Sidecar => sidecar::FIELDS,
        ObjectKind::PeerAuthentication => peer_authentication::FIELDS,
        ObjectKind::MeshConfig => mesh::FIELDS,
    }
}

/// The fields of a kind of which nothing but these is read, whatever else its objects hold; none of other kinds.
pub fn read_only(kind: ObjectKind) -> Option<&'static [Field]> {
    matches!(kind, ObjectKind::Namespace | ObjectKind::Node | ObjectKind::Pod).then(|| fields(kind))
}

/// A field with its full path: `spec.http[].route[].weight`; `[]` stands for each element, `{}` for each key.
#[derive(Clone, Debug)]
pub struct Row {
    /// The path.
    pub path: String,
    /// What becomes of it where it stands.
    pub state: State,
    /// The field.
    pub field: &'static Field,
}

/// All fields of a kind, each container before what it holds.
pub fn rows(kind: ObjectKind) -> Vec<Row> {
    let mut rows = Vec::new();
    collect(root(kind), fields(kind), State::Done, &mut rows);
    rows
}

/// Where the fields of a kind stand: those of policies in `spec`, others in the object itself.
fn root(kind: ObjectKind) -> &'static str {
    if kind.is_policy() && kind != ObjectKind::MeshConfig { "spec" } else { "" }
}

fn collect(path: &str, fields: &'static [Field], around: State, rows: &mut Vec<Row>) {
    for field in fields {
        let state = worse(around, field.state);
        let mut path = marks::key(path, field.name);
        rows.push(Row { path: path.clone(), state, field });
        let mut shape = &field.shape;
        loop {
            match shape {
                Shape::List(inner) => {
                    path.push_str("[]");
                    shape = inner;
                }
                Shape::Map(inner) => {
                    path.push_str("{}");
                    shape = inner;
                }
                Shape::Object(inner) => break collect(&path, inner, state, rows),
                _ => break,
            }
        }
    }
}

/// The state of a field of state `own` inside one of state `around`.
pub(super) fn worse(around: State, own: State) -> State {
    match (around, own) {
        (State::Refused, _) | (_, State::Refused) => State::Refused,
        (State::NoEffect, _) | (_, State::NoEffect) => State::NoEffect,
        (State::Silent, _) | (_, State::Silent) => State::Silent,
        (State::Done, State::Done) => State::Done,
    }
}
