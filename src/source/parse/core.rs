//! Core kinds through the types of `k8s_openapi`: a wrong type names its field, unknown fields are found,
//! and those without effect are reported as their table says.

use super::fields::{Field, Shape, State, fields};
use super::notes::Notes;
use super::policy::{asks, without_effect};
use crate::model::problem::Severity;
use crate::model::provenance::ObjectKind;
use crate::source::yaml::marks;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is said of a field that a type doesn't know.
pub const UNKNOWN_FIELD: &str = "unknown field";

/// Reads `value`, which stands at `path`, as a `T`. Fields `T` doesn't know are noted with severity `unknown`.
pub fn typed<T: DeserializeOwned>(value: &Value, path: &str, unknown: Severity, notes: &mut Notes) -> Option<T> {
    let mut ignored = |at: serde_ignored::Path<'_>| {
        let mut field = path.to_owned();
        push_ignored(&mut field, &at);
        notes.push(field, unknown, UNKNOWN_FIELD.to_owned());
    };
    let result = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(value, &mut ignored));
    result
        .map_err(|error| {
            let mut field = path.to_owned();
            error.path().iter().for_each(|segment| push_segment(&mut field, segment));
            notes.error(field, error.inner().to_string());
        })
        .ok()
}

/// Says which fields of `value`, which was read already, have no effect although they would change where requests go.
pub fn report(value: &Value, kind: ObjectKind, notes: &mut Notes) {
    walk(fields(kind), value, "", notes);
}

fn walk(fields: &'static [Field], value: &Value, path: &str, notes: &mut Notes) {
    for field in fields {
        let Some(value) = value.get(field.name).filter(|value| asks(field, value)) else { continue };
        let path = marks::key(path, field.name);
        match (field.state, &field.shape) {
            (State::NoEffect, _) => notes.warning(path, without_effect(field)),
            (State::Done, Shape::Object(inner)) => walk(inner, value, &path, notes),
            (State::Done, Shape::List(Shape::Object(inner))) => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items.for_each(|(at, item)| walk(inner, item, &marks::index(&path, at), notes));
            }
            _ => {}
        }
    }
}

fn push_segment(path: &mut String, segment: &serde_path_to_error::Segment) {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => marks::push_index(path, *index),
        Segment::Map { key } => marks::push_key(path, key),
        Segment::Enum { .. } | Segment::Unknown => {}
    }
}

fn push_ignored(path: &mut String, at: &serde_ignored::Path<'_>) {
    use serde_ignored::Path;
    match at {
        Path::Root => {}
        Path::Seq { parent, index } => {
            push_ignored(path, parent);
            marks::push_index(path, *index);
        }
        Path::Map { parent, key } => {
            push_ignored(path, parent);
            marks::push_key(path, key);
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            push_ignored(path, parent)
        }
    }
}
